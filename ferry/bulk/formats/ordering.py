"""A part's outputs put back in the order of the input. Knows groups and arrays, no format."""

from collections.abc import Iterator

import numpy as np

from ferry.bulk.formats.base import PartResult, Rules
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from ferry.tensors import Array


def iter_good(result: PartResult) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (position, group, place in the group, first row, row after the last) of rows with output, in order."""
    faulty = {fault.position for fault in result.all_faults()}
    places = []
    for number, group in enumerate(result.rows.groups):
        start = 0
        for place, (position, count) in enumerate(zip(group.positions, group.counts, strict=True)):
            if position not in faulty:
                places.append((position, number, place, start, start + count))
            start += count
    yield from sorted(places)


def good_positions(result: PartResult) -> Array:
    """Return the position of each output row in input order; one that holds several rows comes several times.

    Shape: int64 (rows).
    """
    return np.array(
        [position for position, _, _, start, end in iter_good(result) for _ in range(start, end)], dtype=np.int64
    )


def take_in_order(result: PartResult) -> Array:
    """Return where each output row in input order lies among the rows of all groups, one after the other.

    Shape: int64 (rows).
    """
    starts = np.cumsum([0, *(sum(group.counts) for group in result.rows.groups)]).tolist()
    picked = [starts[group] + row for _, group, _, start, end in iter_good(result) for row in range(start, end)]
    return np.array(picked, dtype=np.int64)


def ordered(result: PartResult, index: int, spec: TensorSpec) -> Array:
    """Return output `index` of all rows that have one, in input order; needs one inner shape.

    Shape: (rows, *inner).
    """
    arrays = [outputs[index] for outputs in result.outputs]
    if not arrays:
        return np.empty((0, *(size or 0 for size in spec.inner_shape)), spec.numpy_dtype)
    return np.concatenate(arrays)[take_in_order(result)]


def aligned(result: PartResult, index: int, spec: TensorSpec) -> Array:
    """Return output `index` with a row for every row of the input: NaN (0 in dtypes without it) where one failed.

    Shape: (rows, *inner).
    """
    rows = ordered(result, index, spec)
    faulty = [fault.position for fault in result.all_faults()]
    if not faulty:
        return np.ascontiguousarray(rows, dtype=spec.numpy_dtype)
    filler = np.nan if spec.numpy_dtype.kind == "f" else 0
    fill = np.full((len(faulty), *rows.shape[1:]), filler, spec.numpy_dtype)
    both = np.concatenate([rows.astype(spec.numpy_dtype, copy=False), fill])
    order = np.argsort(np.concatenate([good_positions(result), np.array(faulty, np.int64)]), kind="stable")
    return np.ascontiguousarray(both[order])


def check_arrays_only(rules: Rules, name: str) -> None:
    """Refuse outputs that a plain array cannot hold.

    Raises:
        InvalidInputError: text, axes of any size, or columns to echo.
    """
    for spec in rules.manifest.outputs:
        if not spec.is_fixed:
            what = "is text" if spec.is_string else "has an axis of any size"
            raise InvalidInputError(f"output {spec.name!r} {what}, which {name} cannot hold; ask for jsonl or parquet")
    if rules.join:
        raise InvalidInputError(f"{name} has no columns to join; ask for jsonl, csv, parquet or arrow")
