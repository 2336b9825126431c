"""A part's outputs put back in the order of the input. Knows groups and arrays, no format."""

from collections.abc import Sequence

import numpy as np

from ferry.bulk.formats.base import Group, PartResult, Rules, counts_of, no_columns
from ferry.bulk.formats.sequences import Repeated
from ferry.errors import InvalidInputError
from ferry.json_elements import limits_of_dtype
from ferry.manifest import TensorSpec
from ferry.tensors import Array


class OutputRows:
    """The rows of a part that have output, in input order, worked out once for all outputs.

    Shape: positions int64 (rows), the position of each; of a line that holds several rows it comes several times.
    taken: int64 (rows), where each lies among the rows of all groups, one after the other; None where that is the
    order they are in.
    """

    def __init__(self, result: PartResult) -> None:
        self._outputs = result.outputs
        # The position of each row that failed; of a line that holds several rows it comes several times.
        self.faulty: Array = _faulty_positions(result)
        positions = [_row_positions(group) for group in result.rows.groups]
        all_positions = _joined(positions, np.empty(0, np.int64))
        self.positions: Array = all_positions
        self.taken: Array | None = None
        is_good = np.ones(len(result.rows.ids), bool)
        is_good[self.faulty] = False
        if len(positions) > 1 or not is_good.all() or np.any(all_positions[1:] < all_positions[:-1]):
            order = np.argsort(all_positions, kind="stable")
            self.taken = order[is_good[all_positions[order]]]
            self.positions = all_positions[self.taken]

    def output(self, index: int, spec: TensorSpec) -> Array:
        """Return output `index` of the rows that have one; needs one inner shape.

        Shape: (rows, *inner).

        Raises:
            InvalidInputError: rows of this part have several inner shapes.
        """
        empty = np.empty((0, *(size or 0 for size in spec.inner_shape)), spec.numpy_dtype)
        parts = [outputs[index] for outputs in self._outputs]
        if len({part.shape[1:] for part in parts}) > 1:
            raise InvalidInputError(f"output {spec.name!r} differs in shape from row to row; ask for jsonl")
        rows = _joined(parts, empty)
        return rows if self.taken is None else rows[self.taken]

    def aligned(self, index: int, spec: TensorSpec) -> Array:
        """Return output `index` with a row for every row of the input: where one failed NaN, or what `_filler` says.

        Shape: (rows, *inner), in row order.
        """
        rows = np.ascontiguousarray(self.output(index, spec), dtype=spec.numpy_dtype)
        if not len(self.faulty):
            return rows
        failed = self.failed()
        whole: Array = np.full((len(failed), *rows.shape[1:]), _filler(spec), spec.numpy_dtype)
        whole[~failed] = rows
        return whole

    def failed(self) -> Array:
        """Say of each row of `aligned` whether it failed. Shape: bool (rows).

        A line that holds several rows takes as many places where it failed.
        """
        both = np.concatenate([self.positions, self.faulty])
        return np.asarray(np.argsort(both, kind="stable") >= len(self.positions))


def positions_of(group: Group) -> Array:
    """Return whose rows a group holds. Shape: int64 (positions)."""
    places = group.positions
    if isinstance(places, range):
        return np.arange(places.start, places.stop, places.step, dtype=np.int64)
    return np.array(places, dtype=np.int64)


def _faulty_positions(result: PartResult) -> Array:
    faults = result.all_faults()
    counts = counts_of(result.rows.groups) if faults else {}
    rows = [max(fault.count, counts.get(fault.position, 1)) for fault in faults]
    return np.repeat(np.array([fault.position for fault in faults], np.int64), np.array(rows, np.int64))


def _row_positions(group: Group) -> Array:
    positions = positions_of(group)
    if isinstance(group.counts, Repeated):
        return positions if group.counts.value == 1 else np.repeat(positions, group.counts.value)
    return np.repeat(positions, np.array(group.counts, np.int64))


def _joined(arrays: Sequence[Array], empty: Array) -> Array:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else empty


def _filler(spec: TensorSpec) -> float:
    """Return what a failed row's elements are: NaN, an integer at the end of its dtype, or False."""
    if spec.is_float:
        return np.nan
    if spec.dtype == "bool":
        return False
    low, high = limits_of_dtype(spec.dtype)
    return low if low < 0 else high


def check_arrays_only(rules: Rules, name: str) -> None:
    """Refuse outputs that a plain array cannot hold.

    Raises:
        InvalidInputError: text, axes of any size, or columns to echo.
    """
    for spec in rules.manifest.outputs:
        if spec.is_string or None in rules.row_shape(spec):
            what = "is text" if spec.is_string else "has an axis of any size"
            raise InvalidInputError(f"output {spec.name!r} {what}, which {name} cannot hold; ask for jsonl or parquet")
    if rules.join:
        raise InvalidInputError(f"{name} {no_columns(rules)}; ask for jsonl, csv, parquet or arrow")
