import numpy as np
import pytest

from ferry.errors import ModelRefusedError
from ferry.tensors import Array
from tests import onnx_models
from worker.inspection.outputs import Declared, believed_outputs, observed_outputs


def runs_of(*inner: tuple[int, ...]) -> list[tuple[int, list[Array]]]:
    """One run of 1 row, one of 2 and so on, each with one output of these inner sizes."""
    return [(n_rows, [np.zeros((n_rows, *sizes), np.float32)]) for n_rows, sizes in enumerate(inner, start=1)]


def test_inspect_when_inner_axes_are_free_then_they_stay_so(look) -> None:
    manifest = look(onnx_models.dynamic_inner_axis())
    assert [spec.shape for spec in (*manifest.inputs, *manifest.outputs)] == [(None, None), (None, None), (None, 1)]


def test_inspect_when_an_output_size_is_not_declared_then_the_runs_show_it(look) -> None:
    assert look(onnx_models.undeclared_output()).outputs[0].shape == (None, 6)


def test_inspect_when_the_model_cannot_be_tried_then_its_declaration_is_believed(look) -> None:
    assert look(onnx_models.doubled(("N", 2**30))).outputs[0].shape == (None, 2**30)
    manifest = look(onnx_models.raises_on_big_index(100))
    specs = [(spec.name, spec.dtype, spec.shape) for spec in (*manifest.inputs, *manifest.outputs)]
    assert specs == [("index", "int64", (None,)), ("y", "float32", (None, 2))]


@pytest.mark.parametrize(
    ("said", "may_settle", "size"), [("W", True, 5), ("W", False, None), (5, False, 5), (6, False, None)]
)
def test_observed_outputs_when_runs_agree_then_the_size_is_settled_if_nothing_else_could_change_it(
    said: int | str, may_settle: bool, size: int | None
) -> None:
    declared: list[Declared] = [("y", "float32", ["N", said])]
    (spec,) = observed_outputs(declared, runs_of((5,), (5,)), may_settle=may_settle)
    assert spec.shape == (None, size)


def test_observed_outputs_when_runs_differ_then_the_size_is_free() -> None:
    (spec,) = observed_outputs([("y", "float32", ["N", "W"])], runs_of((5,), (6,)), may_settle=True)
    assert spec.shape == (None, None)


def test_observed_outputs_when_the_number_of_axes_changes_then_it_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match="another number of axes"):
        observed_outputs([("y", "float32", [])], runs_of((5,), (5, 5)), may_settle=True)


@pytest.mark.parametrize(
    ("shape", "words"), [([], "'y' declares no shape"), ([7, None], r"'y' is \(7, any\), so it has no batch axis")]
)
def test_believed_outputs_when_no_batch_axis_is_declared_then_it_is_refused(
    shape: list[int | str | None], words: str
) -> None:
    with pytest.raises(ModelRefusedError, match=words):
        believed_outputs([("y", "float32", shape)], None)
