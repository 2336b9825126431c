import pytest
from onnx import TensorProto, helper

from ferry.errors import InvalidInputError
from tests.onnx_models import value
from worker.inspection import signature
from worker.inspection.fixed_inputs import fix_inputs

SIGNATURE = signature.read(
    helper.make_graph(
        [],
        "test",
        [
            value("x", TensorProto.FLOAT, ("N", 3)),
            value("sr", TensorProto.INT64, ()),
            value("scales", TensorProto.FLOAT, (2,)),
            value("small", TensorProto.UINT8, (1,)),
            value("flag", TensorProto.BOOL, ()),
            value("word", TensorProto.STRING, ()),
            value("any", TensorProto.FLOAT, None),
        ],
        [value("y")],
    )
)


@pytest.mark.parametrize(
    ("text", "shape", "values"),
    [
        ("sr=16000", (), (16000,)),
        ("scales=0.5, 2", (2,), (0.5, 2.0)),
        ("small=7", (1,), (7,)),
        ("flag=True", (), (True,)),
        ("word=a=b, c", (), ("a=b, c",)),
        ("any=1.5", (), (1.5,)),
        ("any=1,2,3", (3,), (1.0, 2.0, 3.0)),
    ],
)
def test_fix_inputs_when_a_value_fits_then_the_input_leaves_the_signature(
    text: str, shape: tuple[int, ...], values: tuple[object, ...]
) -> None:
    rest, (fixed,) = fix_inputs(SIGNATURE, [text])
    assert (fixed.shape, fixed.values) == (shape, values)
    assert fixed.name not in [each.name for each in rest.inputs]
    assert len(rest.inputs) == len(SIGNATURE.inputs) - 1


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["sr"], "expected NAME=VALUE"),
        (["rate=1"], "name of an input; there are x, sr"),
        (["sr=1", "sr=2"], "set twice"),
        (["sr=fast"], "'fast' is no int64"),
        (["sr=1.5"], "'1.5' is no int64"),
        (["sr=1,2"], "expected one value, got 2"),
        (["scales=1"], "expected 2 values, got 1"),
        (["small=256"], r"256 does not fit into uint8 \(0 to 255\)"),
        (["sr=9223372036854775808"], "does not fit into int64"),
        (["sr=1" + "0" * 400], "does not fit into int64"),
        (["scales=1,nan"], "nan does not fit into float32"),
        (["scales=1,inf"], "inf does not fit into float32"),
        (["flag=maybe"], "no bool; write true or false"),
        (["x=1"], "has 2 axes"),
    ],
)
def test_fix_inputs_when_a_value_does_not_fit_then_it_says_what_would(texts: list[str], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        fix_inputs(SIGNATURE, texts)


def test_fix_inputs_when_nothing_would_be_left_then_refused() -> None:
    only = signature.Signature(SIGNATURE.inputs[1:2])
    with pytest.raises(InvalidInputError, match="nothing to send"):
        fix_inputs(only, ["sr=1"])
