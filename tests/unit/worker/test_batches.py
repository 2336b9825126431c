import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.jobs import ClaimedJob, Outcome
from ferry.manifest import NonFinite
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from worker.batches import BatchRunner
from worker.models import Model
from worker.outcomes import MAX_ERROR_CHARS

POISON = 666.0
# What onnxruntime said of 4 rows of 32 GB each, on a CPU.
ORT_OUT_OF_MEMORY = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Expand node. Name:'' Status Message: "
    "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 32000000000"
)


def raise_on_poison(x: np.ndarray) -> list[np.ndarray]:
    if (x == POISON).any():
        raise ValueError("poisoned")
    return doubled(x)


class Bench:
    """A model of x and y (rows, width), its runner, and jobs for it."""

    def __init__(
        self, compute=raise_on_poison, *, max_rows: int = 1000, width: int | None = 1,
        non_finite: NonFinite = NonFinite.ALLOW, fixed_rows: int | None = None,
    ) -> None:  # fmt: skip
        signature = {"inputs": (spec("x", "float32", width),), "outputs": (spec("y", "float32", width),)}
        made = manifest(max_rows=max_rows, fixed_rows=fixed_rows, **signature)
        self.session = FakeSession(compute)
        self.model = Model(made.model_copy(update={"non_finite": non_finite}), self.session)
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


def further_runs(bench: Bench) -> int:
    return len(bench.session.feeds) - 1


def check_one_failed(bench: Bench, outcomes: dict[str, Outcome], bad: str, right: dict[str, list]) -> None:
    assert outcomes[bad].error_code == "model_error"
    assert outcomes[bad].output is None
    for name, outcome in outcomes.items():
        if name != bad:
            assert bench.output(outcome) == right[name]


def test_run_when_the_only_job_is_bad_then_no_further_run() -> None:
    bench = Bench()
    assert bench.run(bench.job("a", POISON))["a"].error == "ValueError: poisoned"
    assert bench.session.rows_a_run == [1]


@pytest.mark.parametrize("n_jobs", range(2, 65))
def test_run_when_one_job_is_bad_wherever_then_only_it_fails_after_few_further_runs(n_jobs: int) -> None:
    for bad in range(n_jobs):
        bench = Bench()
        outcomes = bench.run(*(bench.job(str(n), POISON if n == bad else n) for n in range(n_jobs)))
        check_one_failed(bench, outcomes, str(bad), {str(n): [[2.0 * n]] for n in range(n_jobs)})
        assert outcomes[str(bad)].error == "ValueError: poisoned"
        assert further_runs(bench) <= 2 * math.log2(n_jobs)


@pytest.mark.parametrize("n_jobs", [2, 3, 7, 20, 64])
def test_run_when_one_job_of_several_rows_is_bad_then_only_it_fails_after_few_further_runs(n_jobs: int) -> None:
    values = [[float(10 * n + row) for row in range(1 + n % 4)] for n in range(n_jobs)]
    right = {str(n): [[2 * value] for value in rows] for n, rows in enumerate(values)}
    for bad in range(n_jobs):
        bench = Bench()
        poisoned = [[*rows[:-1], POISON] if n == bad else rows for n, rows in enumerate(values)]
        outcomes = bench.run(*(bench.job(str(n), *rows) for n, rows in enumerate(poisoned)))
        check_one_failed(bench, outcomes, str(bad), right)
        assert further_runs(bench) <= 2 * math.log2(n_jobs)


@pytest.mark.parametrize("n_jobs", [2, 3, 8, 33, 64])
@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError(ORT_OUT_OF_MEMORY)])
def test_run_when_memory_runs_out_for_one_job_then_only_it_fails_after_few_further_runs(
    n_jobs: int, error: Exception
) -> None:
    def compute(x: np.ndarray) -> list[np.ndarray]:
        if (x == POISON).any():
            raise error
        return doubled(x)

    for bad in range(n_jobs):
        bench = Bench(compute)
        outcomes = bench.run(*(bench.job(str(n), POISON if n == bad else n) for n in range(n_jobs)))
        check_one_failed(bench, outcomes, str(bad), {str(n): [[2.0 * n]] for n in range(n_jobs)})
        assert outcomes[str(bad)].error == f"{type(error).__name__}: {error}"
        # Nothing can be told of the second half from the first, so a number of jobs between two powers costs the next.
        assert further_runs(bench) <= 2 * math.ceil(math.log2(n_jobs))


