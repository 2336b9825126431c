"""Measures run time against rows and chooses the batch limits from it. Knows nothing of files, Redis or settings."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ferry.tensors import Array
from worker.models import Model, whole_zeros, zeros

# No size above: one claim holds Redis for some 10 µs a job, and every other client waits meanwhile.
MAX_PROFILED_ROWS = 1024
# Each size runs this often at most, and its best time counts: whatever else the machine did only ever adds to it.
ROUNDS = 11
# The smallest size that gives this part of the highest rows/s is chosen: larger ones cost latency and gain nothing.
# Meant are 5 %; two of them are for the error of a measurement that takes a second.
NEAR_PEAK = 0.97
# Waiting pays where a second row makes a lone row's run at most this much longer ...
FREE_RIDE = 0.1
# ... then for this part of the time that a run costs whatever its rows, which bounds what a lone job loses,
WAIT_SHARE = 0.1
# and neither for longer than this nor for less than sleeping and claiming once more take.
LONGEST_WAIT_MS, SHORTEST_WAIT_MS = 20.0, 1.0
# Sizes for free inner axes, tried in turn: of text, of an image, and the least there is.
FREE_AXIS_SIZES = (64, 224, 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of a measurement and of the choice.

    latency_s: one run of the chosen size. bytes_a_run: inputs and outputs of one run. total_s: the measurement; of a
    model whose single row takes longer, that row and no more.
    """

    latency_s: float
    bytes_a_run: int = 64 * 2**20
    total_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Best run time in seconds by rows, ascending; what inner axes of any size were measured at."""

    seconds: Mapping[int, float]
    free_axis_size: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The fit a + b * rows in seconds, and the batch limits that follow from it and the curve."""

    a_s: float
    b_s: float
    max_rows: int
    max_wait_ms: float


def measure(model: Model, budget: Budget, *, clock: Callable[[], float] = time.perf_counter) -> Curve:
    """Run made-up rows (zeros, empty text) of growing numbers and take the time; of whole jobs, one with one row.

    Raises:
        Exception: what the model raised on a lone row of every size tried for its free axes.
    """
    measure_at = _measure if model.is_batched else _measure_whole
    if all(None not in spec.inner_shape for spec in model.manifest.inputs):
        return Curve(measure_at(model, budget, clock, free_axis_size=1))
    for size in FREE_AXIS_SIZES[:-1]:
        try:
            return Curve(measure_at(model, budget, clock, free_axis_size=size), size)
        except Exception:  # noqa: BLE001, S112  an image may be too small, a text too long: another size may do
            continue
    return Curve(measure_at(model, budget, clock, free_axis_size=FREE_AXIS_SIZES[-1]), FREE_AXIS_SIZES[-1])


def _measure_whole(
    model: Model, budget: Budget, clock: Callable[[], float], *, free_axis_size: int
) -> dict[int, float]:
    """Return the best time of one whole job, which counts as one row."""
    arrays = [whole_zeros(spec, free_axis_size=free_axis_size) for spec in model.manifest.inputs]
    model.run_whole(arrays)  # any first run sets the session up
    started, best = clock(), float("inf")
    for _ in range(ROUNDS):
        before = clock()
        model.run_whole(arrays)
        best = min(best, clock() - before)
        if clock() - started > budget.total_s:
            break
    return {1: best}


def _measure(model: Model, budget: Budget, clock: Callable[[], float], *, free_axis_size: int) -> dict[int, float]:
    def rows_of(n_rows: int) -> list[Array]:
        return [zeros(spec, n_rows, free_axis_size=free_axis_size) for spec in model.manifest.inputs]

    def timed(arrays: list[Array]) -> float:
        before = clock()
        model.run(arrays)
        return clock() - before

    fixed = model.manifest.batching.fixed_rows
    # Outside the budget, as any first run is: lazy initialisation belongs to no size.
    least = rows_of(fixed or 1)
    bytes_a_row = sum(array.nbytes for array in (*least, *model.run(least))) / (fixed or 1)
    started = clock()
    rows: dict[int, list[Array]] = {}
    best: dict[int, float] = {}
    for n_rows in [fixed] if fixed else _doublings(int(budget.bytes_a_run / max(bytes_a_row, 1))):
        # Twice the rows take twice as long at most, or this size is not worth having.
        if best and clock() - started + 2 * best[n_rows // 2] > budget.total_s:
            break
        rows[n_rows] = rows_of(n_rows)
        best[n_rows] = timed(rows[n_rows])
        if best[n_rows] > budget.latency_s:
            break
    # Down and up again: always after the largest, the least would never find the weights in the cache.
    for n_rows in [*reversed(rows), *rows] * ((ROUNDS - 1) // 2):
        if clock() - started + best[n_rows] > budget.total_s:
            break
        best[n_rows] = min(best[n_rows], timed(rows[n_rows]))
    return best


def _doublings(most: int) -> Iterator[int]:
    n_rows = 1
    while n_rows <= min(max(most, 1), MAX_PROFILED_ROWS):
        yield n_rows
        n_rows *= 2


def choose(curve: Mapping[int, float], budget: Budget, *, is_fixed: bool = False) -> Choice:
    """Fit the curve and choose: the smallest size within 5 % of the highest rows/s that keeps to the latency budget.

    With `is_fixed` there is one size, and every run costs the same whatever its rows.
    """
    if is_fixed:
        (size,) = curve
        a_s, b_s = (curve[size], 0.0) if size > 1 else (0.0, curve[size])
        return Choice(a_s, b_s, size, _wait_ms(a_s, b_s, size))
    a_s, b_s = fit(curve)
    quick = {size: seconds for size, seconds in curve.items() if seconds <= budget.latency_s}
    peak = max((size / seconds for size, seconds in quick.items()), default=0.0)
    # A model whose single row takes longer than the budget still runs, one row at a time.
    max_rows = min((size for size, seconds in quick.items() if size / seconds >= NEAR_PEAK * peak), default=1)
    return Choice(a_s, b_s, max_rows, _wait_ms(a_s, b_s, max_rows))


def fit(curve: Mapping[int, float]) -> tuple[float, float]:
    """Return a and b, neither below 0, of the line a + b * rows with the least squared relative errors.

    Relative, for the absolute errors of the largest sizes are larger than the whole time of the smallest.
    """
    sizes = np.array(list(curve), float)
    seconds = np.array(list(curve.values()))
    # With weights 1/t the wanted value is 1 everywhere.
    columns = np.stack([1 / seconds, sizes / seconds], axis=1)
    if len(curve) > 1:
        a_s, b_s = np.linalg.lstsq(columns, np.ones(len(curve)), rcond=None)[0]
        if a_s >= 0 and b_s >= 0:
            return float(a_s), float(b_s)
        if b_s < 0:
            return float(columns[:, 0].sum() / (columns[:, 0] ** 2).sum()), 0.0
    return 0.0, float(columns[:, 1].sum() / (columns[:, 1] ** 2).sum())


def _wait_ms(a_s: float, b_s: float, max_rows: int) -> float:
    """Return how long a lone row may wait for company; 0 where its run would grow with each row that came."""
    if max_rows == 1 or b_s > FREE_RIDE * (a_s + b_s):
        return 0.0
    wait_ms = min(WAIT_SHARE * a_s * 1000, LONGEST_WAIT_MS)
    return round(wait_ms, 3) if wait_ms >= SHORTEST_WAIT_MS else 0.0
