"""Jobs that are one run each: their arrays are read, carried and answered in the model's own layout, of any shape."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from api.json_arrays import read as read_fast
from ferry.errors import InvalidInputError
from ferry.json_outputs import labels_of_job, tensor_ready
from ferry.json_tensors import Rows, read_flat_input, read_inputs
from ferry.manifest import OIP_DATATYPES, ExecutionMode, Manifest, TensorSpec
from ferry.oip import infer_response, read_infer_request, read_raw_request
from ferry.tensors import Array, codec_of, model_layout
from tests.manifests import manifest, spec


def tensor(name: str, shape: tuple[int | None, ...], dtype: str = "float32", **more: Any) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, **{"batch_axis": None} | more)


def whole(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] | None = None, **more: Any) -> Manifest:
    return manifest(inputs=inputs, outputs=outputs or inputs, mode=ExecutionMode.WHOLE_JOB, **more)


BOXES = whole(tensor("boxes", (None, 3)), tensor("threshold", ()))
STATE = whole(
    tensor("x", (None, 3), batch_axis=0), tensor("h", (2, None, 4), batch_axis=1), outputs=(spec("y", "float32", 2),)
)


def fault_of(signature: Manifest, value: Any) -> tuple[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        read_inputs(signature, value)
    (fault,) = caught.value.faults
    return fault.pointer, fault.detail


def carried(signature: Manifest, arrays: list[Array]) -> list[Array]:
    codec = codec_of(signature.inputs, is_batched=signature.is_batched)
    return codec.unpack(codec.pack(arrays))


def shown(signature: Manifest, rows: Rows) -> dict[str, Any]:
    """Return the inputs as the answer of a job shows them, after they went through the queue."""
    arrays = carried(signature, rows.arrays)
    answer = {
        each.name: tensor_ready(each, array, single=rows.single, is_batched=signature.is_batched)
        for each, array in zip(signature.inputs, arrays, strict=True)
    }
    return orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


@st.composite
def any_array(draw: st.DrawFn, dtype: str, *, min_side: int = 0) -> Array:
    """Any finite values of a dtype, of 0 to 4 axes."""
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=min_side, max_side=4))
    if dtype == "string":
        size = int(np.prod(shape))
        texts = draw(st.lists(st.text(), min_size=size, max_size=size))
        made = np.empty(shape, dtype=object)
        made.reshape(-1)[:] = texts
        return made
    return draw(
        npst.arrays(dtype, shape, elements=npst.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False))
    )


@st.composite
def spec_for(draw: st.DrawFn, array: Array, dtype: str) -> TensorSpec:
    """A spec that takes the array: each axis fixed or, where a nested list shows its size, free."""
    first_empty = next((axis for axis, size in enumerate(array.shape) if size == 0), array.ndim)
    shape = tuple(
        None if axis <= first_empty and draw(st.booleans()) else size for axis, size in enumerate(array.shape)
    )
    return tensor("x", shape, dtype)


def assert_same(one: Array, other: Array) -> None:
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    assert one.tolist() == other.tolist()


# --- round trips


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_whole_job_when_sent_as_json_then_read_carried_and_shown_as_it_was(dtype: str, data: st.DataObject) -> None:
    array = data.draw(any_array(dtype))
    signature = whole(data.draw(spec_for(array, dtype)))
    sent = orjson.dumps({"x": array.tolist()}, option=orjson.OPT_SERIALIZE_NUMPY)
    try:
        parsed = read_fast(sent) if data.draw(st.booleans()) else orjson.loads(sent)
    except ValueError:  # left to the other parser, as the API leaves it
        parsed = orjson.loads(sent)
    rows = read_inputs(signature, parsed)
    assert (rows.n_rows, rows.single) == (1, False)
    assert_same(carried(signature, rows.arrays)[0], array)
    seen = shown(signature, rows)["x"]
    assert sizes_of(seen) == sizes_of(array.tolist())
    assert_same(np.array(seen, dtype=array.dtype).reshape(array.shape), array)


def sizes_of(value: Any) -> list[int]:
    return [len(value), *(sizes_of(value[0]) if value else [])] if isinstance(value, list) else []


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@settings(deadline=None, max_examples=40)
@given(data=st.data(), is_binary=st.booleans(), has_any_rank=st.booleans())
def test_whole_job_when_sent_by_v2_then_answered_with_the_same_tensor(
    dtype: str, data: st.DataObject, is_binary: bool, has_any_rank: bool
) -> None:
    array = data.draw(any_array(dtype))
    free = tensor("x", () if has_any_rank else (None,) * array.ndim, dtype, has_any_rank=has_any_rank)
    signature = whole(free)
    asked: dict[str, Any] = {"name": "x", "shape": list(array.shape), "datatype": OIP_DATATYPES[dtype]}
    tail = b""
    if is_binary:
        (_, (tail,)) = infer_response(signature, read_infer_request(signature, answer_of(array, dtype, True)), [array])
        asked["parameters"] = {"binary_data_size": len(tail)}
    else:
        asked["data"] = orjson.loads(orjson.dumps(array.reshape(-1).tolist()))
    request = read_infer_request(signature, {"inputs": [asked]}, tail)
    assert (request.rows.n_rows, request.rows.single) == (1, False)
    (read,) = carried(signature, request.rows.arrays)
    assert_same(read, array)
    response, _ = infer_response(signature, request, [read])
    (output,) = orjson.loads(orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY))["outputs"]
    numbers = output.pop("data")
    assert output == {"name": "x", "shape": list(array.shape), "datatype": OIP_DATATYPES[dtype]}
    assert_same(np.array(numbers, dtype=array.dtype).reshape(array.shape), array)


def answer_of(array: Array, dtype: str, is_binary: bool) -> dict[str, Any]:
    """A request whose only purpose is to ask for an output as raw bytes."""
    asked = {"name": "x", "shape": list(array.shape), "datatype": OIP_DATATYPES[dtype], "data": array.tolist()}
    return {"inputs": [asked], "outputs": [{"name": "x", "parameters": {"binary_data": is_binary}}]}


@settings(deadline=None, max_examples=100)
@given(data=st.data(), single=st.booleans())
def test_rows_when_the_model_has_its_batch_axis_elsewhere_then_sent_and_shown_in_its_own_layout(
    data: st.DataObject, single: bool
) -> None:
    rank, n_rows = data.draw(st.integers(1, 4)), 1 if single else data.draw(st.integers(1, 4))
    axis = data.draw(st.integers(0, rank - 1))
    shape = tuple(n_rows if place == axis else data.draw(st.integers(1, 3)) for place in range(rank))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    free = tensor("x", tuple(None if place == axis else size for place, size in enumerate(shape)), batch_axis=axis)
    sent = (array.squeeze(axis) if single else array).tolist()
    for signature in (manifest(inputs=(free,), outputs=(free,)), whole(free)):
        rows = read_inputs(signature, {"x": sent})
        assert (rows.n_rows, rows.single) == (n_rows if signature.is_batched else 1, single)
        (read,) = carried(signature, rows.arrays)
        assert_same(model_layout(free, read) if signature.is_batched else read, array)
        assert shown(signature, rows) == {"x": sent}
        asked = {"name": "x", "shape": list(shape), "datatype": "FP32", "data": array.ravel().tolist()}
        request = read_infer_request(signature, {"inputs": [asked]})
        assert_same(request.rows.arrays[0], read)
        response, _ = infer_response(signature, request, [read])
        assert response["outputs"][0]["shape"] == list(shape)
        assert response["outputs"][0]["data"].tolist() == array.ravel().tolist()


# --- what is taken


def test_read_inputs_when_first_axes_differ_then_one_job_all_the_same() -> None:
    rows = read_inputs(whole(tensor("a", (None, 2)), tensor("b", (None,))), {"a": [[1, 2]], "b": [1, 2, 3]})
    assert (rows.n_rows, [array.shape for array in rows.arrays]) == (1, [(1, 2), (3,)])


def test_read_inputs_when_a_tensor_has_no_axis_then_it_is_a_bare_number() -> None:
    rows = read_inputs(BOXES, {"boxes": [[0, 0, 1], [1, 1, 2]], "threshold": 0.5})
    assert [array.shape for array in rows.arrays] == [(2, 3), ()]
    assert rows.arrays[1].item() == 0.5


def test_read_inputs_when_boxes_are_none_then_an_empty_array_of_their_width() -> None:
    assert read_inputs(BOXES, {"boxes": [], "threshold": 0}).arrays[0].shape == (0, 3)


def test_read_inputs_when_a_whole_job_has_more_rows_than_a_job_may_then_taken() -> None:
    signature = whole(spec("x", "float32", 1), max_job_rows=2)
    assert read_inputs(signature, {"x": [[0.0]] * 5}).arrays[0].shape == (5, 1)


@pytest.mark.parametrize("value", [[[[1.0]]], [], 7, [[1, 2], [3, 4]]])
def test_read_inputs_when_any_number_of_axes_is_taken_then_as_nested(value: Any) -> None:
    signature = whole(tensor("x", (), has_any_rank=True))
    (array,) = read_inputs(signature, {"x": value}).arrays
    assert array.tolist() == value


def test_read_inputs_when_every_input_is_one_axis_short_then_one_row_with_the_axis_where_it_lies() -> None:
    rows = read_inputs(STATE, {"x": [1, 2, 3], "h": [[0] * 4] * 2})
    assert (rows.n_rows, rows.single) == (1, True)
    assert [array.shape for array in rows.arrays] == [(1, 3), (2, 1, 4)]


# --- what is refused, and how it is said


@pytest.mark.parametrize(
    ("signature", "value", "pointer", "detail"),
    [
        (BOXES, {"boxes": [[1, 2]], "threshold": 0}, "#/input/boxes", "axis 1 has 2 entries, expected 3 (any, 3)"),
        (BOXES, {"boxes": [1, 2, 3], "threshold": 0}, "#/input/boxes", "expected 2 axes (any, 3), got 1"),
        (
            BOXES,
            {"boxes": [], "threshold": [0.5]},
            "#/input/threshold",
            "expected one float32 without a list, got 1 axes",
        ),
        (
            BOXES,
            {"boxes": [], "threshold": "a"},
            "#/input/threshold",
            "expected a number (float32), got the string 'a'",
        ),
        (BOXES, {"boxes": [], "threshold": None}, "#/input/threshold", "input 'threshold' has a missing value"),
        (BOXES, {"boxes": [[1, 2, 3], [1]], "threshold": 0}, "#/input/boxes", "ragged: lists on axis 1"),
        (STATE, {"x": [[1, 2, 3]], "h": [[0] * 4] * 2}, "#/input", "some inputs have the batch axis"),
        (
            STATE,
            {"x": [[1, 2, 3]], "h": [[[0] * 5], [[0] * 5]]},
            "#/input/h",
            "axis 2 has 5 entries, expected 4 (2, rows, 4)",
        ),
        (STATE, {"x": 1, "h": 1}, "#/input/x", "expected 2 axes (rows, 3), or 1 for a single row, got 0"),
        (
            whole(tensor("x", (None, None))),
            {"x": []},
            "#/input/x",
            "expected 2 axes (any, any), got 1; a list that is empty does not say the sizes of the axes in it",
        ),
        (
            whole(spec("x", "float32", 2, range=(0, 1))),
            {"x": [2, 0]},
            "#/input/x",
            "2 is above 1: 'x' takes values from 0 to 1",
        ),
        (whole(tensor("x", (4, 3), batch_axis=0)), {"x": [1, 2, 3]}, "#/input/x", "expected 2 axes (4, 3), got 1"),
    ],
)
def test_read_inputs_when_a_whole_job_does_not_fit_then_pointer_expected_shape_and_what_came(
    signature: Manifest, value: Any, pointer: str, detail: str
) -> None:
    said = fault_of(signature, value)
    assert said[0] == pointer
    assert said[1].startswith(detail)


def test_read_inputs_when_lists_nest_deeper_than_a_tensor_can_then_refused() -> None:
    deep: Any = 1
    for _ in range(65):
        deep = [deep]
    assert fault_of(whole(tensor("x", (), has_any_rank=True)), {"x": deep}) == (
        "#/input/x", '65 axes: a tensor has up to 64; toy:1 takes {"x": [0.0, ...]} or [0.0, ...]',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "detail"),
    [
        ([2, 4], "expected [-1, 3] (-1 is any size), got [2, 4]"),
        ([3], "expected [-1, 3] (-1 is any size), got [3]"),
    ],
)
def test_v2_when_a_shape_does_not_fit_then_expected_and_what_came(shape: list[int], detail: str) -> None:
    asked = {"name": "boxes", "shape": shape, "datatype": "FP32", "data": []}
    with pytest.raises(InvalidInputError) as caught:
        read_infer_request(BOXES, {"inputs": [asked]})
    assert (caught.value.faults[0].pointer, caught.value.detail) == ("#/inputs/0/shape", detail)


@pytest.mark.parametrize("shape", [[1] * 65, [0, 2**31, 2**31, 2**31], [-1], "x", None])
def test_v2_when_no_array_has_that_shape_then_refused(shape: Any) -> None:
    asked = {"name": "x", "shape": shape, "datatype": "FP32", "data": []}
    with pytest.raises(InvalidInputError) as caught:
        read_infer_request(whole(tensor("x", (), has_any_rank=True)), {"inputs": [asked]})
    assert caught.value.faults[0].pointer == "#/inputs/0/shape"


@pytest.mark.parametrize("is_batched", [True, False])
@pytest.mark.parametrize("size", [2**20, 2**31])
def test_v2_when_a_shape_is_far_beyond_its_bytes_then_refused(size: int, is_batched: bool) -> None:
    free = tensor("x", (None, None, None), batch_axis=0)
    signature = manifest(inputs=(free,)) if is_batched else whole(free)
    asked = {"name": "x", "shape": [size] * 3, "datatype": "FP32"}
    for item, tail in ((asked | {"data": [1]}, b""), (asked | {"parameters": {"binary_data_size": 4}}, bytes(4))):
        with pytest.raises(InvalidInputError):
            read_infer_request(signature, {"inputs": [item]}, tail)


@pytest.mark.parametrize("data", [1.5, [1.5]])
def test_v2_when_a_tensor_has_no_axis_then_its_one_element_with_or_without_a_list(data: Any) -> None:
    asked = {"name": "x", "shape": [], "datatype": "FP32", "data": data}
    (array,) = read_infer_request(whole(tensor("x", ())), {"inputs": [asked]}).rows.arrays
    assert (array.shape, array.item()) == ((), 1.5)


# --- a raw body, and /predict


@pytest.mark.parametrize(
    ("signature", "shape"),
    [
        (whole(tensor("x", (2, 3))), (2, 3)),
        (whole(tensor("x", (2, None, 3), batch_axis=1)), (2, 1, 3)),
        (whole(tensor("x", (6,))), (6,)),
        (manifest(inputs=(tensor("x", (2, None, 3), batch_axis=1),)), (1, 2, 3)),
    ],
)
def test_raw_request_when_the_shape_is_known_then_that_tensor(signature: Manifest, shape: tuple[int, ...]) -> None:
    numbers = np.arange(6, dtype=np.float32)
    rows = read_raw_request(signature, numbers.tobytes()).rows
    assert rows.n_rows == 1
    assert_same(rows.arrays[0], numbers.reshape(shape))


@pytest.mark.parametrize("free", [tensor("x", (None, 3)), tensor("x", (), has_any_rank=True)])
def test_raw_request_when_the_shape_is_not_known_then_json_is_needed(free: TensorSpec) -> None:
    with pytest.raises(InvalidInputError, match="needs a request with JSON"):
        read_raw_request(whole(free), bytes(12))


@pytest.mark.parametrize("value", [[0, 1, 2, 3, 4, 5], [[0, 1, 2], [3, 4, 5]]])
@pytest.mark.parametrize(
    ("taken", "shape"), [(tensor("x", (2, 3)), (2, 3)), (tensor("x", (2, None, 3), batch_axis=1), (2, 1, 3))]
)
def test_read_flat_input_when_a_job_is_one_run_then_nested_or_flat(
    taken: TensorSpec, shape: tuple[int, ...], value: Any
) -> None:
    (array,) = read_flat_input(whole(taken), value, "#/x").arrays
    assert (array.shape, array.ravel().tolist()) == (shape, [0, 1, 2, 3, 4, 5])


# --- labels


def labelled(*shape: int | None, batch_axis: int | None = None) -> Manifest:
    scores = tensor("scores", shape, batch_axis=batch_axis)
    made = whole(tensor("x", (3,)), outputs=(tensor("loss", ()), scores), labels=("a", "b", "c"))
    return Manifest(**made.model_dump() | {"labels_of": "scores"})


@pytest.mark.parametrize(
    ("signature", "shape", "single", "labels"),
    [
        (labelled(3), (3,), False, "c"),
        (labelled(None, 3), (2, 3), False, ["c", "c"]),
        (labelled(None, None), (2, 3), False, ["c", "c"]),
        (labelled(None, 3, batch_axis=0), (1, 3), True, "c"),
        (labelled(None, 3, batch_axis=0), (2, 3), True, ["c", "c"]),
        (labelled(None, None, 3, batch_axis=1), (2, 1, 3), True, ["c", "c"]),
        (labelled(None, None, 3), (2, 2, 3), False, [["c", "c"], ["c", "c"]]),
        (labelled(None, 3), (0, 3), False, []),
        (labelled(None, None), (2, 2), False, None),
        (labelled(3, None, batch_axis=1), (3, 3), False, None),
        (labelled(None, None, None), (1, 3, 3), False, None),
        (labelled(), (), False, None),
    ],
)  # fmt: skip
def test_labels_when_a_job_is_one_run_then_only_for_a_last_axis_of_classes(
    signature: Manifest, shape: tuple[int, ...], single: bool, labels: Any
) -> None:
    scores = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert labels_of_job(signature, [np.float32(0).reshape(()), scores], single=single) == labels


def test_labels_when_jobs_are_batched_then_of_the_output_that_has_the_scores() -> None:
    made = manifest(outputs=(spec("other", "float32", 2), spec("scores", "float32", 2)), labels=("no", "yes"))
    made = Manifest(**made.model_dump() | {"labels_of": "scores"})
    outputs = [np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)]
    assert labels_of_job(made, outputs, single=True) == "yes"