@pytest.mark.parametrize("n_jobs", [2, 5, 64])
def test_run_when_onnxruntime_itself_raises_on_a_row_then_its_words_are_the_jobs_and_only_its(n_jobs: int) -> None:
    proto = onnx_models.raises_on_big_index().SerializeToString()
    real = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
    signature = {"inputs": (spec("index", "int64"),), "outputs": (spec("y", "float32", 2),)}
    for bad in {0, n_jobs // 2, n_jobs - 1}:
        session = FakeSession(lambda index: real.run(None, {"index": index}))
        model = Model(manifest(max_rows=100, **signature), session)
        jobs = [
            ClaimedJob(str(n), 1, model.inputs.pack([np.array([99 if n == bad else n % 10])]), 1, 7)
            for n in range(n_jobs)
        ]
        outcomes = {outcome.job_id: outcome for outcome in BatchRunner(model, "t").run(jobs)}
        failed = outcomes.pop(str(bad))
        assert failed.error_code == "model_error"
        assert failed.error.startswith("InvalidArgument: [ONNXRuntimeError]")
        assert "idx=99" in failed.error
        for name, outcome in outcomes.items():
            first = 2.0 * (int(name) % 10)
            assert model.outputs.unpack(outcome.output)[0].tolist() == [[first, first + 1]]
        assert len(session.feeds) - 1 <= 2 * math.log2(n_jobs)


@settings(deadline=None)
@given(st.integers(2, 64).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=6))))
def test_run_when_several_jobs_are_bad_then_each_costs_few_further_runs_and_only_they_fail(
    case: tuple[int, set[int]],
) -> None:
    n_jobs, bad = case
    bench = Bench()
    outcomes = bench.run(*(bench.job(str(n), POISON if n in bad else n) for n in range(n_jobs)))
    assert {int(name) for name, outcome in outcomes.items() if outcome.error_code} == bad
    assert all(bench.output(outcomes[str(n)]) == [[2.0 * n]] for n in range(n_jobs) if n not in bad)
    assert further_runs(bench) <= 2 * math.log2(n_jobs) * len(bad)


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
    assert [outcomes[str(n)].batch_id for n in range(4)] == ["ticket.2", "ticket.2", "ticket.3", "ticket.4"]
    assert [outcomes[str(n)].batch_rows for n in range(4)] == [2, 2, 1, 1]
    assert (outcomes["3"].batch_jobs, outcomes["3"].run_us) == (1, 500_000)


def up_to(n_rows: int, error: Exception):
    """A model that doubles as many rows as that, and has no room for more."""

    def compute(x: np.ndarray) -> list[np.ndarray]:
        if len(x) > n_rows:
            raise error
        return doubled(x)

    return compute


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(ORT_OUT_OF_MEMORY), RuntimeError("std::bad_alloc")])
def test_run_when_memory_is_too_small_for_a_batch_then_its_halves_succeed(error: Exception) -> None:
    bench = Bench(up_to(32, error))
    outcomes = bench.run(*(bench.job(str(n), n) for n in range(64)))
    assert all(bench.output(outcomes[str(n)]) == [[2.0 * n]] for n in range(64))
    assert bench.session.rows_a_run == [64, 32, 32]
    assert {(each.batch_id, each.batch_rows, each.batch_jobs) for each in outcomes.values()} == {
        ("ticket.2", 32, 32), ("ticket.3", 32, 32),
    }  # fmt: skip


