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
    "scalar input": (onnx_models.scalar_input(), "'factor' is a scalar, so it has no batch axis; re-export"),
    "unknown rank": (onnx_models.doubled(None), "declares no shape"),
    "different batches": (onnx_models.different_fixed_batches(), "'a' at 2, 'b' at 4"),
    "huge batch": (onnx_models.fixed_batch(100_000), "fixed at 100000, possible are 1 to 65536"),
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


def test_read_when_inner_axes_are_sizes_then_none_is_free() -> None:
    said = signature.read(onnx_models.two_inputs_two_outputs().graph)
    assert [spec.shape for spec in said.inputs] == [(None, 2), (None, 2), (None, 3)]
    assert (said.fixed_rows, said.has_free_axes) == (None, False)


def test_read_when_two_inputs_share_a_symbol_then_their_axes_do() -> None:
    said = signature.read(onnx_models.two_inputs_of_one_width().graph)
    assert said.axes == (("W",), ("W",))
    assert said.has_free_axes


def test_read_when_every_free_axis_has_one_symbol_then_the_batch_axis_is_told_apart(look) -> None:
    assert signature.read(onnx_models.doubled(("?", "?")).graph).axes == (("x/?",),)
    manifest = look(onnx_models.doubled(("?", "?")))
    assert (manifest.batching.max_rows, manifest.batching.fixed_rows) == (None, None)
    assert manifest.notes == ()


@pytest.mark.parametrize("size", [None, -1])
def test_read_when_an_axis_has_no_size_then_it_is_free(size: int | None) -> None:
    said = signature.read(onnx_models.doubled(("N", size, 3)).graph)
    assert said.inputs[0].shape == (None, None, 3)
    assert said.axes == (("x.1", 3),)


def test_read_when_the_batch_axis_is_fixed_then_its_size_is_kept() -> None:
    assert signature.read(onnx_models.fixed_batch(4).graph).fixed_rows == 4
