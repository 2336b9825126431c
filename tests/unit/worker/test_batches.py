import math
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.jobs import ClaimedJob, Outcome
from ferry.tensors import TensorCodec
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from worker.batches import MAX_ERROR_CHARS, BatchRunner
from worker.models import Model

POISON = 666.0


def raise_on_poison(x: np.ndarray) -> list[np.ndarray]:
    if (x == POISON).any():
        raise ValueError("poisoned")
    return doubled(x)


class Bench:
    """A model of x and y (rows, width), its runner, and jobs for it."""

    def __init__(self, compute=raise_on_poison, *, max_rows: int = 1000, width: int | None = 1) -> None:
        signature = {"inputs": (spec("x", "float32", width),), "outputs": (spec("y", "float32", width),)}
        self.session = FakeSession(compute)
        self.model = Model(manifest(max_rows=max_rows, **signature), self.session)
        self.runner = BatchRunner(self.model, "ticket", clock=count(100, 0.5).__next__)

    def job(self, name: str, *rows: float | list[float]) -> ClaimedJob:
        array = np.array(rows, np.float32).reshape(len(rows), -1)
        return ClaimedJob(name, len(rows), self.model.inputs.pack([array]), 1, 7)

    def run(self, *jobs: ClaimedJob) -> dict[str, Outcome]:
        outcomes = self.runner.run(jobs)
        named = {outcome.job_id: outcome for outcome in outcomes}
        assert sorted(named) == sorted(job.id for job in jobs)
        assert len(outcomes) == len(jobs)
        return named

    def output(self, outcome: Outcome) -> list:
        assert (outcome.error_code, outcome.error) == ("", "")
        return self.model.outputs.unpack(outcome.output)[0].tolist()


# --- one batch


def test_run_when_jobs_fit_together_then_one_run_and_each_gets_its_own_rows() -> None:
    bench = Bench()
    outcomes = bench.run(bench.job("a", 1, 2), bench.job("b", 3), bench.job("c", 4, 5, 6))
    assert bench.session.rows_a_run == [6]
    assert bench.output(outcomes["a"]) == [[2], [4]]
    assert bench.output(outcomes["b"]) == [[6]]
    assert bench.output(outcomes["c"]) == [[8], [10], [12]]


def test_run_when_jobs_shared_a_run_then_its_id_size_and_duration_stand_in_each_outcome() -> None:
    bench = Bench()
    outcomes = bench.run(bench.job("a", 1, 2), bench.job("b", 3))
    assert [(each.batch_id, each.batch_rows, each.batch_jobs, each.run_us) for each in outcomes.values()] == [
        ("ticket.1", 3, 2, 500_000)
    ] * 2


