import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import onnx_models
from worker.inspection import signature


def renamed(old: str, new: str) -> onnx.ModelProto:
    """Rename an input or output of the model with two of each."""
    proto = onnx_models.two_inputs_two_outputs()
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name == old:
            value.name = new
    for node in proto.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    return proto


REFUSED = {
    "two inputs of a name": (renamed("b", "a"), "two inputs are named 'a'; re-export"),
    "two outputs of a name": (renamed("rank", "total"), "two outputs are named 'total'"),
    "nameless output": (renamed("rank", ""), "an output has no name"),
    "unprintable name": (renamed("b", "b\x07"), "not printable"),
    "name that is too long": (renamed("b", "b" * 257), "longer than 256 characters"),
    "no inputs": (
        onnx_models.model(
            [helper.make_node("Constant", [], ["y"], value=onnx_models.constant("", np.ones(3, np.float32)))],
            [],
            [onnx_models.value("y", shape=(3,))],
        ),
        "no inputs",
    ),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_read_when_names_or_axes_cannot_be_served_then_it_says_why(
    refuses, content: onnx.ModelProto, words: str
) -> None:
    refuses(content, words)


@pytest.mark.parametrize("ir_version", [3, onnx_models.IR_VERSION])
def test_read_when_initializers_are_among_the_inputs_then_they_are_none_as_for_onnxruntime(ir_version: int) -> None:
    proto = onnx_models.initializer_among_inputs(ir_version)
    assert [value.name for value in proto.graph.input] == ["x", "bias", "shift"]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [spec.name for spec in signature.read(proto.graph).inputs]
    assert inputs == [value.name for value in session.get_inputs()] == ["x"]


@pytest.mark.parametrize("ir_version", [3, onnx_models.IR_VERSION])
def test_inspect_when_initializers_are_among_the_inputs_then_nobody_has_to_send_them(look, ir_version: int) -> None:
    manifest = look(onnx_models.initializer_among_inputs(ir_version))
    assert [(spec.name, spec.shape) for spec in manifest.inputs] == [("x", (None, 3))]
    assert manifest.notes == ()


def test_read_when_axes_are_declared_then_sizes_and_symbols_are_kept() -> None:
    said = signature.read(onnx_models.two_inputs_two_outputs().graph)
    assert [(each.name, each.dtype, each.axes) for each in said.inputs] == [
        ("a", "float32", ("N", 2)),
        ("b", "float32", ("N", 2)),
        ("k", "int64", ("N", 3)),
    ]
    assert said.has_free_axes


@pytest.mark.parametrize("size", [None, -1])
def test_read_when_an_axis_has_no_size_then_it_is_free_and_has_a_symbol_of_its_own(size: int | None) -> None:
    (x,) = signature.read(onnx_models.doubled(("N", size, 3)).graph).inputs
    assert x.axes == ("N", "x.1", 3)
    assert x.free_axes == (0, 1)


@pytest.mark.parametrize(("shape", "axes"), [(None, None), ((), ())])
def test_read_when_there_are_no_axes_then_a_scalar_differs_from_an_unknown_number(
    shape: tuple[()] | None, axes: tuple[()] | None
) -> None:
    assert signature.read(onnx_models.doubled(shape).graph).inputs[0].axes == axes


@pytest.mark.parametrize(
    ("shape", "words"), [((2, 3, 1), "has 3 axes"), ((2, 4), r"is \(2, 4\), expected \(N, 3\)"), ((2, 3), "^$")]
)
def test_why_not_when_an_array_is_compared_then_only_free_axes_take_any_size(
    shape: tuple[int, ...], words: str
) -> None:
    (x,) = signature.read(onnx_models.doubled(("N", 3)).graph).inputs
    assert re.search(words, x.why_not(np.zeros(shape, np.float32)))
