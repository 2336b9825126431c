"""The infer call of the Open Inference Protocol: every field checked, binary and JSON read alike."""

from typing import Any

import numpy as np
import pytest

from ferry.errors import InvalidInputError
from ferry.oip import infer_response, read_infer_request, read_raw_request
from ferry.tensors import raw_from_array
from tests.manifests import manifest, spec

TOY = manifest()
X = np.arange(6, dtype=np.float32).reshape(2, 3)
MIXED = manifest(
    inputs=(spec("x", "float32", 3), spec("words", "string", 1), spec("on", "bool")),
    outputs=(spec("y", "int64", None), spec("echo", "string", 1)),
)


def body(**change: Any) -> dict[str, Any]:
    """A right request of two rows for TOY, with fields of its input replaced (None takes one out)."""
    field = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.ravel().tolist()} | change
    return {"inputs": [{name: value for name, value in field.items() if value is not None}]}


def binary(size: int) -> dict[str, Any]:
    return body(data=None, parameters={"binary_data_size": size})


def pointer_of(call: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        call()
    (fault,) = caught.value.faults
    assert fault.detail
    return fault.pointer


@pytest.mark.parametrize("data", [X.ravel().tolist(), X.tolist()], ids=["flat", "nested"])
def test_request_when_json_then_its_rows(data: list[Any]) -> None:
    request = read_infer_request(TOY, body(data=data) | {"id": "42"})
    np.testing.assert_array_equal(request.rows.arrays[0], X)
    assert (request.rows.n_rows, request.rows.single, request.id, request.outputs) == (2, False, "42", ((0, False),))


def test_request_when_binary_then_the_same_rows() -> None:
    request = read_infer_request(TOY, binary(24), X.tobytes())
    np.testing.assert_array_equal(request.rows.arrays[0], X)


def test_request_when_inputs_are_mixed_and_out_of_order_then_in_the_manifest_order() -> None:
    words = np.array([["ja"], ["größer"]], dtype=object)
    raw_words, raw_on = raw_from_array(MIXED.inputs[1], words), b"\x01\x00"
    asked = {
        "inputs": [
            {"name": "on", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}},
            {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.tolist()},
            {"name": "words", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw_words)}},
        ]
    }
    rows = read_infer_request(MIXED, asked, raw_on + raw_words).rows
    np.testing.assert_array_equal(rows.arrays[0], X)
    np.testing.assert_array_equal(rows.arrays[1], words)
    assert rows.arrays[2].tolist() == [True, False]


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ([], "#"),
        ({}, "#/inputs"),
        ({"inputs": {}}, "#/inputs"),
        ({"inputs": []}, "#/inputs"),
        ({"inputs": [7]}, "#/inputs/0"),
        (body() | {"more": 1}, "#"),
        (body() | {"id": 7}, "#/id"),
        (body() | {"id": "x" * 257}, "#/id"),
        (body() | {"parameters": 7}, "#/parameters"),
        (body(name="z"), "#/inputs/0/name"),
        ({"inputs": body()["inputs"] * 2}, "#/inputs/1/name"),
        (body(datatype="INT64"), "#/inputs/0/datatype"),
        (body(datatype=None), "#/inputs/0/datatype"),
        (body(shape=None), "#/inputs/0/shape"),
        (body(shape=[2, 4]), "#/inputs/0/shape"),
        (body(shape=[6]), "#/inputs/0/shape"),
        (body(shape=[-1, 3]), "#/inputs/0/shape"),
        (body(shape=[2.0, 3]), "#/inputs/0/shape"),
        (body(shape=[True, 3]), "#/inputs/0/shape"),
        (body(shape=[2**40, 3]), "#/inputs/0/shape"),
        (body(data=None), "#/inputs/0/data"),
        (body(data=7), "#/inputs/0/data"),
        (body(data=[1.0]), "#/inputs/0/data"),
        (body(data=["a"] * 6), "#/inputs/0/data"),
        (body(shape=[0, 3], data=[]), "#/inputs"),
        (body(shape=[101, 3], data=[0.0] * 303), "#/inputs"),
        (body() | {"outputs": 7}, "#/outputs"),
        (body() | {"outputs": [{"name": "z"}]}, "#/outputs/0/name"),
        (body() | {"outputs": [{"name": "y", "parameters": 7}]}, "#/outputs/0/parameters"),
        (body(parameters={"binary_data_size": -1}), "#/inputs/0/parameters/binary_data_size"),
        (body(parameters={"binary_data_size": "8"}), "#/inputs/0/parameters/binary_data_size"),
    ],
)
def test_request_when_a_field_is_wrong_then_it_is_named(asked: Any, pointer: str) -> None:
    assert pointer_of(lambda: read_infer_request(TOY, asked)) == pointer


