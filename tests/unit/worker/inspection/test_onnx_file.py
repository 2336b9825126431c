import onnx
import pytest
from onnx import TensorProto, helper

from tests import onnx_models
from worker.inspection import onnx_file

REFUSED = {
    "text": (b"this is no model at all", "damaged or is no ONNX model"),
    "damaged": (onnx_models.corrupted(), "export or download it again"),
    "other protobuf": (b"\x08\x08", "holds no graph"),
    "custom operator": (onnx_models.custom_operator(), "acme.ops:Fancy is a custom one.*standard"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_read_when_it_is_damaged_or_needs_a_library_then_it_says_why(
    refuses, content: onnx.ModelProto | bytes, words: str
) -> None:
    refuses(content, words)


def test_refuse_foreign_operators_when_the_custom_operator_is_a_local_function_then_it_is_ours() -> None:
    proto = onnx_models.custom_operator()
    body = [helper.make_node("Identity", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", onnx_models.OPSET)]
    proto.functions.append(helper.make_function("acme.ops", "Fancy", ["a"], ["b"], body, opsets))
    onnx_file.refuse_foreign_operators(proto)


def test_is_value_sized_when_a_branch_holds_the_operator_then_it_is_found() -> None:
    proto = onnx_models.doubled()
    assert not onnx_file.is_value_sized(proto)
    branch = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["v"])], "branch", [], [onnx_models.value("v", TensorProto.INT64)]
    )
    # An operator that is not value-sized itself, so that the one inside must be seen.
    proto.graph.node.append(helper.make_node("SequenceMap", ["x"], ["v"], body=branch))
    assert onnx_file.is_value_sized(proto)


def test_versions_when_a_file_names_several_opsets_then_all_are_told() -> None:
    versions = onnx_file.versions(onnx_models.string_input())
    assert list(versions) == ["onnxruntime", "onnx_ir", "opset ai.onnx", "opset ai.onnx.ml"]
    assert versions["onnx_ir"] == str(onnx_models.IR_VERSION)
    assert versions["opset ai.onnx"] == str(onnx_models.OPSET)
