"""Matrix products and Einsum: an axis that is summed over must not be the batch axis."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, dims_of, rank_of, rows_of
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.rules.broadcasting import broadcast, check_constant
from worker.inspection.batch_axis.sizes import ONE
from worker.inspection.batch_axis.values import Rows, Value

_SUMS = ("sums over the batch axis", "keep the batch axis out of the contracted axes; export with batch_first=True")
_PAIRS = (
    "multiplies every row with every other row",
    "add a batch axis in front, so that a product stays inside a row (export with batch_first=True)",
)


def multiply(node: Node, left: Value, right: Value) -> Value:
    """Return the product of two stacks of matrices, as numpy.matmul does it."""
    if left.rows is None and right.rows is None:
        return node.out(None)
    if left.dims is None and right.dims is not None and len(right.dims) == 2 and right.rows is None:
        return _unknown_rank(node, left)
    left, right = _as_matrix(left, is_left=True), _as_matrix(right, is_left=False)
    side_of_left, side_of_right = _side(left), _side(right)
    if side_of_left == -1 or side_of_right == -2:
        raise MixesError(*_SUMS)
    rows, stack = broadcast([_stack(left, side_of_left), _stack(right, side_of_right)])
    if (side_of_left or side_of_right) and (rows is not None or (side_of_left and side_of_right)):
        raise MixesError(*_PAIRS)
    dims = (*(stack or ()), dims_of(left)[-2], dims_of(right)[-1])
    if side_of_left or side_of_right:
        rows = rows_of(left if side_of_left else right).at(len(dims) - (2 if side_of_left else 1))
    return node.out(rows, dims)


def _unknown_rank(node: Node, left: Value) -> Value:
    """A stored matrix on the right contracts the last axis; rows before it stay where they are."""
    if left.rows is not None and left.rows.axis == 0 and node.op_type not in {"Gemm", "QGemm"}:
        inferred = node.inferred[0].dims if node.inferred else None
        if inferred is not None and len(inferred) > 1:
            return node.out(left.rows)
    raise UnclearError("multiplies a tensor whose rank is unknown")


def _as_matrix(value: Value, *, is_left: bool) -> Value:
    dims = dims_of(value)
    if len(dims) >= 2:
        return value
    if not dims or value.rows is not None:
        raise MixesError(*_SUMS)
    return Value(dims=(ONE, *dims) if is_left else (*dims, ONE))


def _side(value: Value) -> int:
    """Return -2 or -1 when the rows lie in the matrix, 0 when in the stack or nowhere."""
    if value.rows is None:
        return 0
    position = value.rows.axis - rank_of(value)
    return position if position >= -2 else 0


def _stack(value: Value, side: int) -> Value:
    return Value(dims=dims_of(value)[:-2], rows=None if side else value.rows)


def _matmul(node: Node) -> Value:
    left, right = node.input(0), node.input(1)
    if 1 in (left.rank, right.rank) and None not in (left.rank, right.rank):
        return _vector(node, left, right)
    return multiply(node, left, right)


def _vector(node: Node, left: Value, right: Value) -> Value:
    """Products with a vector lose the axis that numpy.matmul adds."""
    rows = multiply(Node(node.proto, (), inferred=(), opset=node.opset, fixed_rows=None), left, right).rows
    if rows is not None and left.rank == 1 and right.rank != 1 and rows.axis == rank_of(right) - 1:
        rows = rows.at(rows.axis - 1)
    return node.out(rows)


def _fused_matmul(node: Node) -> Value:
    if node.attribute("transBatchA", 0) or node.attribute("transBatchB", 0):
        raise UnclearError("transposes the stack of its inputs")
    left = _transposed(node.input(0)) if node.attribute("transA", 0) else node.input(0)
    right = _transposed(node.input(1)) if node.attribute("transB", 0) else node.input(1)
    return multiply(node, left, right)


def _gemm(node: Node, addend: int = 2) -> Value:
    product = _fused_matmul(node)
    value = node.find(addend)
    if value is None or product.rows is None:
        return product
    rows, dims = broadcast([Value(dims=product.dims, rows=product.rows), value])
    return node.out(rows, dims)


def _transposed(value: Value) -> Value:
    dims = dims_of(value)
    rank = len(dims)
    if rank < 2:
        return value
    dims = (*dims[:-2], dims[-1], dims[-2])
    rows = value.rows
    if rows is not None and rows.axis >= rank - 2:
        rows = rows.at(2 * rank - 3 - rows.axis)
    return Value(dims=dims, rows=rows)


def _at(left: int, right: int) -> Rule:
    """Return the rule of a product whose matrices are the inputs `left` and `right`; the others hold no rows."""

    def rule(node: Node) -> Value:
        for index, value in enumerate(node.inputs):
            if index not in (left, right) and value is not None and value.rows is not None:
                raise UnclearError("takes a scale or zero point that differs from row to row")
        return multiply(node, node.input(left), node.input(right))

    return rule


def _qgemm(node: Node) -> Value:
    values = (node.input(0), node.input(3))
    left = _transposed(values[0]) if node.attribute("transA", 0) else values[0]
    right = _transposed(values[1]) if node.attribute("transB", 0) else values[1]
    return multiply(node, left, right)


def _packed_weights(node: Node) -> Value:
    """The weights are packed: the last axis is contracted."""
    value = node.input()
    if any(other.rows is not None for other in node.present(1)):
        raise UnclearError("takes weights that differ from row to row")
    if value.rows is not None and value.rows.axis == rank_of(value) - 1:
        raise MixesError(*_SUMS)
    return node.out(value.rows, None if value.dims is None else (*value.dims[:-1], None))


def _einsum(node: Node) -> Value:
    equation = bytes(node.attribute("equation", b"")).decode(errors="replace").replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    values = node.present()
    if len(terms) != len(values) or "." in equation:
        terms, result = _without_ellipsis(terms, result, values)
    if not arrow:
        letters = sorted({letter for letter in left if letter.isalpha()})
        result = "".join(letter for letter in letters if left.count(letter) == 1)
    holders = [(term, value.rows) for term, value in zip(terms, values, strict=True) if value.rows is not None]
    if not holders:
        return node.out(None)
    letters = sorted({term[rows.axis] for term, rows in holders})
    if len(letters) > 1:
        raise MixesError(*_PAIRS)
    if result.count(letters[0]) != 1:
        raise MixesError(*_SUMS)
    _check_terms(letters[0], terms, values)
    return node.out(_same_rows([rows for _, rows in holders]).at(result.index(letters[0])))


def _same_rows(found: list[Rows]) -> Rows:
    if any(rows.outer != ONE for rows in found) and len({(rows.outer, rows.inner) for rows in found}) > 1:
        raise UnclearError("combines tensors whose rows lie in different order")
    return found[0]


def _check_terms(letter: str, terms: list[str], values: list[Value]) -> None:
    for term, value in zip(terms, values, strict=True):
        if term.count(letter) > 1:
            raise MixesError(*_PAIRS)
        if value.rows is None and letter in term:
            if value.dims is None:
                raise UnclearError("combines rows with a tensor of unknown shape")
            check_constant(value, term.index(letter) - len(term))


def _without_ellipsis(terms: list[str], result: str, values: list[Value]) -> tuple[list[str], str]:
    """Write `...` as letters of their own."""
    if len(terms) != len(values):
        raise UnclearError("has an equation that does not fit its inputs", "check the model with onnx.checker")
    spare = "0123456789"
    widths = [rank_of(value) - len(term.replace("...", "")) for term, value in zip(terms, values, strict=True)]
    if any(not 0 <= width <= len(spare) for width in widths):
        raise UnclearError("has an equation that does not fit its inputs", "check the model with onnx.checker")
    filled = [term.replace("...", spare[len(spare) - width :]) for term, width in zip(terms, widths, strict=True)]
    used = max((width for term, width in zip(terms, widths, strict=True) if "..." in term), default=0)
    return filled, result.replace("...", spare[len(spare) - used :])


RULES: dict[tuple[str, str], Rule] = {
    ("", "MatMul"): _matmul,
    ("", "Gemm"): _gemm,
    ("", "Einsum"): _einsum,
    ("", "MatMulInteger"): _at(0, 1),
    ("", "QLinearMatMul"): _at(0, 3),
    ("com.microsoft", "FusedMatMul"): _fused_matmul,
    ("com.microsoft", "TransposeMatMul"): _fused_matmul,
    ("com.microsoft", "FusedGemm"): _gemm,
    ("com.microsoft", "MatMulInteger16"): _at(0, 1),
    ("com.microsoft", "QGemm"): _qgemm,
    ("com.microsoft", "MatMulIntegerToFloat"): _at(0, 1),
    ("com.microsoft", "MatMulNBits"): _packed_weights,
    ("com.microsoft", "MatMulBnb4"): _packed_weights,
    ("com.microsoft", "MatMulFpQ4"): _packed_weights,
}