def test_run_when_memory_is_too_small_for_halves_too_then_halved_until_it_fits() -> None:
    bench = Bench(up_to(2, MemoryError()))
    outcomes = bench.run(*(bench.job(str(n), n) for n in range(5)))
    assert all(bench.output(outcomes[str(n)]) == [[2.0 * n]] for n in range(5))
    assert bench.session.rows_a_run == [5, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("n_rows", "room", "rows_a_run"),
    [(64, 32, [64, 32, 32]), (5, 1, [5, 2, 1, 1, 1, 1, 1]), (100, 40, [64, 32, 32, 32, 4])],
)
def test_run_when_memory_is_too_small_for_one_job_then_it_runs_in_smaller_slices(
    n_rows: int, room: int, rows_a_run: list[int]
) -> None:
    bench = Bench(up_to(room, MemoryError()), max_rows=64)
    outcome = bench.run(bench.job("a", *range(n_rows)))["a"]
    assert bench.output(outcome) == [[2.0 * n] for n in range(n_rows)]
    assert bench.session.rows_a_run == rows_a_run
    assert (outcome.batch_id, outcome.batch_rows, outcome.batch_jobs) == ("ticket.1", n_rows, 1)


def test_run_when_a_batch_raises_for_no_row_of_it_then_all_succeed_in_smaller_ones() -> None:
    bench = Bench(up_to(32, RuntimeError("too many")))
    outcomes = bench.run(*(bench.job(str(n), n) for n in range(64)))
    assert all(bench.output(outcomes[str(n)]) == [[2.0 * n]] for n in range(64))
    assert further_runs(bench) <= 2 * math.log2(64)


def test_run_when_memory_is_too_small_for_copies_then_each_job_is_run_as_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    def of_one(columns: list[tuple[np.ndarray, ...]], first: int, last: int) -> list[np.ndarray]:
        return [column[first] for column in columns] if last - first == 1 else no_room()

    bench = Bench()
    monkeypatch.setattr(bench.model.inputs, "unpack_together", no_room)
    monkeypatch.setattr("worker.batches._rows_of", of_one)
    outcomes = bench.run(*(bench.job(str(n), n, n) for n in range(4)))
    assert all(bench.output(outcomes[str(n)]) == [[2.0 * n]] * 2 for n in range(4))
    assert bench.session.rows_a_run == [2] * 4


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


def test_run_when_the_error_is_no_unicode_text_then_its_message_can_be_recorded_all_the_same() -> None:
    def garbled(_: np.ndarray) -> list[np.ndarray]:
        raise RuntimeError("label \ud800 is unknown")

    bench = Bench(garbled)
    assert bench.run(bench.job("a", 1))["a"].error == "RuntimeError: label ? is unknown"


def test_run_when_the_model_gives_the_wrong_number_of_rows_then_an_error_and_never_anothers_rows() -> None:
    bench = Bench(lambda x: [np.repeat(x, 2, axis=0)])
    outcomes = bench.run(bench.job("a", 1), bench.job("b", 2))
    assert [outcome.error_code for outcome in outcomes.values()] == ["model_error"] * 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_run_when_the_process_is_told_to_stop_then_no_job_is_blamed(stop: type[BaseException], n_jobs: int) -> None:
    def stopped(_: np.ndarray) -> list[np.ndarray]:
        raise stop

    bench = Bench(stopped)
    with pytest.raises(stop):
        bench.runner.run([bench.job(str(n), n) for n in range(n_jobs)])
    assert len(bench.session.feeds) == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_run_when_the_process_is_told_to_stop_while_a_batch_is_halved_then_it_stops(stop: type[BaseException]) -> None:
    def stopped(x: np.ndarray) -> list[np.ndarray]:
        raise ValueError if len(x) > 2 else stop

    bench = Bench(stopped)
    with pytest.raises(stop):
        bench.runner.run([bench.job(str(n), n) for n in range(4)])
    assert bench.session.rows_a_run == [4, 2]


def test_run_when_a_job_fails_then_its_message_and_the_log_tell_of_its_own_rows_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def talkative(x: np.ndarray) -> list[np.ndarray]:
        if (x == POISON).any():
            raise ValueError(f"cannot use {x.ravel().tolist()}")
        return doubled(x)

    bench = Bench(talkative)
    with caplog.at_level(logging.DEBUG):
        outcomes = bench.run(*(bench.job(str(n), POISON if n == 2 else 7770 + n) for n in range(8)))
    assert outcomes["2"].error == "ValueError: cannot use [666.0]"
    assert caplog.messages == ["job 2 failed in batch ticket.4: model_error; its record has the message"]


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


