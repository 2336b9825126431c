"""Rows made up for a trial: valid for the signature, the same ones every time. Runs nothing.

Rows are arrays by input name with the rows first, (N, *inner), wherever the model itself has its batch axis.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from ferry.tensors import Array
from worker.inspection.signature import Axis, Input

Rows = dict[str, Array]

# What the rows of one run are multiplied by: a model may decide by magnitude (pictures of 0..1 and 0..255), so rows
# with each magnitude are watched.
_MAGNITUDES = (1.0, 255.0, 0.05, -1.0, 4.0)
_WORDS = ("0", "1", "yes", "no", "a longer text of some words", "größer")


class Kind(StrEnum):
    """How the values of rows are made; the later ones suit more models and show less."""

    VARIED = "varied"  # magnitudes differ from row to row
    UNIT = "unit"  # floats of 0 to 1, whole numbers 0 and 1
    COPIES = "copies"  # of one such row


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are made up. `inner` are each input's inner axes; `sizes` the sizes of their symbols.

    `tops` is the largest whole number that each input takes, where a search has found one.
    """

    inputs: tuple[Input, ...]
    inner: Mapping[str, tuple[Axis, ...]]
    sizes: Mapping[str, int]
    kind: Kind = Kind.VARIED
    seed: int = 0
    tops: Mapping[str, int] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one row of an input."""
        return tuple(self.sizes[axis] if isinstance(axis, str) else axis for axis in self.inner[name])

    def bytes_of(self, n_rows: int) -> int:
        """Return the size of so many rows, in bytes."""
        return sum(n_rows * math.prod(self.shape(each.name)) * each.numpy_dtype.itemsize for each in self.inputs)


def symbols_of(inner: Mapping[str, tuple[Axis, ...]]) -> list[str]:
    """Return the symbols of free inner axes, each once and in order."""
    return list(dict.fromkeys(axis for axes in inner.values() for axis in axes if isinstance(axis, str)))


def make_up_rows(plan: Plan, n_rows: int) -> Rows:
    """Make `n_rows` rows."""
    rows = {}
    for each in plan.inputs:
        # Of its own for each input, so that no two inputs are alike.
        random = np.random.default_rng((plan.seed, zlib.crc32(each.name.encode())))
        n_made = 1 if plan.kind is Kind.COPIES else n_rows
        made = _made_up(each, (n_made, *plan.shape(each.name)), plan, random)
        rows[each.name] = made if n_made == n_rows else np.repeat(made, n_rows, axis=0)
    return rows


def take(rows: Rows, indices: Sequence[int]) -> Rows:
    """Return the rows at `indices`, which may repeat."""
    return {name: array[list(indices)] for name, array in rows.items()}


def count(rows: Rows) -> int:
    """Return how many rows there are."""
    return len(next(iter(rows.values())))


def _made_up(each: Input, shape: tuple[int, ...], plan: Plan, random: np.random.Generator) -> Array:
    if each.dtype == "string":
        # Digits at first, since a model may turn text into numbers.
        words = _WORDS[:2] if plan.seed == 0 or plan.kind is not Kind.VARIED else _WORDS
        return np.array(random.choice(words, shape), dtype=object)
    if each.dtype.startswith("float"):
        # Multiples of 1/256 in [0, 1) are exact in float16 too.
        values = random.integers(0, 256, shape) / 256
        if plan.kind is Kind.VARIED:
            scales = np.resize(np.roll(_MAGNITUDES, -plan.seed), shape[0])
            values *= scales.reshape(-1, *(1,) * (len(shape) - 1))
        return values.astype(each.numpy_dtype)
    # Whole numbers may be ids of a short table, so only later seeds use all that run.
    top = plan.tops.get(each.name, 1) if plan.seed and plan.kind is Kind.VARIED else 1
    return random.integers(0, top + 1, shape).astype(each.numpy_dtype)
