import onnx
import pytest
from onnx import TensorProto

from ferry.manifest import OIP_DATATYPES, Manifest
from tests import onnx_models

REFUSED = {
    "bfloat16": (onnx_models.raw_identity(TensorProto.BFLOAT16), "'x' is of type bfloat16; served are .*: cast"),
    "float8": (onnx_models.raw_identity(TensorProto.FLOAT8E4M3FN), "float8e4m3fn"),
    "complex": (onnx_models.raw_identity(TensorProto.COMPLEX64), "complex64"),
    "sequence": (onnx_models.sequence_of_tensors(), r"'y' is of type seq\(tensor\(float\)\).*join its tensors to one"),
}


def dtypes(manifest: Manifest) -> list[tuple[str, str, tuple[int | None, ...]]]:
    return [(spec.name, spec.dtype, spec.shape) for spec in (*manifest.inputs, *manifest.outputs)]


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
def test_inspect_when_the_dtype_is_in_the_protocol_then_it_is_kept_on_both_sides(look, dtype: str) -> None:
    manifest = look(onnx_models.identity(dtype))
    assert dtypes(manifest) == [("x", dtype, (None, 2)), ("y", dtype, (None, 2))]
    assert manifest.notes == ()


def test_inspect_when_text_goes_in_then_strings_and_numbers_come_out(look) -> None:
    manifest = look(onnx_models.string_input())
    assert dtypes(manifest)[1:] == [("label", "int64", (None, 1)), ("echo", "string", (None, 1))]


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_inspect_when_the_dtype_is_not_served_then_it_says_which_are(
    refuses, content: onnx.ModelProto, words: str
) -> None:
    refuses(content, words)
