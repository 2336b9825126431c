"""Some rows of a chunk, as a chunk of their own. Knows rows and arrays, no format."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from ferry.bulk.formats.base import ChunkRows, Group
from ferry.bulk.formats.ordering import positions_of
from ferry.bulk.formats.sequences import Repeated
from ferry.tensors import Array

T = TypeVar("T")


def only_rows(rows: ChunkRows, kept: Array) -> ChunkRows:
    """Return the rows at some positions, in their order. Shape: kept int64 (rows), ascending."""
    if len(kept) == len(rows.ids):
        return rows
    # By position: the new one, or -1.
    moved = np.full(len(rows.ids), -1, np.int64)
    moved[kept] = np.arange(len(kept))
    groups = (_only_of_group(group, moved) for group in rows.groups)
    faults = tuple(
        replace(each, position=int(moved[each.position])) for each in rows.faults if moved[each.position] >= 0
    )
    return replace(
        rows,
        ids=_picked(rows.ids, kept),
        numbers=_picked(rows.numbers, kept),
        groups=tuple(group for group in groups if len(group.positions)),
        faults=faults,
        joined={name: _taken(values, kept) for name, values in rows.joined.items()},
    )


def _only_of_group(group: Group, moved: Array) -> Group:
    positions = moved[positions_of(group)]
    is_kept = positions >= 0
    if is_kept.all():
        return replace(group, positions=positions.tolist())
    places = np.flatnonzero(is_kept)
    counts = group.counts
    of_rows = is_kept
    if not (isinstance(counts, Repeated) and counts.value == 1):
        of_rows = np.repeat(is_kept, np.array(counts, np.int64))
    return Group(
        positions[is_kept].tolist(),
        [array[of_rows] for array in group.arrays],
        _picked(counts, places),
        _picked(group.singles, places),
        _picked(group.asked, places),
    )


def _picked(values: Sequence[T], places: Array) -> Sequence[T]:
    if isinstance(values, Repeated):
        return Repeated(values.value, len(places))
    return [values[place] for place in places.tolist()]


def _taken(values: Any, kept: Array) -> Any:
    # Only chunks with joined columns need pyarrow.
    from ferry.bulk.formats.table_output import picked  # noqa: PLC0415

    return picked(values, kept)