def test_run_when_there_are_several_inputs_and_outputs_then_all_are_split_alike() -> None:
    inputs = (spec("a", "int64"), spec("b", "string", 1))
    outputs = (spec("sum", "int64"), spec("text", "string", 2))

    def compute(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
        return [a + 1, np.concatenate([b, b], axis=1)]

    model = Model(manifest(inputs=inputs, outputs=outputs), FakeSession(compute))
    texts = [np.array([["p"]], object), np.array([["q"], ["ü"]], object)]
    numbers = [np.array([10]), np.array([20, 30])]
    jobs = [ClaimedJob(str(n), len(numbers[n]), model.inputs.pack([numbers[n], texts[n]]), 1, 7) for n in range(2)]
    first, second = (model.outputs.unpack(each.output) for each in BatchRunner(model, "t").run(jobs))
    assert [array.tolist() for array in first] == [[11], [["p", "p"]]]
    assert [array.tolist() for array in second] == [[21, 31], [["q", "q"], ["ü", "ü"]]]


def test_run_when_inner_shapes_differ_then_each_shape_has_a_run_of_its_own() -> None:
    bench = Bench(width=None)
    outcomes = bench.run(bench.job("a", [1, 2]), bench.job("b", [1, 2, 3]), bench.job("c", [3, 4]))
    assert sorted(next(iter(feed.values())).shape for feed in bench.session.feeds) == [(1, 3), (2, 2)]
    assert bench.output(outcomes["c"]) == [[6, 8]]
    assert outcomes["a"].batch_id == outcomes["c"].batch_id != outcomes["b"].batch_id


def test_run_when_there_are_no_jobs_then_no_run() -> None:
    bench = Bench()
    assert bench.run() == {}
    assert bench.session.feeds == []


# --- one large job


def test_run_when_a_job_is_larger_than_a_batch_then_in_slices_and_its_rows_keep_their_order() -> None:
    bench = Bench(max_rows=8)
    outcome = bench.run(bench.job("a", *range(20)))["a"]
    assert bench.session.rows_a_run == [8, 8, 4]
    assert bench.output(outcome) == [[2.0 * n] for n in range(20)]
    assert (outcome.batch_id, outcome.batch_rows, outcome.batch_jobs) == ("ticket.1", 20, 1)


def test_run_when_a_slice_raises_then_the_whole_job_fails() -> None:
    bench = Bench(max_rows=4)
    outcome = bench.run(bench.job("a", *range(9), POISON))["a"]
    assert (outcome.error_code, outcome.output) == ("model_error", None)


# --- finding the culprit


@pytest.mark.parametrize("n_jobs", [1, 2, 3, 4, 5, 7, 8, 16, 33, 64, 100])
def test_run_when_one_job_is_bad_then_only_it_fails_after_few_further_runs(n_jobs: int) -> None:
    for bad in {0, 1, n_jobs // 2, n_jobs - 1} & set(range(n_jobs)):
        bench = Bench()
        jobs = [bench.job(str(n), POISON if n == bad else n) for n in range(n_jobs)]
        outcomes = bench.run(*jobs)
        failed = [name for name, outcome in outcomes.items() if outcome.error_code]
        assert failed == [str(bad)]
        assert (outcomes[str(bad)].error_code, outcomes[str(bad)].error) == ("model_error", "ValueError: poisoned")
        assert len(bench.session.feeds) - 1 <= 2 * math.ceil(math.log2(n_jobs))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=20), st.integers(1, 12))
def test_run_when_any_jobs_are_bad_then_the_good_ones_get_what_they_would_alone(
    shape: list[tuple[int, bool]], max_rows: int
) -> None:
    bench, values = Bench(max_rows=max_rows), count(1)
    jobs, wanted = [], {}
    for number, (n_rows, is_bad) in enumerate(shape):
        rows = [float(next(values)) for _ in range(n_rows)]
        wanted[str(number)] = None if is_bad else [[2 * value] for value in rows]
        jobs.append(bench.job(str(number), *([*rows[:-1], POISON] if is_bad else rows)))
    outcomes = bench.run(*jobs)
    got = {name: None if each.error_code else bench.output(each) for name, each in outcomes.items()}
    assert got == wanted
    assert max(bench.session.rows_a_run) <= max_rows


def test_run_when_a_batch_was_halved_then_each_run_has_a_number_of_its_own() -> None:
    bench = Bench()
    outcomes = bench.run(*(bench.job(str(n), POISON if n == 3 else n) for n in range(4)))
    assert [outcomes[str(n)].batch_id for n in range(4)] == ["ticket.2", "ticket.2", "ticket.4", "ticket.5"]
    assert [outcomes[str(n)].batch_rows for n in range(4)] == [2, 2, 1, 1]
    assert (outcomes["3"].batch_jobs, outcomes["3"].run_us) == (1, 0)


def test_run_when_memory_runs_out_then_halved_until_it_fits() -> None:
    def hungry(x: np.ndarray) -> list[np.ndarray]:
        if len(x) > 2:
            raise MemoryError
        return doubled(x)

    bench = Bench(hungry)
    outcomes = bench.run(*(bench.job(str(n), n) for n in range(5)))
    assert [bench.output(outcomes[str(n)]) for n in range(5)] == [[[2.0 * n]] for n in range(5)]
    assert bench.session.rows_a_run == [5, 2, 3, 1, 2]


