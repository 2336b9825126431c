import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.manifest import ExecutionMode, TensorSpec
from tests.manifests import manifest, spec
from worker.models import Model
from worker.profiling import (
    FREE_AXIS_SIZES,
    LONGEST_WAIT_MS,
    MAX_PROFILED_ROWS,
    NEAR_PEAK,
    ROUNDS,
    Budget,
    choose,
    fit,
    measure,
)

BUDGET = Budget(latency_s=0.2)
SIZES = [2**n for n in range(11)]


class Machine:
    """A model of x (rows, 3) whose runs take as long as the test says, on a clock that only runs turn."""

    def __init__(self, seconds, *, raises=lambda x: False, inputs=None, outputs=None, **batching: object) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.raises = raises
        self.runs: list[tuple[int, ...]] = []
        made = manifest(**({"max_rows": None} | batching), inputs=inputs, outputs=outputs)
        self.model = Model(made, self)

    def clock(self) -> float:
        return self.now

    def run(self, _: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        (x,) = feed.values()
        if self.raises(x):
            raise ValueError("not these rows")
        self.runs.append(x.shape)
        self.now += self.seconds(x.shape[0])
        return [np.zeros((x.shape[0], 2), np.float32)]

    def measure(self, budget: Budget = BUDGET):
        return measure(self.model, budget, clock=self.clock)


def line(a_us: float, b_us: float):
    return lambda n_rows: (a_us + b_us * n_rows) / 1e6


def curve(a_us: float, b_us: float, sizes: list[int] = SIZES) -> dict[int, float]:
    return {size: line(a_us, b_us)(size) for size in sizes}


# --- measuring


def test_measure_when_jobs_run_whole_then_one_size_and_no_more_than_the_budget() -> None:
    state = (TensorSpec(name="x", dtype="float32", shape=(2, None, None), batch_axis=1),)
    free = (TensorSpec(name="y", dtype="float32", shape=(), batch_axis=None, has_any_rank=True),)
    machine = Machine(line(1000, 0), mode=ExecutionMode.WHOLE_JOB, inputs=state, outputs=free)
    measured = machine.measure(Budget(latency_s=0.2, total_s=0.0045))
    assert list(measured.seconds) == [1]
    assert measured.seconds[1] == pytest.approx(0.001)
    assert machine.runs == [(2, 1, 64)] * 6
    assert choose(measured.seconds, BUDGET).max_rows == 1


def test_measure_when_the_model_is_quick_then_every_size_several_times() -> None:
    machine = Machine(line(20, 2))
    measured = machine.measure()
    assert list(measured.seconds) == SIZES
    assert SIZES[-1] == MAX_PROFILED_ROWS
    assert measured.seconds[64] == pytest.approx(148e-6)
    assert measured.free_axis_size is None
    assert len(machine.runs) == 1 + ROUNDS * len(SIZES)


def test_measure_when_something_disturbs_then_the_best_time_counts() -> None:
    machine = Machine(lambda n_rows: line(20, 2)(n_rows) * (5 if len(machine.runs) < 30 else 1))
    assert machine.measure().seconds == pytest.approx(curve(20, 2))


@pytest.mark.parametrize("row_s", [0.003, 0.02, 0.1, 0.15, 0.4])
def test_measure_when_the_model_is_slow_then_a_second_at_most_after_the_first_run(row_s: float) -> None:
    machine = Machine(lambda n_rows: row_s * n_rows)
    measured = machine.measure()
    assert machine.now - row_s <= BUDGET.total_s + 1e-9
    assert next(iter(measured.seconds)) == 1


def test_measure_when_a_size_exceeds_the_latency_budget_then_none_larger_is_run() -> None:
    machine = Machine(lambda n_rows: 0.01 * n_rows)
    assert max(machine.measure(Budget(latency_s=0.05)).seconds) == 8


def test_measure_when_rows_are_large_then_no_run_above_the_memory_budget() -> None:
    machine = Machine(line(20, 2))
    a_row = 3 * 4 + 2 * 4
    assert max(machine.measure(Budget(latency_s=0.2, bytes_a_run=100 * a_row)).seconds) == 64
    assert list(machine.measure(Budget(latency_s=0.2, bytes_a_run=1)).seconds) == [1]


def test_measure_when_the_batch_axis_is_fixed_then_at_that_size_only() -> None:
    machine = Machine(line(20, 2), max_rows=6, fixed_rows=6)
    assert machine.measure().seconds == pytest.approx({6: 32e-6})
    assert set(machine.runs) == {(6, 3)}


def test_measure_when_an_inner_axis_is_free_then_the_first_size_that_runs() -> None:
    inputs = (spec("x", "float32", None),)
    assert Machine(line(20, 2), inputs=inputs).measure().free_axis_size == FREE_AXIS_SIZES[0]
    machine = Machine(line(20, 2), inputs=inputs, raises=lambda x: x.shape[1] < 100)
    assert machine.measure().free_axis_size == FREE_AXIS_SIZES[1]
    assert {shape[1] for shape in machine.runs} == {FREE_AXIS_SIZES[1]}


@pytest.mark.parametrize("inputs", [(spec("x", "float32", None),), (spec("x", "float32", 3),)])
def test_measure_when_the_model_raises_on_all_then_so_does_it(inputs: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="not these rows"):
        Machine(line(20, 2), inputs=inputs, raises=lambda x: True).measure()


# --- the fit


@given(
    a_us=st.floats(min_value=0, max_value=1e5),
    b_us=st.floats(min_value=0.01, max_value=1e5),
    n_sizes=st.integers(min_value=2, max_value=11),
)
def test_fit_when_the_curve_is_a_line_then_that_line(a_us: float, b_us: float, n_sizes: int) -> None:
    a_s, b_s = fit(curve(a_us, b_us, SIZES[:n_sizes]))
    for size in SIZES[:n_sizes]:
        assert a_s + b_s * size == pytest.approx(line(a_us, b_us)(size), rel=1e-4)


@pytest.mark.parametrize(
    ("points", "a_s", "b_s"),
    [
        ({1: 1.0, 2: 0.5}, 0.6, 0.0),  # more rows in less time: no cost a row
        ({1: 1.0, 2: 3.0}, 0.0, 15 / 13),  # dearer together than alone: no cost a run
        ({1: 2.0}, 0.0, 2.0),  # one point says nothing of a
    ],
)
def test_fit_when_no_line_of_positive_costs_fits_then_the_nearest_that_has(
    points: dict[int, float], a_s: float, b_s: float
) -> None:
    assert fit(points) == pytest.approx((a_s, b_s))


# --- the choice


@given(
    a_us=st.floats(min_value=0, max_value=1e5),
    b_us=st.floats(min_value=0.01, max_value=5e4),
    noise=st.lists(st.floats(min_value=1, max_value=1.3), min_size=11, max_size=11),
)
def test_choose_when_curves_are_noisy_then_near_the_peak_and_the_smallest_such(
    a_us: float, b_us: float, noise: list[float]
) -> None:
    points = {size: line(a_us, b_us)(size) * part for size, part in zip(SIZES, noise, strict=True)}
    chosen = choose(points, BUDGET).max_rows
    allowed = {size: size / seconds for size, seconds in points.items() if seconds <= BUDGET.latency_s}
    best = max(allowed.values())
    assert allowed[chosen] >= NEAR_PEAK * best
    assert all(rate < NEAR_PEAK * best for size, rate in allowed.items() if size < chosen)


@pytest.mark.parametrize(
    ("a_us", "b_us", "latency_s", "max_rows"),
    [
        (20, 2, 0.2, 256),  # the rate at 256 rows is 0.97 of that at 1024, at 128 rows 0.94
        (0, 100, 0.2, 1),  # more rows gain nothing
        (20_000, 0, 0.2, 1024),  # rows are free
        (0, 40_000, 0.2, 1),
        (30_000, 10_000, 0.2, 16),  # 32 rows would take 350 ms
        (0, 500_000, 0.2, 1),  # no size keeps to the budget
    ],
)
def test_choose_when_curves_differ_then_so_do_the_rows(
    a_us: float, b_us: float, latency_s: float, max_rows: int
) -> None:
    assert choose(curve(a_us, b_us), Budget(latency_s)).max_rows == max_rows


@pytest.mark.parametrize(
    ("a_us", "b_us", "wait_ms"),
    [
        (20_000, 0, 2.0),  # a device that takes as long for many rows as for one
        (20_000, 2_000, 2.0),
        (20_000, 3_000, 0.0),  # a second row makes it 13 % longer
        (500_000, 0, LONGEST_WAIT_MS),
        (5_000, 0, 0.0),  # half a millisecond is less than waiting itself costs
        (20, 2, 0.0),
    ],
)
def test_choose_when_rows_are_nearly_free_then_waiting_pays_for_a_share_of_the_run(
    a_us: float, b_us: float, wait_ms: float
) -> None:
    assert choose(curve(a_us, b_us), Budget(latency_s=1.0)).max_wait_ms == pytest.approx(wait_ms)


@pytest.mark.parametrize(("size", "wait_ms"), [(1, 0.0), (8, 5.0)])
def test_choose_when_the_batch_axis_is_fixed_then_its_size_and_a_wait_where_there_is_room(
    size: int, wait_ms: float
) -> None:
    choice = choose({size: 0.05}, BUDGET, is_fixed=True)
    assert (choice.max_rows, choice.max_wait_ms) == (size, pytest.approx(wait_ms))
