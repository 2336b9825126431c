"""Computes the entries of small shape tensors: Shape, and the integer arithmetic that exporters put after it."""

import math
import operator
from collections.abc import Callable

import numpy as np

from worker.inspection.batch_axis.entries import (
    MAX_ENTRIES,
    Entries,
    array_of,
    as_array,
    filled,
    scalar,
    stored_entries,
    vector,
    whole,
)
from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.sizes import MaybeSize, Size, over, product, times
from worker.inspection.batch_axis.values import numbers


def computed_entries(node: Node) -> Entries | None:
    """Return the entries of the first output, in its shape; None when the node computes no shape."""
    rule = _RULES.get(node.op_type) if node.proto.domain in {"", "ai.onnx"} else None
    found = None if rule is None else rule(node)
    return None if found is None or found.size > MAX_ENTRIES else found


def _shape(node: Node) -> Entries | None:
    value = node.input()
    if value.dims is None:
        return None
    return vector(value.dims[slice(node.attribute("start", 0), node.attribute("end"))])


def _size(node: Node) -> Entries | None:
    value = node.input()
    return None if value.dims is None else scalar(product(value.dims))


def _same(node: Node) -> Entries | None:
    return array_of(node.input())


def _pairwise(combine: Callable[[Size, Size], MaybeSize]) -> Callable[[Node], Entries | None]:
    def combine_known(one: MaybeSize, other: MaybeSize) -> MaybeSize:
        return None if one is None or other is None else combine(one, other)

    apply = np.frompyfunc(combine_known, 2, 1)

    def rule(node: Node) -> Entries | None:
        arrays = [array_of(value) for value in node.inputs]
        found = arrays[0]
        for array in arrays[1:]:
            if found is None or array is None:
                return None
            found = as_array(apply(found, array))
        return found

    return rule


def _add(one: Size, other: Size) -> MaybeSize:
    if one.names == other.names:
        return Size(one.factor + other.factor, one.names if one.factor + other.factor else ())
    return one if other.factor == 0 else other if one.factor == 0 else None


def _subtract(one: Size, other: Size) -> MaybeSize:
    return _add(one, Size(-other.factor, other.names))


def _divide(one: Size, other: Size) -> MaybeSize:
    exact = over(one, other)
    if exact is not None or one.names or other.names or other.factor == 0:
        return exact
    quotient = abs(one.factor) // abs(other.factor)
    return Size(quotient if (one.factor < 0) == (other.factor < 0) else -quotient)


def _compare(holds: Callable[[int, int], bool]) -> Callable[[Size, Size], MaybeSize]:
    """Compare. A named size is at least 0, so it is larger than any negative number."""

    def rule(one: Size, other: Size) -> MaybeSize:
        if one == other or not (one.names or other.names):
            return Size(int(holds(one.factor, other.factor)))
        if one.names and one.factor > 0 and not other.names and other.factor < 0:
            return Size(int(holds(0, -1)))
        if other.names and other.factor > 0 and not one.names and one.factor < 0:
            return Size(int(holds(-1, 0)))
        return None

    return rule


def _plain(compute: Callable[[int, int], int]) -> Callable[[Size, Size], MaybeSize]:
    def rule(one: Size, other: Size) -> MaybeSize:
        if one == other and compute in (min, max):
            return one
        return None if one.names or other.names else Size(compute(one.factor, other.factor))

    return rule


def _choose(condition: MaybeSize, one: MaybeSize, other: MaybeSize) -> MaybeSize:
    if condition is None or condition.names:
        return one if one == other else None
    return one if condition.factor else other


def _where(node: Node) -> Entries | None:
    condition, one, other = (array_of(node.find(index)) for index in range(3))
    if condition is None or one is None or other is None:
        return None
    return as_array(np.frompyfunc(_choose, 3, 1)(condition, one, other))


def _gather(node: Node) -> Entries | None:
    data, indices = array_of(node.input(0)), array_of(node.input(1))
    places = numbers(node.input(1).entries)
    if data is None or indices is None or places is None:
        return None
    found = np.take(data, np.array(places, dtype=np.int64).reshape(indices.shape), axis=node.attribute("axis", 0))
    return as_array(found)


def _slice(node: Node) -> Entries | None:
    data = array_of(node.input())
    bounds = [_integers(node, name, index) for index, name in enumerate(("starts", "ends", "axes", "steps"), 1)]
    starts, ends, axes, steps = bounds
    if data is None or starts is None or ends is None:
        return None
    if (axes is None and node.find(3) is not None) or (steps is None and node.find(4) is not None):
        return None
    cut = [slice(None)] * data.ndim
    for place, axis in enumerate(axes if axes is not None else range(len(starts))):
        step = steps[place] if steps is not None else 1
        to_start = step < 0 and ends[place] < -data.shape[axis]
        cut[axis] = slice(starts[place], None if to_start else ends[place], step)
    return data[tuple(cut)]