def test_run_when_a_payload_holds_other_than_its_jobs_rows_then_its_job_fails_and_none_gets_anothers() -> None:
    bench = Bench()
    short, long = bench.job("short", 5), bench.job("long", 6, 7)
    short.rows, long.rows = 2, 1
    outcomes = bench.run(bench.job("a", 1), short, bench.job("b", 2), long)
    assert bench.output(outcomes["a"]) == [[2]]
    assert bench.output(outcomes["b"]) == [[4]]
    for name, words in (("short", "holds 1 rows of 'x', not 2"), ("long", "holds 2 rows of 'x', not 1")):
        assert outcomes[name].error_code == "invalid_input"
        assert words in outcomes[name].error


@pytest.mark.parametrize("counts", [(2, 2, 1), (1, 3, 2), (3, 3, 2), (1, 1, 1)])
def test_run_when_payloads_are_of_one_size_and_a_job_says_otherwise_then_only_it_fails(counts: tuple[int, ...]) -> None:
    bench = Bench()
    jobs = [bench.job(str(n), n, n) for n in range(3)]
    for job, n_rows in zip(jobs, counts, strict=True):
        job.rows = n_rows
    outcomes = bench.run(*jobs)
    for n, n_rows in enumerate(counts):
        if n_rows == 2:
            assert bench.output(outcomes[str(n)]) == [[2.0 * n]] * 2
        else:
            assert outcomes[str(n)].error_code == "invalid_input"


# --- numbers that are none

NAN, INF = float("nan"), float("inf")


def reciprocal(x: np.ndarray) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return [x / x / x]  # NaN for 0, and Infinity below 1e-38


@pytest.mark.parametrize(("rule", "shown"), [(NonFinite.ALLOW, [0.5, NAN, INF]), (NonFinite.NULL, [0.5, NAN, NAN])])
def test_run_when_numbers_that_are_none_are_let_through_then_all_jobs_succeed(
    rule: NonFinite, shown: list[float]
) -> None:
    bench = Bench(reciprocal, non_finite=rule)
    outcomes = bench.run(bench.job("a", 2), bench.job("b", 0), bench.job("c", 1e-39))
    np.testing.assert_array_equal([bench.output(outcomes[name])[0][0] for name in "abc"], shown)
    assert bench.session.rows_a_run == [3]


def test_run_when_a_number_that_is_none_fails_its_job_then_no_other_is_touched_and_nothing_runs_again() -> None:
    bench = Bench(reciprocal, non_finite=NonFinite.FAIL)
    outcomes = bench.run(
        bench.job("a", 2, 4), bench.job("b", 1, 1, 1, 0, 1e-39), bench.job("c", 1e-39), bench.job("d", 8)
    )
    assert bench.session.rows_a_run == [9]
    assert bench.output(outcomes["a"]) == [[0.5], [0.25]]
    assert bench.output(outcomes["d"]) == [[0.125]]
    failed = {name: (outcomes[name].error_code, outcomes[name].error, outcomes[name].output) for name in "bc"}
    assert failed == {
        "b": ("model_error", "output 'y' has NaN in row 3", None),
        "c": ("model_error", "output 'y' has Infinity in row 0", None),
    }
    assert {(each.batch_id, each.batch_rows, each.batch_jobs, each.run_us) for each in outcomes.values()} == {
        ("ticket.1", 9, 4, 500_000)
    }


def test_run_when_a_large_job_has_a_number_that_is_none_then_its_row_is_counted_over_all_slices() -> None:
    bench = Bench(reciprocal, non_finite=NonFinite.FAIL, max_rows=4)
    assert bench.run(bench.job("a", *[1] * 9, 0, 1))["a"].error == "output 'y' has NaN in row 9"


