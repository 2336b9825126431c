import onnx
import pytest
from onnx import TensorProto

from tests import onnx_models
from tests.onnx_models import value
from worker.inspection import signature
from worker.inspection.batch_axes import candidates, inner_axes, is_batch_symbol, why_none

Shape = tuple[int | str | None, ...]


def signature_of(**shapes: Shape) -> signature.Signature:
    inputs = [value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    return signature.read(onnx.helper.make_graph([], "test", inputs, [value("y")]))


@pytest.mark.parametrize(
    ("shapes", "axes", "fixed_rows"),
    [
        ({"x": ("N", 3), "k": ("N", 2)}, {"x": 0, "k": 0}, None),
        ({"x": ("T", "N", 3)}, {"x": 1}, None),  # a conventional name goes before the first axis
        ({"x": ("T", 1, 3)}, {"x": 0}, None),
        ({"x": ("N", "T"), "state": (2, "N", 128)}, {"x": 0, "state": 1}, None),
        ({"x": (None, None), "state": (2, None, 128)}, {"x": 0, "state": 1}, None),  # nothing is named
        ({"x": ("a", 3), "k": ("b", 3)}, {"x": 0, "k": 0}, None),
        ({"x": ("?", "?")}, {"x": 0}, None),
        ({"x": (4, 3), "k": (4,)}, {"x": 0, "k": 0}, 4),
        ({"x": ("N", 3), "k": (4, 3)}, {"x": 0, "k": 0}, 4),
    ],
)
def test_candidates_when_axes_are_free_then_the_most_likely_is_first(
    shapes: dict[str, Shape], axes: dict[str, int], fixed_rows: int | None
) -> None:
    first = candidates(signature_of(**shapes))[0]
    assert (first.axes, first.fixed_rows) == (axes, fixed_rows)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"x": ("N", 3), "sr": ()}, "input 'sr' is a scalar, which has no rows; fix its value with --set sr=VALUE"),
        ({"a": (2, 3), "b": (4, 3)}, "share no batch axis ('a' (2, 3), 'b' (4, 3)); re-export"),
        ({"x": (100_000, 3)}, "share no batch axis"),
    ],
)
def test_why_none_when_there_is_no_candidate_then_the_input_and_the_remedy_are_named(
    shapes: dict[str, Shape], words: str
) -> None:
    said = signature_of(**shapes)
    assert candidates(said) == []
    assert words in why_none(said)


def test_candidates_when_a_rank_is_unknown_then_there_is_none() -> None:
    said = signature.read(onnx_models.doubled(None).graph)
    assert candidates(said) == []
    assert "'x' declares no shape" in why_none(said)


def test_inner_axes_when_all_free_axes_have_one_symbol_then_inner_ones_get_their_own() -> None:
    (x,) = signature_of(x=("?", "?", 3)).inputs
    assert inner_axes(x, 0) == ("x/?", 3)
    assert inner_axes(x, 1) == ("x/?", 3)


@pytest.mark.parametrize(("symbol", "is_one"), [("batch_size", True), ("N", True), ("seq", False), (4, False)])
def test_is_batch_symbol_when_the_name_is_conventional_then_it_is_one(symbol: str | int, is_one: bool) -> None:
    assert is_batch_symbol(symbol) is is_one
