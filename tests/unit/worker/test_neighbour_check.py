"""The check in production: when it runs, what it concludes, what it costs and what it keeps."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from worker.neighbour_check import Batch, Influence, NeighbourCheck

KEY = ("toy", "1")
Compute = Callable[[np.ndarray], np.ndarray]


def by_row(x: np.ndarray) -> np.ndarray:
    return x * 2


def minus_mean(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


def gated(x: np.ndarray) -> np.ndarray:
    """Rows meet only where one of them is large."""
    return x / 255 if x.max() > 100 else x


class Machine:
    """A model whose runs take a second each, or `run_s`, on a clock that only runs turn."""

    def __init__(self, compute: Compute, *, run_s: float = 1.0) -> None:
        self.compute = compute
        self.run_s = run_s
        self.now = 0.0
        self.runs: list[np.ndarray] = []
        self.found: list[Influence] = []
        self.results: list[str] = []

    def clock(self) -> float:
        return self.now

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        self.now += self.run_s
        self.runs.append(arrays[0])
        return [self.compute(arrays[0])]

    def check(self, *, share: float = 1.0, row: int = 0) -> NeighbourCheck:
        return NeighbourCheck(
            self.found.append, share=share, on_checked=lambda _, result, __: self.results.append(result),
            clock=self.clock, choose=lambda n: min(row, n - 1),
        )  # fmt: skip

    def batch(self, rows: Sequence[float] = (1, 2, 300), counts: Sequence[int] = (1, 2)) -> Batch:
        x = np.float32(rows).reshape(-1, 1)
        return Batch(KEY, self, ["a", "b"][: len(counts)], counts, [x], [self.compute(x)], 1.0)


def checked(compute: Compute, *, row: int = 0, times: int = 3) -> Machine:
    machine = Machine(compute)
    check = machine.check(row=row)
    for _ in range(times):
        check.batch_ran(machine.batch())
    check.check()
    return machine


@pytest.mark.parametrize("compute", [minus_mean, gated])
@pytest.mark.parametrize(("row", "job"), [(0, "a"), (1, "b")])
def test_check_when_neighbours_have_influence_then_found_and_the_job_is_named(
    compute: Compute, row: int, job: str
) -> None:
    machine = checked(compute, row=row)
    (found,) = machine.found
    assert (found.key, found.job_id, found.change) == (KEY, job, "the 2 rows beside it were replaced")
    assert found.move > 1e-3
    assert machine.results == ["influence"]


def test_check_when_rows_are_independent_then_same_and_nothing_is_found() -> None:
    machine = checked(by_row)
    assert (machine.found, machine.results) == ([], ["same"])
    assert [run.tolist() for run in machine.runs] == [[[1], [2], [300]], [[1], [1], [1]], [[300], [1], [2]]]


def test_check_when_the_place_of_large_values_matters_then_found() -> None:
    def placed(x: np.ndarray) -> np.ndarray:
        return x + (x > 100) * np.cumsum(np.ones_like(x), axis=0)

    machine = checked(placed, row=2, times=3)
    assert [(found.job_id, found.change) for found in machine.found] == [
        ("b", "it changed its place in a run of 3 rows")
    ]


def test_check_when_a_place_moves_last_bits_then_it_is_rounding() -> None:
    nudges = np.float32([[1], [1 + 2e-7], [1 - 2e-7]])
    assert checked(lambda x: x * nudges, times=3).results == ["same"]


def test_check_when_a_repeat_differs_then_nothing_is_concluded() -> None:
    random = np.random.default_rng(0)
    machine = checked(lambda x: x + random.random(x.shape))
    assert (machine.found, machine.results, len(machine.runs)) == ([], ["unsteady"], 1)


def test_check_when_the_model_raises_on_copies_then_nothing_is_concluded() -> None:
    def picky(x: np.ndarray) -> np.ndarray:
        if len(np.unique(x)) == 1:
            raise ValueError("all the same")
        return x

    machine = checked(picky)
    assert (machine.found, machine.results) == ([], ["failed"])


def test_check_when_last_bits_move_then_it_is_no_influence() -> None:
    nudged = np.nextafter(np.float32(1), np.float32(2))
    machine = checked(lambda x: x * (nudged if len(np.unique(x)) == 1 else np.float32(1)))
    assert machine.results == ["same"]


def test_check_when_a_batch_holds_one_job_then_never_checked() -> None:
    machine = Machine(minus_mean)
    check = machine.check()
    for _ in range(10):
        check.batch_ran(machine.batch(rows=(1, 2), counts=(2,)))
    check.check()
    assert machine.runs == []


def test_check_when_its_share_is_used_up_then_it_waits_for_more() -> None:
    machine = Machine(by_row)
    check = machine.check(share=0.01)
    for _ in range(10_000):
        check.batch_ran(machine.batch())
        check.check()
    assert 90 <= len(machine.runs) <= 100


def test_check_when_it_takes_longer_than_its_runs_should_then_the_next_one_is_saved_up_for() -> None:
    machine = Machine(by_row, run_s=2.0)  # batches are said to take 1 s
    check = machine.check(share=0.01)
    over = []
    for n_batches in range(1, 5_001):
        check.batch_ran(machine.batch())
        before = machine.now
        check.check()
        if machine.now > before:
            over.append(machine.now - 0.01 * n_batches)
    assert len(over) > 5
    assert max(over[1:]) < 1e-9


def test_check_when_the_share_is_nothing_then_never() -> None:
    machine = Machine(by_row)
    check = machine.check(share=0.0)
    for _ in range(1000):
        check.batch_ran(machine.batch())
        check.check()
    assert machine.runs == []


def test_check_when_done_then_the_batch_is_let_go() -> None:
    machine = Machine(by_row)
    check = machine.check()
    for _ in range(3):
        check.batch_ran(machine.batch())
    check.check()
    check.check()
    assert len(machine.results) == 1
    assert check._kept is None
