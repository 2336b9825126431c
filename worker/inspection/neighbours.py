"""Changed neighbours: what the rows beside a watched one are replaced by, by kind and dtype. Runs nothing."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ferry.tensors import Array
from worker.inspection.made_up_rows import Rows

# A change that a model must stand to be tried at all, in the order in which they are tried.
ESSENTIAL = ("zeros", "negated", "noise")
_LONG_TEXT = "a text of many words, longer than those beside it, " * 10

Change = Callable[[Array, np.random.Generator], Array]
IntChange = Callable[[Array, int, int, np.random.Generator], Array]

# Float64 inside: float16 overflows to infinity at most, without a warning.
_FLOATS: dict[str, Change] = {
    "zeros": lambda x, _: np.zeros_like(x),
    "negated": lambda x, _: -x - 1,
    "noise": lambda x, random: np.asarray(random.normal(0, 3, x.shape)),
    "times 255": lambda x, _: x * 255 + 1,
    "times 0.05": lambda x, _: x * 0.05,
    "huge": lambda x, random: random.choice([-30_000.0, 30_000.0], x.shape),
    "not a number": lambda x, _: np.full_like(x, np.nan),
    "reversed": lambda x, _: x.reshape(len(x), -1)[:, ::-1].reshape(x.shape) + 0.5,
}
# `low` and `top` bound the numbers that the model is known to take.
_INTS: dict[str, IntChange] = {
    "zeros": lambda x, *_: np.zeros_like(x),
    "negated": lambda x, low, top, _: low + (top - np.clip(x, low, top)),
    "noise": lambda x, low, top, random: np.asarray(random.integers(low, top, x.shape, endpoint=True)),
    "times 255": lambda x, _, top, __: np.full_like(x, top),
    "times 0.05": lambda x, low, *_: np.full_like(x, low),
    "huge": lambda x, low, top, random: random.choice([low, top], x.shape),
    "reversed": lambda x, *_: x.reshape(len(x), -1)[:, ::-1].reshape(x.shape),
}
_BOOLS: dict[str, Change] = {
    "zeros": lambda x, _: np.zeros_like(x),
    "negated": lambda x, _: ~x,
    "noise": lambda x, random: np.asarray(random.random(x.shape) < 0.5),
    "times 255": lambda x, _: np.ones_like(x),
}
_TEXTS: dict[str, Change] = {
    "zeros": lambda x, _: np.full_like(x, ""),
    "negated": lambda x, _: np.where(x == "1", "0", "1").astype(object),
    "noise": lambda x, random: random.choice(["yes", "no", "7", "größer", "two words"], x.shape).astype(object),
    "times 255": lambda x, _: np.full_like(x, _LONG_TEXT),
    "times 0.05": lambda x, _: np.full_like(x, "0"),
}
KINDS = tuple(_FLOATS)


def changed_rows(
    rows: Rows,
    kind: str,
    bounds: Mapping[str, tuple[int, int]],
    random: np.random.Generator,
    texts: Mapping[str, Array] = MappingProxyType({}),
) -> Rows:
    """Return the rows with all values changed; a dtype that does not know the kind gets noise.

    `bounds`: for each input of whole numbers the least and the greatest to use. `texts`: for some inputs of text the
    texts to use in place of made-up ones.
    """
    return {
        name: random.choice(texts[name], array.shape).astype(object)
        if name in texts
        else _changed(array, kind, bounds.get(name, (0, 1)), random)
        for name, array in rows.items()
    }


def _changed(array: Array, kind: str, bounds: tuple[int, int], random: np.random.Generator) -> Array:
    if array.dtype == object:
        return _TEXTS.get(kind, _TEXTS["noise"])(array, random)
    if array.dtype == bool:
        return _BOOLS.get(kind, _BOOLS["noise"])(array, random)
    if array.dtype.kind in "iu":
        # Wide enough for differences of any two; the bounds keep results in the dtype.
        wide = array.astype(np.int64) if array.dtype != np.uint64 else np.minimum(array, 2**62).astype(np.int64)
        return _INTS.get(kind, _INTS["noise"])(wide, *bounds, random).astype(array.dtype)
    with np.errstate(over="ignore"):
        return _FLOATS[kind](array.astype(np.float64), random).astype(array.dtype)