def test_run_when_one_job_alone_needs_too_much_memory_then_it_fails() -> None:
    def greedy(_: np.ndarray) -> list[np.ndarray]:
        raise MemoryError("12 GiB")

    bench = Bench(greedy)
    outcome = bench.run(bench.job("a", 1))["a"]
    assert (outcome.error_code, outcome.error) == ("model_error", "MemoryError: 12 GiB")


def test_run_when_the_error_is_endless_then_its_message_is_cut() -> None:
    def verbose(_: np.ndarray) -> list[np.ndarray]:
        raise RuntimeError("x" * 100_000)

    bench = Bench(verbose)
    error = bench.run(bench.job("a", 1))["a"].error
    assert error.startswith("RuntimeError: xxx")
    assert len(error) == MAX_ERROR_CHARS


def test_run_when_the_model_gives_the_wrong_number_of_rows_then_an_error_and_never_anothers_rows() -> None:
    bench = Bench(lambda x: [np.repeat(x, 2, axis=0)])
    outcomes = bench.run(bench.job("a", 1), bench.job("b", 2))
    assert [outcome.error_code for outcome in outcomes.values()] == ["model_error"] * 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_run_when_the_process_is_told_to_stop_then_no_job_is_blamed(stop: type[BaseException]) -> None:
    def stopped(_: np.ndarray) -> list[np.ndarray]:
        raise stop

    bench = Bench(stopped)
    with pytest.raises(stop):
        bench.runner.run([bench.job("a", 1)])


# --- payloads that are none


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\xff" * 12, TensorCodec([spec("x", "float64", 1)]).pack([np.ones((1, 1))])]
)
def test_run_when_a_payload_is_damaged_then_only_its_job_fails(payload: bytes) -> None:
    bench = Bench()
    outcomes = bench.run(bench.job("a", 1), ClaimedJob("bad", 1, payload, 1, 7), bench.job("b", 2))
    assert bench.output(outcomes["a"]) == [[2]]
    assert bench.output(outcomes["b"]) == [[4]]
    assert (outcomes["bad"].error_code, outcomes["bad"].output) == ("invalid_input", None)
    assert outcomes["bad"].error.startswith("payload of ")
    assert bench.session.rows_a_run == [2]


# --- several batches in one claim


def test_run_when_the_jobs_are_more_than_a_batch_then_batches_with_numbers_of_their_own() -> None:
    bench = Bench(max_rows=4)
    outcomes = bench.run(bench.job("a", 1, 2, 3), bench.job("b", 4), bench.job("c", 5, 6), bench.job("d", 7, 8, 9))
    assert bench.session.rows_a_run == [4, 2, 3]
    assert {name: (each.batch_id, each.batch_rows, each.batch_jobs) for name, each in outcomes.items()} == {
        "a": ("ticket.1", 4, 2), "b": ("ticket.1", 4, 2), "c": ("ticket.2", 2, 1), "d": ("ticket.3", 3, 1),
    }  # fmt: skip
    assert bench.output(outcomes["d"]) == [[14], [16], [18]]


def test_run_when_shapes_differ_and_the_jobs_are_more_than_a_batch_then_batches_of_each_shape() -> None:
    bench = Bench(max_rows=2, width=None)
    wide = [bench.job(name, [1, 2], [3, 4]) for name in "ab"]
    outcomes = bench.run(wide[0], bench.job("c", 5), wide[1], bench.job("d", 6))
    assert sorted(bench.session.rows_a_run) == [2, 2, 2]
    assert outcomes["c"].batch_id == outcomes["d"].batch_id
    assert bench.output(outcomes["b"]) == [[2, 4], [6, 8]]


def test_run_when_one_batch_of_several_raises_then_the_others_are_done() -> None:
    bench = Bench(max_rows=2)
    outcomes = bench.run(*(bench.job(str(n), POISON if n == 2 else n) for n in range(6)))
    assert [outcomes[str(n)].error_code != "" for n in range(6)] == [False, False, True, False, False, False]
