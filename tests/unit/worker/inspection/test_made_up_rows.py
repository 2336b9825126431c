import numpy as np
import pytest

from ferry.manifest import OIP_DATATYPES
from tests import onnx_models
from worker.inspection import signature
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.made_up_rows import Kind, Plan, make_up_rows, take
from worker.inspection.plans import first_plan, settings_of_example, settings_of_plan


def plan_of(dtype: str = "float32", shape: tuple[int | str, ...] = ("N", "W", 2), **more: object) -> Plan:
    said = signature.read(onnx_models.identity(dtype, shape).graph)
    made = first_plan(said, BatchAxes({"x": 0}))
    return Plan(made.inputs, made.inner, made.sizes, **more)


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@pytest.mark.parametrize("kind", Kind)
def test_make_up_rows_when_made_twice_then_they_are_the_same_and_of_the_dtype(dtype: str, kind: Kind) -> None:
    plan = plan_of(dtype, kind=kind)
    one, other = (make_up_rows(plan, 3)["x"] for _ in range(2))
    assert one.shape == (3, 4, 2)
    assert one.dtype == plan.inputs[0].numpy_dtype
    assert np.array_equal(one, other)


def test_make_up_rows_when_they_are_varied_then_magnitudes_and_seeds_differ() -> None:
    rows = make_up_rows(plan_of(), 3)["x"]
    assert abs(rows[1]).max() > 50 * abs(rows[0]).max()
    assert abs(rows[2]).max() < abs(rows[0]).max()
    assert not np.array_equal(make_up_rows(plan_of(seed=1), 3)["x"], rows)


def test_make_up_rows_when_a_top_is_known_then_later_seeds_use_it() -> None:
    assert make_up_rows(plan_of("int64", tops={"x": 900}), 8)["x"].max() <= 1
    assert make_up_rows(plan_of("int64", tops={"x": 900}, seed=1), 8)["x"].max() > 400


def test_bytes_of_when_rows_are_made_then_that_is_their_size() -> None:
    plan = plan_of()
    assert plan.bytes_of(3) == make_up_rows(plan, 3)["x"].nbytes


def test_take_when_an_index_repeats_then_so_does_the_row() -> None:
    taken = take({"x": np.arange(6).reshape(3, 2)}, [2, 2])
    assert taken["x"].tolist() == [[4, 5], [4, 5]]


def test_settings_of_plan_when_axes_are_free_then_counts_seeds_and_sizes_vary() -> None:
    settings = list(settings_of_plan(plan_of(shape=("N", "W", "H")), {}, None))
    assert {setting.n_rows for setting in settings} == {2, 3, 8}
    shapes = {setting.source(2)["x"].shape[1:] for setting in settings}
    assert shapes == {(4, 4), (8, 8), (4, 8)}


def test_settings_of_plan_when_large_ids_run_then_neighbours_and_later_rows_have_them() -> None:
    settings = list(settings_of_plan(plan_of("int64", ("N", 3)), {"x": 900}, None))
    assert {setting.bounds["x"] for setting in settings} == {(0, 900)}
    assert settings[0].source(8)["x"].max() <= 1
    assert settings[-1].source(8)["x"].max() > 400


def test_settings_of_example_when_ids_are_given_then_they_bound_those_of_neighbours() -> None:
    (setting,) = settings_of_example({"x": np.array([[1000], [1049]])}, 2)
    assert setting.bounds == {"x": (1000, 1049)}
    assert setting.source(2)["x"].tolist() == [[1000], [1049]]
