from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from ferry.jobs import ClaimedJob, Outcome
from ferry.manifest import ExecutionMode, NonFinite, TensorSpec
from tests.fakes.sessions import FakeSession
from tests.manifests import manifest
from worker.batches import BatchRunner
from worker.execution import runner_of
from worker.models import Model
from worker.whole_jobs import WholeJobRunner

ANY = TensorSpec(name="x", dtype="float32", shape=(None, None))
SUM = TensorSpec(name="y", dtype="float32", shape=(None,))


def minus_mean(x: np.ndarray) -> list[np.ndarray]:
    """Rows influence each other: each is compared with the mean of all."""
    return [(x - x.mean()).sum(axis=1)]


def served(
    compute: Callable[..., list[np.ndarray]] = minus_mean, rule: NonFinite = NonFinite.ALLOW
) -> tuple[Model, FakeSession]:
    session = FakeSession(compute)
    made = manifest(inputs=(ANY,), outputs=(SUM,), mode=ExecutionMode.WHOLE_JOB)
    return Model(made.model_copy(update={"non_finite": rule}), session), session


def job(model: Model, array: np.ndarray, name: str = "a") -> ClaimedJob:
    return ClaimedJob(name, 1, model.inputs.pack([array]), 1, 1000)


def answers(model: Model, outcomes: list[Outcome]) -> list[object]:
    return [outcome.error or model.outputs.unpack(outcome.output or b"")[0].tolist() for outcome in outcomes]


def test_run_when_many_jobs_then_each_has_a_run_and_an_answer_of_its_own() -> None:
    model, session = served()
    arrays = [np.full((n, 2), n, np.float32) + np.arange(2, dtype=np.float32) for n in (1, 3, 2)]
    jobs = [job(model, array, f"j{n}") for n, array in enumerate(arrays)]
    outcomes = WholeJobRunner(model, "t").run(jobs)
    assert [feed["x"].shape for feed in session.feeds] == [(1, 2), (3, 2), (2, 2)]
    assert answers(model, outcomes) == [minus_mean(array)[0].tolist() for array in arrays]
    assert [outcome.batch_id for outcome in outcomes] == ["t.1", "t.2", "t.3"]
    assert {(outcome.batch_rows, outcome.batch_jobs) for outcome in outcomes} == {(1, 1)}


def test_run_when_one_job_raises_then_it_fails_alone_and_is_not_run_again() -> None:
    def picky(x: np.ndarray) -> list[np.ndarray]:
        if (x == 666).any():
            raise RuntimeError("bad value")
        return minus_mean(x)

    model, session = served(picky)
    jobs = [job(model, np.full((1, 1), value, np.float32), f"j{value}") for value in (1, 666, 2)]
    assert answers(model, WholeJobRunner(model, "t").run(jobs)) == [[0.0], "RuntimeError: bad value", [0.0]]
    assert len(session.feeds) == 3


def test_run_when_memory_runs_out_then_the_job_fails_and_the_next_one_runs() -> None:
    def large(x: np.ndarray) -> list[np.ndarray]:
        if len(x) > 1:
            raise MemoryError("too large")
        return minus_mean(x)

    model, _ = served(large)
    jobs = [job(model, np.zeros((rows, 1), np.float32)) for rows in (2, 1)]
    assert answers(model, WholeJobRunner(model, "t").run(jobs)) == ["MemoryError: too large", [0.0]]


def test_run_when_a_job_takes_long_then_the_rest_of_the_claim_goes_back() -> None:
    model, session = served()
    clock = iter([0.0, 0.0, 0.001, 0.002, 0.003, 0.2, 0.3])
    jobs = [job(model, np.zeros((1, 1), np.float32), name) for name in "abc"]
    outcomes = WholeJobRunner(model, "t", clock=lambda: next(clock)).run(jobs)
    assert [outcome.job_id for outcome in outcomes] == ["a", "b"]
    assert len(session.feeds) == 2


def test_run_when_a_payload_is_damaged_then_that_job_is_told_and_nothing_runs() -> None:
    model, session = served()
    damaged = ClaimedJob("d", 1, b"\x01", 1, 1000)
    (outcome,) = WholeJobRunner(model, "t").run([damaged])
    assert (outcome.error_code, outcome.run_us) == ("invalid_input", 0)
    assert session.feeds == []


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (NonFinite.ALLOW, [np.inf]),
        (NonFinite.NULL, [None]),
        (NonFinite.FAIL, "output 'y' has Infinity"),
    ],
)
def test_run_when_an_output_is_not_finite_then_the_manifests_rule(rule: NonFinite, answer: object) -> None:
    model, _ = served(lambda x: [np.array([np.inf], np.float32)], rule)
    (got,) = answers(model, WholeJobRunner(model, "t").run([job(model, np.zeros((1, 1), np.float32))]))
    assert [None if np.isnan(each) else each for each in got] == answer if isinstance(got, list) else got == answer


def test_runner_of_when_the_manifest_says_a_mode_then_that_runner() -> None:
    whole, _ = served()
    batched = Model(manifest(), FakeSession(minus_mean))
    assert isinstance(runner_of(whole, "t", numbers=count(1)), WholeJobRunner)
    assert isinstance(runner_of(batched, "t", numbers=count(1)), BatchRunner)
