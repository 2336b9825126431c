from pathlib import Path

import onnxruntime
import pytest

from ferry.errors import ModelRefusedError
from ferry.manifest import ExecutionMode, FixedInput, TensorSpec
from tests import onnx_models
from tests.manifests import manifest, spec
from tests.unit.worker.conftest import XYZ, put_model
from worker.models import load_model
from worker.session_check import why_not_as_declared

X, Y = XYZ["inputs"][0], XYZ["outputs"][0]
WHOLE = ExecutionMode.WHOLE_JOB
DOUBLED = onnx_models.doubled()


def why(proto: object, **signature: object) -> str:
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return why_not_as_declared(manifest(**(XYZ | signature)), session)


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ({}, ""),
        ({"inputs": (spec("z", "float32", 3),)}, "the manifest names input 'z', the model has 'x'"),
        ({"outputs": (spec("z", "float32", 3),)}, "the manifest names output 'z', the model has 'y'"),
        ({"outputs": (Y, spec("z", "float32", 3))}, "the manifest names output 'z', the model has 'y'"),
        ({"inputs": (X, spec("z", "float32", 3))}, "the manifest names input 'z', the model has 'x'"),
        ({"inputs": (spec("x", "int64", 3),)}, "input 'x' is float32 in the model, the manifest says int64"),
        ({"outputs": (spec("y", "float64", 3),)}, "output 'y' is float32 in the model, the manifest says float64"),
        ({"inputs": (spec("x", "float32"),)}, "input 'x' has 2 axes in the model, the manifest says 1"),
        ({"outputs": (spec("y", "float32", 3, 3),)}, "output 'y' has 2 axes in the model, the manifest says 3"),
        (
            {"inputs": (spec("x", "float32", 4),)},
            "input 'x' has shape ['N', 3] in the model, the manifest says [None, 4]",
        ),
        ({"inputs": (spec("x", "float32", None),)}, ""),
        (
            {"outputs": (spec("y", "float32", 2, map_keys=("a", "b")),)},
            "output 'y' is tensor(float), the manifest says a list of maps",
        ),
    ],
)  # fmt: skip
def test_why_not_as_declared_when_the_manifest_differs_then_named_with_both(
    signature: dict[str, object], reason: str
) -> None:
    assert why(DOUBLED, **signature) == reason


def test_why_not_as_declared_when_an_input_is_not_sent_then_named() -> None:
    two = onnx_models.two_inputs_of_one_width()
    names = [each.name for each in two.graph.input]
    shape = tuple(None for _ in two.graph.input[0].type.tensor_type.shape.dim)
    first = TensorSpec(name=names[0], dtype="float32", shape=shape)
    reason = why(
        two, inputs=(first,), outputs=(TensorSpec(name=two.graph.output[0].name, dtype="float32", shape=shape),)
    )
    assert reason == f"the model needs input {names[1]!r}, the manifest names {names[0]!r}"


def test_why_not_as_declared_when_a_fixed_input_is_of_another_dtype_then_named() -> None:
    fixed = FixedInput(name="x", dtype="int64", shape=(1, 3), values=(1, 2, 3))
    made = manifest(**XYZ).model_copy(update={"inputs": (), "fixed_inputs": (fixed,)})
    session = onnxruntime.InferenceSession(DOUBLED.SerializeToString(), providers=["CPUExecutionProvider"])
    assert why_not_as_declared(made, session) == "input 'x' is float32 in the model, the manifest says int64"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ((0, 1, 2), ""),
        (("0", "1", "2"), "output 'y' is seq(map(int64,tensor(float))), the manifest has the keys ['0', '1', '2']"),
        ((), "output 'y' is a list of maps (seq(map(int64,tensor(float)))), the manifest says a tensor of float32"),
    ],
)
def test_why_not_as_declared_when_an_output_is_maps_then_their_keys_count(keys: tuple[object, ...], said: str) -> None:
    proto = onnx_models.maps()
    (x,) = proto.graph.input
    outputs = tuple(
        spec(each.name, "float32", 3, map_keys=keys)
        for each in proto.graph.output
        if each.type.HasField("sequence_type")
    )
    inner = len(x.type.tensor_type.shape.dim) - 1
    reason = why(proto, inputs=(spec(x.name, "float32", *[None] * inner),), outputs=outputs)
    assert reason == said.replace("'y'", repr(outputs[0].name))


def test_why_not_as_declared_when_the_manifest_takes_any_rank_then_only_name_and_dtype_count() -> None:
    any_rank = {"shape": (), "batch_axis": None, "has_any_rank": True}
    assert why(DOUBLED, inputs=(TensorSpec(name="x", dtype="float32", **any_rank),), mode=WHOLE) == ""
    reason = why(DOUBLED, outputs=(TensorSpec(name="y", dtype="bool", **any_rank),), mode=WHOLE)
    assert reason == "output 'y' is float32 in the model, the manifest says bool"


def test_load_model_when_the_manifest_names_a_missing_output_then_refused(tmp_path: Path) -> None:
    made = put_model(tmp_path, DOUBLED.SerializeToString(), outputs=(spec("scores", "float32", 3),))
    with pytest.raises(ModelRefusedError, match="toy:1: the manifest names output 'scores', the model has 'y'"):
        load_model(tmp_path / "toy" / "1", made, threads=1)
