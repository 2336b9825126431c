import numpy as np
import pytest

from ferry.manifest import TensorSpec
from tests import onnx_models
from worker.inspection.layout import Run
from worker.inspection.outputs import Declared, declared_batch_axis, describe_outputs


def runs_of(*shapes: tuple[int, ...]) -> list[Run]:
    """Runs of 1, 2, 3 ... rows with one output of these shapes."""
    return [(n_rows, [np.zeros(shape, np.float32)]) for n_rows, shape in enumerate(shapes, start=1)]


def described(
    shape: tuple[int | str | None, ...],
    runs: list[Run],
    batch_axis: int | None = 0,
    *,
    is_batched: bool = True,
    has_free_axes: bool = False,
    is_value_sized: bool = False,
) -> TensorSpec:
    (spec,) = describe_outputs(
        [Declared("y", "float32", shape)], runs, [batch_axis],
        is_batched=is_batched, has_free_axes=has_free_axes, is_value_sized=is_value_sized,
    )  # fmt: skip
    return spec


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
    ("said", "is_open", "size"), [("W", False, 5), ("W", True, None), (5, True, 5), (6, True, None)]
)
@pytest.mark.parametrize("why", ["has_free_axes", "is_value_sized"])
def test_describe_outputs_when_runs_agree_then_the_size_is_settled_if_nothing_else_could_change_it(
    said: int | str, is_open: bool, size: int | None, why: str
) -> None:
    spec = described(("N", said), runs_of((1, 5), (2, 5)), **{why: is_open})
    assert (spec.shape, spec.batch_axis) == ((None, size), 0)


def test_describe_outputs_when_there_was_one_run_then_only_declared_sizes_are_settled() -> None:
    assert described(("N", 3, "W"), runs_of((1, 3, 5))).shape == (None, 3, None)


def test_inspect_when_values_decide_on_a_size_then_it_is_free(look) -> None:
    manifest = look(onnx_models.fills_a_square())
    assert [(spec.name, spec.shape) for spec in manifest.outputs] == [("y", (None, None))]


@pytest.mark.parametrize(("said", "size"), [("W", None), (5, 5), (6, None)])
def test_describe_outputs_when_a_job_is_one_run_then_only_a_declared_size_that_was_seen_is_settled(
    said: int | str, size: int | None
) -> None:
    # An input may hold the axes of a reduction or the target of a reshape.
    assert described(("N", said), runs_of((1, 5), (2, 5)), is_batched=False).shape == (None, size)


def test_describe_outputs_when_a_job_is_one_run_and_its_rank_is_not_the_declared_one_then_any_rank() -> None:
    assert described((3,), runs_of((3, 5)), None, is_batched=False).has_any_rank


def test_describe_outputs_when_rows_lie_elsewhere_then_that_axis_is_free() -> None:
    spec = described((2, "N", 3), runs_of((2, 1, 3), (2, 2, 3)), 1)
    assert (spec.shape, spec.batch_axis) == ((2, None, 3), 1)


def test_describe_outputs_when_the_number_of_rows_is_fixed_then_batched_rows_are_free_and_whole_jobs_are_not() -> None:
    assert described((4, 3), [(4, [np.zeros((4, 3))])]).shape == (None, 3)
    assert described((4, 3), [(4, [np.zeros((4, 3))])], None, is_batched=False).shape == (4, 3)


@pytest.mark.parametrize(
    ("shape", "runs", "is_value_sized"),
    [
        ((), runs_of((1, 5), (2, 5)), True),  # values may change what no file declares
        ((), runs_of((1,), (2, 2)), False),  # it did change
        ((), [], False),  # neither declared nor seen
    ],
)
def test_describe_outputs_when_the_number_of_axes_is_not_known_then_any_is_said(
    shape: tuple[int, ...], runs: list[Run], is_value_sized: bool
) -> None:
    spec = described(shape, runs, is_batched=False, is_value_sized=is_value_sized)
    assert (spec.has_any_rank, spec.shape, spec.batch_axis) == (True, (), None)


def test_describe_outputs_when_a_scalar_comes_then_it_has_no_axes() -> None:
    spec = described((), runs_of((), ()), None, is_batched=False)
    assert (spec.has_any_rank, spec.shape, spec.batch_axis) == (False, (), None)


@pytest.mark.parametrize(
    ("shape", "fixed_rows", "axis"),
    [(("N", 3), None, 0), ((None,), None, 0), ((4, 3), 4, 0), ((4, 3), None, None), ((), None, None), ((1, 3), 1, 0)],
)
def test_declared_batch_axis_when_the_first_axis_may_hold_rows_then_it_is_that(
    shape: tuple[int | str | None, ...], fixed_rows: int | None, axis: int | None
) -> None:
    assert declared_batch_axis(Declared("y", "float32", shape), fixed_rows) == axis