def test_request_when_the_models_own_shape_is_sent_then_told_to_send_numbers() -> None:
    with pytest.raises(InvalidInputError, match=r"expected \[-1, 3\] .* got \[-1, 3\]; a shape that is sent has whole"):
        read_infer_request(TOY, body(shape=[-1, 3]))


@pytest.mark.parametrize(("size", "tail"), [(24, b""), (24, X.tobytes()[:-1]), (20, X.tobytes()[:20])])
def test_request_when_binary_is_short_then_refused(size: int, tail: bytes) -> None:
    assert pointer_of(lambda: read_infer_request(TOY, binary(size), tail)) == "#/inputs/0/parameters/binary_data_size"


def test_request_when_bytes_are_left_over_then_refused() -> None:
    assert pointer_of(lambda: read_infer_request(TOY, binary(24), X.tobytes() + b"!")) == "#"


def test_request_when_rows_differ_between_inputs_then_refused() -> None:
    both = manifest(inputs=(spec("a", "float32"), spec("b", "float32")))
    asked = {
        "inputs": [
            {"name": "a", "shape": [1], "datatype": "FP32", "data": [1]},
            {"name": "b", "shape": [2], "datatype": "FP32", "data": [1, 2]},
        ]
    }
    assert pointer_of(lambda: read_infer_request(both, asked)) == "#/inputs"


@pytest.mark.parametrize("value", [1.5, -0.5, float("nan"), float("inf")])
def test_request_when_binary_values_leave_the_declared_range_then_refused(value: float) -> None:
    ranged = manifest(inputs=(spec("x", "float32", 3, range=(0, 1)),))
    tail = np.full((2, 3), value, np.float32).tobytes()
    assert "binary_data_size" in pointer_of(lambda: read_infer_request(ranged, binary(24), tail))


def test_request_when_a_bool_byte_is_neither_0_nor_1_then_refused() -> None:
    asked = {"inputs": [{"name": "b", "shape": [1], "datatype": "BOOL", "parameters": {"binary_data_size": 1}}]}
    only = manifest(inputs=(spec("b", "bool"),))
    assert "binary_data_size" in pointer_of(lambda: read_infer_request(only, asked, b"\x02"))


def test_raw_request_when_it_is_one_row_then_all_outputs_are_binary() -> None:
    request = read_raw_request(TOY, X[:1].tobytes())
    np.testing.assert_array_equal(request.rows.arrays[0], X[:1])
    assert request.outputs == ((0, True),)


@pytest.mark.parametrize("raw", [b"", X.tobytes(), b"abc"])
def test_raw_request_when_it_is_not_one_row_then_refused(raw: bytes) -> None:
    assert pointer_of(lambda: read_raw_request(TOY, raw)) == "#"


def test_raw_request_when_the_model_has_several_inputs_then_refused() -> None:
    assert pointer_of(lambda: read_raw_request(MIXED, b"")) == "#"


def test_raw_request_when_the_input_is_text_then_one_text() -> None:
    text = manifest(inputs=(spec("t", "string", 1),))
    assert read_raw_request(text, "größer".encode()).rows.arrays[0].tolist() == [["größer"]]


def test_response_when_outputs_are_chosen_then_in_that_order_and_form() -> None:
    asked = body() | {
        "id": "7",
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "echo", "parameters": {"binary_data": False}}, {"name": "y"}],
    }
    both = MIXED.model_copy(update={"inputs": TOY.inputs})
    arrays = [np.array([[1, 2], [3, 4]], dtype="<i8"), np.array([["a"], ["b"]], dtype=object)]
    response, tail = infer_response(both, read_infer_request(both, asked), arrays)
    assert response == {
        "model_name": "toy",
        "model_version": "1",
        "id": "7",
        "outputs": [
            {"name": "echo", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]},
            {"name": "y", "shape": [2, 2], "datatype": "INT64", "parameters": {"binary_data_size": 32}},
        ],
    }
    assert tail == [arrays[0].tobytes()]