def _integers(node: Node, name: str, index: int) -> list[int] | None:
    given = node.attribute(name)
    return list(given) if given is not None else numbers(node.entries(index))


def _concat(node: Node) -> Entries | None:
    arrays = [array_of(value) for value in node.present()]
    known = [array for array in arrays if array is not None]
    return np.concatenate(known, axis=node.attribute("axis", 0)) if len(known) == len(arrays) else None


def _transpose(node: Node) -> Entries | None:
    data = array_of(node.input())
    return None if data is None else np.transpose(data, node.attribute("perm"))


def _reshape(node: Node) -> Entries | None:
    data, shape = array_of(node.input()), _integers(node, "shape", 1)
    if data is None or shape is None:
        return None
    return data.reshape([data.shape[place] if size == 0 else size for place, size in enumerate(shape)])


def _unsqueeze(node: Node) -> Entries | None:
    data, axes = array_of(node.input()), _integers(node, "axes", 1)
    return None if data is None or axes is None else np.expand_dims(data, tuple(axes))


def _squeeze(node: Node) -> Entries | None:
    data, axes = array_of(node.input()), _integers(node, "axes", 1)
    if data is None or (axes is None and node.find(1) is not None):
        return None
    return np.squeeze(data, None if axes is None else tuple(axes))


def _fill(node: Node) -> Entries | None:
    shape = numbers(node.entries(0))
    if shape is None or any(size < 0 for size in shape) or math.prod(shape) > MAX_ENTRIES:
        return None
    tensor = node.attribute("value")
    entry = (Size(0),) if tensor is None else stored_entries(tensor)
    return None if not entry else filled((entry[0],) * math.prod(shape), tuple(shape))


def _range(node: Node) -> Entries | None:
    bounds = [numbers(node.entries(index)) for index in range(3)]
    if any(not bound for bound in bounds):
        return None
    start, limit, step = (bound[0] for bound in bounds if bound)
    if step == 0 or abs(limit - start) > MAX_ENTRIES * abs(step):
        return None
    return vector(tuple(Size(number) for number in range(start, limit, step)))


def _product(node: Node) -> Entries | None:
    data = array_of(node.input())
    if data is None or data.ndim != 1 or node.attribute("axes", [0]) not in ([0], [-1]):
        return None
    found = scalar(product(data.tolist()))
    return found.reshape(1) if node.attribute("keepdims", 1) else found


def _each(change: Callable[[Size], MaybeSize]) -> Callable[[Node], Entries | None]:
    def change_known(entry: MaybeSize) -> MaybeSize:
        return None if entry is None else change(entry)

    apply = np.frompyfunc(change_known, 1, 1)

    def rule(node: Node) -> Entries | None:
        data = array_of(node.input())
        return None if data is None else as_array(apply(data))

    return rule


def _expand(node: Node) -> Entries | None:
    data, shape = array_of(node.input()), numbers(node.entries(1))
    if data is None or shape is None or any(size < 0 for size in shape):
        return None
    target = np.broadcast_shapes(data.shape, tuple(shape))
    return np.broadcast_to(data, target) if math.prod(target) <= MAX_ENTRIES else None


def _constant(node: Node) -> Entries | None:
    for name in ("value_int", "value_float"):
        if (number := node.attribute(name)) is not None:
            return scalar(whole(np.asarray(number))[0])
        if (given := node.attribute(f"{name}s")) is not None:
            return vector(whole(np.asarray(given))) if len(given) <= MAX_ENTRIES else None
    tensor = node.attribute("value")
    entries = None if tensor is None else stored_entries(tensor)
    return None if entries is None else filled(entries, tuple(tensor.dims))


_RULES: dict[str, Callable[[Node], Entries | None]] = {
    "Shape": _shape,
    "Size": _size,
    **dict.fromkeys(("Identity", "Cast", "Floor", "Ceil"), _same),
    "Add": _pairwise(_add),
    "Sub": _pairwise(_subtract),
    "Mul": _pairwise(times),
    "Div": _pairwise(_divide),
    "Mod": _pairwise(_plain(lambda one, other: one % other if other else 0)),
    "Min": _pairwise(_plain(min)),
    "Max": _pairwise(_plain(max)),
    "And": _pairwise(_plain(lambda one, other: int(bool(one and other)))),
    "Or": _pairwise(_plain(lambda one, other: int(bool(one or other)))),
    "Equal": _pairwise(_compare(operator.eq)),
    "Greater": _pairwise(_compare(operator.gt)),
    "GreaterOrEqual": _pairwise(_compare(operator.ge)),
    "Less": _pairwise(_compare(operator.lt)),
    "LessOrEqual": _pairwise(_compare(operator.le)),
    "Where": _where,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "ConstantOfShape": _fill,
    "Range": _range,
    "ReduceProd": _product,
    "Neg": _each(lambda entry: Size(-entry.factor, entry.names)),
    "Not": _each(lambda entry: None if entry.names else Size(int(not entry.factor))),
    "Expand": _expand,
    "Constant": _constant,
}
