"""No neighbour has influence: random graphs through inspection and worker, and how many of them stay batched."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.random_graphs import APART, MIXING, Step, case_of, random_steps
from tests.corpus.served import publish
from tests.unit.worker.test_corpus import n_wrong

_STEPS = st.builds(Step, st.sampled_from((*APART, *MIXING, *MIXING)), st.integers(0, 999))
N_GRAPHS = 150


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(_STEPS, min_size=1, max_size=6))
def test_jobs_when_24_meet_in_any_random_graph_then_each_has_the_answer_of_the_model_alone(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert n_wrong(publish(case_of(steps), Path(folder))) == 0


def test_random_graphs_when_added_then_none_that_mixes_is_batched_and_nearly_all_others_are(tmp_path: Path) -> None:
    modes = []
    for seed in range(N_GRAPHS):
        case = case_of(random_steps(seed), f"g{seed}")
        modes.append((case.label, publish(case, tmp_path).manifest.is_batched))
    mixing = [is_batched for label, is_batched in modes if label == "mixes"]
    independent = [is_batched for label, is_batched in modes if label == "independent"]
    assert len(mixing) >= 0.3 * N_GRAPHS
    assert not any(mixing)
    assert sum(independent) >= 0.95 * len(independent)
