"""Every graph of the corpus through the worker's own path: no answer that is not the one the model gives alone."""

from itertools import count
from pathlib import Path

import pytest

from ferry.jobs import ClaimedJob
from ferry.tensors import model_layout
from tests.corpus.models import CORPUS, Case
from tests.corpus.served import ServedCase, publish
from worker.execution import runner_of
from worker.models import load_model


def n_wrong(served: ServedCase) -> int:
    """Run all jobs in one claim and count those whose answer differs from that of the model alone."""
    model = load_model(served.folder, served.manifest, threads=1)
    packed = [served.payload(job) for job in served.jobs]
    jobs = [ClaimedJob(str(n), rows, model.inputs.pack(arrays), 1, 1) for n, (arrays, rows) in enumerate(packed)]
    runner, outcomes = runner_of(model, "t", numbers=count(1)), {}
    while waiting := [job for job in jobs if job.id not in outcomes]:
        outcomes |= {outcome.job_id: outcome for outcome in runner.run(waiting)}
    session, wrong = served.session(), 0
    for n, job in enumerate(served.jobs):
        outcome = outcomes[str(n)]
        assert outcome.error == ""
        got = model.outputs.unpack(outcome.output)
        if served.manifest.is_batched:
            pairs = zip(served.manifest.outputs, got, strict=True)
            got = [model_layout(spec, array) for spec, array in pairs]
        wrong += served.differs(got, served.alone(session, job))
    return wrong


@pytest.mark.parametrize("case", [case for case in CORPUS if case.kind != "random"], ids=lambda case: case.name)
def test_corpus_when_24_jobs_meet_then_each_has_the_answer_of_the_model_alone(case: Case, tmp_path: Path) -> None:
    assert n_wrong(publish(case, tmp_path)) == 0


def test_corpus_when_added_then_mixing_graphs_run_whole_jobs_and_nearly_all_others_are_batched(tmp_path: Path) -> None:
    batched = {case.name: publish(case, tmp_path).manifest.is_batched for case in CORPUS}
    mixing = {case.name for case in CORPUS if case.label == "mixes"}
    assert [name for name in sorted(mixing) if batched[name]] == []
    independent = [name for name in batched if name not in mixing]
    apart = [name for name in independent if not batched[name]]
    assert len(apart) <= 0.05 * len(independent), apart
