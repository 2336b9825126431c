"""Gather and scatter: indices must not reach from one row into another."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, axis_of, dims_of, rank_of, rows_of
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.rules.broadcasting import check_constant
from worker.inspection.batch_axis.sizes import ONE, product, times
from worker.inspection.batch_axis.values import Counts, Dims, Rows, Value

_BETWEEN = ("picks rows by index: a row's result comes from another row", "index inner axes only")
_PAIRS = ("picks for every row from every row", "use GatherElements (torch.gather) to pick inside each row")
_WRITES = ("writes into chosen rows", "write to inner positions only")
_ROW_NUMBERS = "picks by computed row numbers"


def _gather(node: Node) -> Value:
    data, indices = node.input(0), node.input(1)
    axis = axis_of(data, int(node.attribute("axis", 0)))
    dims = None
    if data.dims is not None and indices.dims is not None:
        dims = (*data.dims[:axis], *indices.dims, *data.dims[axis + 1 :])
    if indices.rows is not None and data.rows is not None:
        raise _between(indices) if data.rows.axis == axis else MixesError(*_PAIRS)
    if indices.rows is not None:
        return node.out(indices.rows.at(indices.rows.axis + axis), dims)
    if data.rows is None:
        return node.out(None, dims)
    if data.rows.axis == axis:
        raise _between(indices)
    if data.rows.axis > axis:
        return node.out(data.rows.at(data.rows.axis - 1 + rank_of(indices)), dims)
    return node.out(data.rows, dims)


def _between(indices: Value) -> Exception:
    """Row numbers computed from the batch size may name each row's own place."""
    return MixesError(*_BETWEEN) if indices.counts is Counts.NO else UnclearError(_ROW_NUMBERS)


def _gather_elements(node: Node) -> Value:
    data, indices = node.input(0), node.input(1)
    axis = axis_of(data, int(node.attribute("axis", 0)))
    if data.rows is None and indices.rows is None:
        return node.out(None, indices.dims)
    if data.rows is not None and data.rows.axis == axis:
        raise _between(indices)
    rows = _same(data, indices)
    if data.rows is None:
        raise UnclearError("picks from a tensor that is not expanded to the batch size")
    if indices.rows is None:
        raise MixesError("picks from the first rows only", "expand the indices to the batch size")
    return node.out(rows, indices.dims)


def _same(*values: Value) -> Rows:
    """Return the rows of tensors of equal rank."""
    found = [value.rows for value in values if value.rows is not None]
    if any(rows.axis != found[0].axis for rows in found):
        raise MixesError("combines tensors whose batch axes do not line up", "keep the batch axis at the same place")
    if any(rows.outer != ONE for rows in found):
        raise UnclearError("combines tensors whose rows lie in different order")
    return found[0]


def _gather_nd(node: Node) -> Value:
    data, indices = node.input(0), node.input(1)
    if data.rows is None and indices.rows is None:
        return node.out(None)
    shared = int(node.attribute("batch_dims", 0))
    width = dims_of(indices)[-1]
    if width is None or width.number is None:
        raise UnclearError("picks with indices of unknown length")
    indices_rank = rank_of(indices)
    if indices.rows is not None and indices.rows.axis == indices_rank - 1:
        raise MixesError(*_BETWEEN)
    if data.rows is None:
        return _picked_from_constant(node, data, indices, shared)
    place = data.rows.axis
    if place < shared:
        if indices.rows is None or indices.rows.axis != place:
            raise MixesError("picks with indices that do not follow the rows", "expand the indices to the batch size")
        return node.out(_same(data, indices))
    if place < shared + width.number:
        raise _between(indices)
    if indices.rows is not None:
        raise MixesError(*_PAIRS)
    return node.out(data.rows.at(place - width.number + indices_rank - 1 - shared))


def _picked_from_constant(node: Node, data: Value, indices: Value, shared: int) -> Value:
    rows = rows_of(indices)
    if rows.axis < shared:
        check_constant(data, rows.axis - rank_of(data))
    return node.out(rows)


def _scatter_elements(node: Node) -> Value:
    data, indices, updates = node.input(0), node.input(1), node.input(2)
    values = (data, indices, updates)
    if all(value.rows is None for value in values):
        return node.out(None, data.dims)
    axis = axis_of(data, int(node.attribute("axis", 0)))
    rows = _same(*values)
    if rows.axis == axis:
        raise MixesError(*_WRITES) if indices.counts is Counts.NO else UnclearError("writes to computed row numbers")
    if data.rows is None:
        raise UnclearError("writes into a tensor that is not expanded to the batch size")
    if indices.rows is None or updates.rows is None:
        raise MixesError(*_WRITES)
    return node.out(rows, data.dims)


def _scatter_nd(node: Node) -> Value:
    data, indices, updates = node.input(0), node.input(1), node.input(2)
    if all(value.rows is None for value in (data, indices, updates)):
        return node.out(None, data.dims)
    if indices.counts is not Counts.NO:
        raise UnclearError("writes to computed row numbers")
    if data.rows is None:
        raise UnclearError("writes into a tensor that is not expanded to the batch size")
    width = dims_of(indices)[-1]
    if width is None or width.number is None:
        raise UnclearError("writes with indices of unknown length")
    if indices.rows is not None or data.rows.axis < width.number:
        raise MixesError(*_WRITES)
    place = data.rows.axis - width.number + rank_of(indices) - 1
    if updates.rows is None:
        check_constant(updates, place - rank_of(updates))
    elif updates.rows.axis != place:
        raise MixesError("writes tensors whose batch axes do not line up", "keep the batch axis at the same place")
    return node.out(data.rows, data.dims)


def _one_hot(node: Node) -> Value:
    indices = node.input()
    if any(value.rows is not None for value in node.present(1)):
        raise UnclearError("takes its depth or its values from rows")
    axis = int(node.attribute("axis", -1))
    rank = rank_of(indices)
    axis = axis % (rank + 1)
    rows = indices.rows
    if rows is not None:
        rows = rows.at(rows.axis + (axis <= rows.axis))
    dims: Dims | None = None
    if indices.dims is not None:
        depth = node.entries(1)
        dims = (*indices.dims[:axis], depth[0] if depth else None, *indices.dims[axis:])
    return node.out(rows, dims)


def flat_indices(node: Node) -> Value:
    """ArrayFeatureExtractor: picks on the last axis by indices that it takes as one list."""
    data, indices = node.input(0), node.input(1)
    dims = dims_of(data)
    if data.rows is not None and data.rows.axis == len(dims) - 1:
        raise _between(indices)
    if data.rows is not None and indices.rows is not None:
        raise MixesError(*_PAIRS)
    lead = dims[:-1] if len(dims) > 1 else (ONE,)
    length = product(indices.dims) if indices.dims is not None else None
    rows = data.rows
    if indices.rows is not None:
        rows = Rows(len(lead), indices.before(), times(ONE, indices.after()))
    return node.out(rows, (*lead, length))


RULES: dict[tuple[str, str], Rule] = {
    ("", "Gather"): _gather,
    ("", "GatherElements"): _gather_elements,
    ("", "GatherND"): _gather_nd,
    ("", "Scatter"): _scatter_elements,
    ("", "ScatterElements"): _scatter_elements,
    ("", "ScatterND"): _scatter_nd,
    ("", "OneHot"): _one_hot,
    ("ai.onnx.ml", "ArrayFeatureExtractor"): flat_indices,
    ("com.microsoft", "GatherND"): _gather_nd,
}
