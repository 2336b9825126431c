"""Each gate refuses a model tampered with in its own way; the honest model passes them all."""

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferry.errors import ModelRefusedError
from training.export import save_onnx
from training.networks import build
from training.verify import verify

# A multiple of the served batch of 64, so that every batch of that size is full.
N_ROWS = 192


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The converted model's bytes, rows and what Keras says of them."""
    keras.utils.set_random_seed(3)
    model = build("mlp")
    path = tmp_path_factory.mktemp("honest") / "model.onnx"
    save_onnx(model, path)
    x = np.random.default_rng(4).random((N_ROWS, 28, 28), np.float32)
    return path.read_bytes(), x, model.predict(x, verbose=0)


@pytest.fixture
def refusal(honest, tmp_path):
    """Tamper with the model, have it refused, return the reason."""

    def refuse(tamper, *, change_expected=lambda expected: expected):
        proto = onnx.load_from_string(honest[0])
        tamper(proto)
        onnx.save(proto, tmp_path / "model.onnx")
        with pytest.raises(ModelRefusedError) as caught:
            verify(tmp_path / "model.onnx", honest[1], expected=change_expected(honest[2]))
        return caught.value.detail

    return refuse


def replace_weight(proto, index, change):
    """Replace the initializer that is `index`th in size, the largest being the first."""
    tensor = sorted(proto.graph.initializer, key=lambda one: -int(np.prod(one.dims)))[index]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))


def append(proto, *nodes):
    """Put nodes behind the output: the first reads `inner`, the last writes `probabilities`."""
    for node in proto.graph.node:
        node.output[:] = ["inner" if name == "probabilities" else name for name in node.output]
    proto.graph.node.extend(nodes)


def test_verify_when_the_model_is_honest_then_it_passes_and_measures(honest, tmp_path):
    (tmp_path / "model.onnx").write_bytes(honest[0])

    agreement = verify(tmp_path / "model.onnx", honest[1], expected=honest[2])

    assert agreement.n_rows == N_ROWS
    assert agreement.keras_diff <= 1e-5
    assert agreement.batch_diff <= 1e-6


def test_verify_when_the_file_is_no_model_then_the_checker_refuses(honest, tmp_path):
    (tmp_path / "model.onnx").write_bytes(honest[0][:1000])

    with pytest.raises(ModelRefusedError, match=r"^gate 'onnx.checker' failed: "):
        verify(tmp_path / "model.onnx", honest[1], expected=honest[2])


def test_verify_when_an_operator_was_not_converted_then_the_checker_refuses(refusal):
    reason = refusal(lambda proto: append(proto, helper.make_node("Erfc", ["inner"], ["probabilities"])))

    assert reason.startswith("gate 'onnx.checker' failed")
    assert "Erfc" in reason


def test_verify_when_an_operator_has_no_kernel_then_loading_refuses(refusal):
    def tamper(proto):
        proto.opset_import.append(helper.make_opsetid("elsewhere", 1))
        append(proto, helper.make_node("Magic", ["inner"], ["probabilities"], domain="elsewhere"))

    assert refusal(tamper).startswith("gate 'onnxruntime load' failed")


@pytest.mark.parametrize("axis", ["fixed", "other"])
def test_verify_when_the_batch_axis_is_not_the_named_one_then_the_signature_refuses(refusal, axis):
    def tamper(proto):
        dim = proto.graph.input[0].type.tensor_type.shape.dim[0]
        if axis == "fixed":
            dim.dim_value = 64
        else:
            dim.dim_param = "unk__20"

    reason = refusal(tamper)

    assert reason.startswith("gate 'signature' failed")
    assert "not [('x', 'tensor(float)', ['N', 28, 28])]" in reason


def test_verify_when_the_output_has_another_name_then_the_signature_refuses(refusal):
    def tamper(proto):
        proto.graph.node.append(helper.make_node("Identity", ["probabilities"], ["Identity:0"]))
        proto.graph.output[0].name = "Identity:0"

    reason = refusal(tamper)

    assert reason.startswith("gate 'signature' failed")
    assert "Identity:0" in reason


def test_verify_when_a_weight_changed_then_parity_refuses_with_the_figures(refusal):
    reason = refusal(lambda proto: replace_weight(proto, 0, lambda weight: weight * np.float32(1.01)))

    assert reason.startswith("gate 'parity' failed: onnxruntime and Keras differ by ")
    assert reason.endswith(f"on {N_ROWS} rows, limit 1e-05")


def test_verify_when_a_weight_is_nan_then_parity_refuses(refusal):
    reason = refusal(lambda proto: replace_weight(proto, 0, lambda weight: weight * np.float32("nan")))

    assert reason.startswith("gate 'parity' failed: onnxruntime and Keras differ by nan")


def test_verify_when_only_the_chosen_class_differs_then_argmax_refuses(refusal):
    # Weights so small that all classes have 0.1 within 1e-6, and Keras said the mirror image.
    reason = refusal(
        lambda proto: replace_weight(proto, 1, lambda weight: weight * np.float32(3e-6)),
        change_expected=lambda expected: (
            np.full_like(expected, 0.1) + np.eye(10, dtype=np.float32)[0] * np.float32(4e-6)
        ),
    )

    assert reason.startswith("gate 'argmax' failed: onnxruntime and Keras choose another class on ")
    assert reason.endswith(f"of {N_ROWS} rows, limit 0")


def test_verify_when_the_batch_size_is_baked_in_then_running_refuses_with_the_size(refusal):
    def tamper(proto):
        # Reshape to (64, 10), computed so that no shape inference sees it.
        for name, value in (("zero", [0]), ("baked", [64, 10])):
            proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        append(
            proto,
            helper.make_node("Shape", ["inner"], ["shape"]),
            helper.make_node("Mul", ["shape", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "baked"], ["target"]),
            helper.make_node("Reshape", ["inner", "target"], ["probabilities"]),
        )

    reason = refusal(tamper)

    assert reason.startswith("gate 'run' failed: a batch of 1 rows raised: ")


def test_verify_when_the_output_has_another_shape_then_running_refuses(refusal):
    def tamper(proto):
        # Of 64 rows the first: the file still says (N, 10).
        for name, value in (("first", [0]), ("behind", [1])):
            proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        append(proto, helper.make_node("Slice", ["inner", "first", "behind"], ["probabilities"]))

    assert refusal(tamper) == "gate 'run' failed: a batch of 64 rows gave shape (1, 10)"


def test_verify_when_rows_depend_on_their_batch_then_batch_sizes_refuse_with_the_figures(refusal):
    def tamper(proto):
        # Adds (rows - 64) / 10,000 to every probability: right only in the batches the worker makes.
        constants = {"first": np.array(0, np.int64), "served": np.float32(64), "scale": np.float32(1e-4)}
        proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
        append(
            proto,
            helper.make_node("Shape", ["inner"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["rows_float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["rows_float", "served"], ["excess"]),
            helper.make_node("Mul", ["excess", "scale"], ["error"]),
            helper.make_node("Add", ["inner", "error"], ["probabilities"]),
        )

    reason = refusal(tamper)

    assert reason.startswith("gate 'batch sizes' failed: batches of 1 and of 64 rows differ by 6.3")
    assert reason.endswith("limit 1e-06")
