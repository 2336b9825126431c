"""What a trial runs: made-up rows of several sizes, seeds and magnitudes, or rows of an example. Runs nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from worker.inspection.batch_axes import BatchAxes, inner_axes
from worker.inspection.influence import Setting
from worker.inspection.made_up_rows import Plan, Rows, count, make_up_rows, symbols_of, take
from worker.inspection.signature import Signature

# Sizes for free inner axes, tried in turn: text models take any, image models want some tens of pixels. The first
# differs from every number of rows, so that an output's axis cannot be taken for a batch axis by chance.
SIZES = (4, 1, 2, 8, 16, 32, 64, 224)
# Made-up inputs of one run; a row above the API's 64 MiB could not be sent anyway.
MAX_RUN_BYTES = 256 * 2**20
# Rows of a run in which neighbours are changed.
ROW_COUNTS = (3, 2, 8)


def first_plan(signature: Signature, choice: BatchAxes) -> Plan:
    """Return the plan that is tried first."""
    inner = {each.name: inner_axes(each, choice.axes[each.name]) for each in signature.inputs}
    return sized(Plan(signature.inputs, inner, {}), SIZES[0])


def sized(plan: Plan, size: int) -> Plan:
    """Return the plan with every free inner axis at `size`."""
    return replace(plan, sizes=dict.fromkeys(symbols_of(plan.inner), size))


def fits(plan: Plan, n_rows: int) -> bool:
    """Say whether so many rows are small enough to be tried."""
    return plan.bytes_of(n_rows) <= MAX_RUN_BYTES


def given_rows(rows: Rows, n_rows: int) -> Rows:
    """Return so many rows of an example, again from the first where there are fewer."""
    return take(rows, [index % count(rows) for index in range(n_rows)])


def settings_of_example(rows: Rows, fixed_rows: int | None) -> Iterator[Setting]:
    """Yield what is tried with an example: its own numbers bound those of neighbours, its texts may be theirs."""
    bounds = {
        name: (int(array.min()), int(array.max()))
        for name, array in rows.items()
        if array.dtype.kind in "iu" and array.size
    }
    texts = {
        name: np.array(sorted(set(array.reshape(-1))), dtype=object)
        for name, array in rows.items()
        if array.dtype == object
    }
    for n_rows in (fixed_rows,) if fixed_rows else ROW_COUNTS:
        yield Setting(partial(given_rows, rows), n_rows, bounds, texts)


def settings_of_plan(plan: Plan, tops: Mapping[str, int], fixed_rows: int | None) -> Iterator[Setting]:
    """Yield what is tried with made-up rows: several numbers of rows, seeds and sizes; `tops` as in `Plan`."""
    counts = (fixed_rows,) if fixed_rows else ROW_COUNTS
    bounds = {name: (0, top) for name, top in tops.items()}
    for number, each in enumerate(_plans(replace(plan, tops=tops))):
        for n_rows in counts if number == 0 else counts[::2]:
            if fits(each, n_rows):
                yield Setting(partial(make_up_rows, each), n_rows, bounds)


def _plans(plan: Plan) -> Iterator[Plan]:
    yield plan
    for seed in (1, 2):
        yield replace(plan, seed=seed)
    symbols = symbols_of(plan.inner)
    if symbols:
        yield replace(plan, sizes={symbol: 2 * size for symbol, size in plan.sizes.items()}, seed=3)
    if len(symbols) > 1:
        mixed = {symbol: plan.sizes[symbol] * (1 + number % 2) for number, symbol in enumerate(symbols)}
        yield replace(plan, sizes=mixed, seed=4)