def test_run_when_the_padding_of_a_fixed_batch_is_none_too_then_only_its_job_fails() -> None:
    bench = Bench(reciprocal, non_finite=NonFinite.FAIL, max_rows=8, fixed_rows=8)
    outcomes = bench.run(bench.job("a", 2), bench.job("b", 0))
    assert bench.output(outcomes["a"]) == [[0.5]]
    assert outcomes["b"].error == "output 'y' has NaN in row 0"


def test_run_when_one_job_raises_and_another_has_nan_then_each_fails_for_its_own_reason() -> None:
    def compute(x: np.ndarray) -> list[np.ndarray]:
        raise_on_poison(x)
        return reciprocal(x)

    bench = Bench(compute, non_finite=NonFinite.FAIL)
    outcomes = bench.run(*(bench.job(str(n), {2: 0, 5: POISON}.get(n, n + 1)) for n in range(8)))
    errors = {name: outcome.error for name, outcome in outcomes.items() if outcome.error_code}
    assert errors == {"2": "output 'y' has NaN in row 0", "5": "ValueError: poisoned"}


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


# --- whatever is in a batch

# What a row holds that makes the model raise, or answer with what is no number.
TO_NAN, TO_INF = 777.0, 778.0
WEIGHTS = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)


def moody(room: int):
    """A model of x (rows, 3) that has a bad day for each of the marks, and no room for more rows than that."""

    def compute(x: np.ndarray) -> list[np.ndarray]:
        if (x == POISON).any():
            raise ValueError(f"cannot use {x.tolist()}")
        if len(x) > room:
            raise MemoryError(f"{len(x)} rows")
        y = np.where(np.abs(x) > 500, np.float32(0), x) @ WEIGHTS
        y[(x == TO_NAN).any(axis=1)] = np.nan
        y[(x == TO_INF).any(axis=1)] = np.inf
        return [y]

    return compute


numbers = st.one_of(st.floats(-1, 1, width=32), st.sampled_from([POISON, TO_NAN, TO_INF]))
good_rows = st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5)
any_rows = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=5)
damaged = st.binary(max_size=20)


def jobs_of(bench: Bench, contents: list) -> Iterator[ClaimedJob]:
    for number, content in enumerate(contents):
        if isinstance(content, bytes):
            yield ClaimedJob(str(number), 1, content, 1, 7)
        else:
            yield bench.job(str(number), *content)


@settings(deadline=None, max_examples=300)
@given(
    contents=st.lists(st.one_of(good_rows, good_rows, any_rows, damaged), min_size=1, max_size=24),
    rule=st.sampled_from(NonFinite),
    max_rows=st.integers(1, 40),
    room=st.integers(1, 40),
    is_fixed=st.booleans(),
)
def test_run_when_a_batch_holds_anything_then_no_outcome_depends_on_another_job(
    contents: list, rule: NonFinite, max_rows: int, room: int, is_fixed: bool
) -> None:
    def a_bench() -> Bench:
        fixed_rows = max_rows if is_fixed else None
        room_for = max(room, max_rows) if is_fixed else room
        return Bench(moody(room_for), max_rows=max_rows, width=3, non_finite=rule, fixed_rows=fixed_rows)

    bench = a_bench()
    jobs = list(jobs_of(bench, contents))
    together = bench.run(*jobs)
    for job in jobs:
        alone, outcome = a_bench().run(job)[job.id], together[job.id]
        assert (outcome.error_code, outcome.error) == (alone.error_code, alone.error)
        assert (outcome.output is None) == (alone.output is None)
        if outcome.output is not None:
            got, wanted = (bench.model.outputs.unpack(each.output)[0] for each in (outcome, alone))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    check_runs(jobs, together)


def check_runs(jobs: list[ClaimedJob], outcomes: dict[str, Outcome]) -> None:
    """Every outcome tells of the run it came from: who shared it, and how many rows it had."""
    runs = defaultdict(list)
    for job in jobs:
        runs[outcomes[job.id].batch_id].append(job)
    for batch_id, members in runs.items():
        told = {
            (each.batch_rows, each.batch_jobs, each.run_us) for each in outcomes.values() if each.batch_id == batch_id
        }
        assert [each[:2] for each in told] == [(sum(job.rows for job in members), len(members))]
