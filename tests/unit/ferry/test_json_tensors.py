import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ferry.errors import InvalidInputError
from ferry.json_elements import check_range
from ferry.json_outputs import json_ready
from ferry.json_tensors import read_flat_row, read_inputs, read_shaped
from ferry.manifest import OIP_DATATYPES
from tests.manifests import manifest, spec

NUMBERS = [dtype for dtype in OIP_DATATYPES if dtype not in {"bool", "string"}]
INTEGERS = [dtype for dtype in NUMBERS if "int" in dtype]
FLOATS = [dtype for dtype in NUMBERS if "float" in dtype]


def of(*specs, **more):
    return manifest(inputs=specs, **more)


def fault_of(signature, value) -> tuple[str, str]:
    """Return pointer and detail of the one fault of a refused value."""
    with pytest.raises(InvalidInputError) as caught:
        read_inputs(signature, value)
    (fault,) = caught.value.faults
    assert fault.detail == caught.value.detail
    return fault.pointer, fault.detail


@st.composite
def arrays(draw, dtype: str):
    """Any finite values of a dtype, 1 to 4 rows of 0 to 3 inner axes."""
    shape = (draw(st.integers(1, 4)), *draw(npst.array_shapes(min_dims=0, max_dims=3, max_side=3)))
    if dtype == "string":
        size = int(np.prod(shape))
        return np.array(draw(st.lists(st.text(), min_size=size, max_size=size)), dtype=object).reshape(shape)
    elements = npst.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    return draw(npst.arrays(dtype, shape, elements=elements))


# --- what is accepted


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@settings(deadline=None, max_examples=50)
@given(st.data())
def test_read_inputs_when_an_array_went_through_json_then_it_comes_back_bit_for_bit(dtype: str, data) -> None:
    array = data.draw(arrays(dtype))
    signature = of(spec("x", dtype, *array.shape[1:]))
    sent = orjson.loads(orjson.dumps({"x": json_ready(array, single=False)}, option=orjson.OPT_SERIALIZE_NUMPY))
    rows = read_inputs(signature, sent)
    assert (rows.n_rows, rows.single) == (array.shape[0], False)
    assert rows.arrays[0].dtype == array.dtype
    assert rows.arrays[0].shape == array.shape
    assert rows.arrays[0].tolist() == array.tolist()


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_read_inputs_when_the_batch_axis_is_left_out_then_it_is_one_row(dtype: str, data) -> None:
    array = data.draw(arrays(dtype))[:1]
    sent = orjson.loads(orjson.dumps(json_ready(array, single=True), option=orjson.OPT_SERIALIZE_NUMPY))
    rows = read_inputs(of(spec("x", dtype, *array.shape[1:])), {"x": sent})
    assert (rows.n_rows, rows.single) == (1, True)
    assert rows.arrays[0].shape == array.shape
    assert rows.arrays[0].tolist() == array.tolist()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_read_inputs_when_integers_are_at_both_ends_of_the_dtype_then_they_are_kept(dtype: str) -> None:
    ends = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    (array,) = read_inputs(of(spec("x", dtype)), {"x": ends}).arrays
    assert array.tolist() == ends


@pytest.mark.parametrize("dtype", FLOATS)
def test_read_inputs_when_floats_are_at_both_ends_of_the_dtype_then_they_are_kept(dtype: str) -> None:
    limit = float(np.finfo(dtype).max)
    (array,) = read_inputs(of(spec("x", dtype)), {"x": [limit, -limit]}).arrays
    assert array.tolist() == [limit, -limit]


def test_read_inputs_when_whole_numbers_come_for_floats_then_they_are_floats() -> None:
    (array,) = read_inputs(of(spec("x", "float32", 2)), {"x": [[1, 2.5]]}).arrays
    assert array.dtype == np.float32
    assert array.tolist() == [[1.0, 2.5]]


def test_read_inputs_when_several_then_they_come_in_the_manifests_order() -> None:
    signature = of(spec("a", "int64", 1), spec("b", "string"))
    rows = read_inputs(signature, {"b": ["p", "q"], "a": [[1], [2]]})
    assert [array.tolist() for array in rows.arrays] == [[[1], [2]], ["p", "q"]]
    assert rows.n_rows == 2


def test_read_inputs_when_an_axis_is_free_then_any_size_will_do() -> None:
    signature = of(spec("x", "float32", None))
    for width in (1, 5):
        assert read_inputs(signature, {"x": [[0.0] * width] * 2}).arrays[0].shape == (2, width)


def test_read_inputs_when_a_free_axis_is_empty_then_the_rows_are_empty_ones() -> None:
    rows = read_inputs(of(spec("x", "float32", None)), {"x": [[], []]})
    assert (rows.n_rows, rows.arrays[0].shape) == (2, (2, 0))


def test_read_inputs_when_rows_are_at_the_limit_then_accepted() -> None:
    assert read_inputs(of(spec("x"), max_job_rows=3), {"x": [0, 0, 0]}).n_rows == 3


# --- what is refused, and how it is said


@pytest.mark.parametrize(
    ("value", "pointer", "detail"),
    [
        (None, "#/input", "expected an object of inputs by name, got null"),
        ("x", "#/input", "expected 2 axes"),
        (1, "#/input", "expected 2 axes"),
        ([0, 0], "#/input", "axis 1 has 2 entries"),
        ({}, "#/input/x", "input 'x' is missing; toy:1 needs 'x'"),
        ({"y": [[0, 0, 0]]}, "#/input/y", "toy:1 has no input 'y'; its inputs are 'x'"),
        ({"x": [[0, 0, 0]], "b": 1}, "#/input/b", "toy:1 has no input 'b'"),
        ({"X": [[0, 0, 0]]}, "#/input/X", "toy:1 has no input 'X'"),
        ({"x": [[[0, 0, 0]]]}, "#/input/x", "expected 2 axes (rows, 3), or 1 for a single row, got 3"),
        ({"x": 0}, "#/input/x", "expected 2 axes (rows, 3), or 1 for a single row, got 0"),
        ({"x": None}, "#/input/x", "expected 2 axes"),
        ({"x": {"0": [0, 0, 0]}}, "#/input/x", "expected 2 axes"),
        ({"x": "abc"}, "#/input/x", "expected 2 axes"),
        ({"x": [[0, 0]]}, "#/input/x", "axis 1 has 2 entries, expected 3 (rows, 3)"),
        ({"x": [0, 0, 0, 0]}, "#/input/x", "axis 1 has 4 entries, expected 3"),
        ({"x": [[]]}, "#/input/x", "axis 1 has 0 entries, expected 3"),
        ({"x": [[0, 0, 0], [0, 0]]}, "#/input/x", "ragged: lists on axis 1 have 2, 3 entries"),
        ({"x": [[0, 0, 0], 0]}, "#/input/x/1", "expected a list here (rows, 3)"),
        ({"x": [[0, 0, 0], None]}, "#/input/x/1", "expected a list here (rows, 3)"),
        ({"x": [[0, 0, 0], {}]}, "#/input/x/1", "expected a list here (rows, 3)"),
        ({"x": [[0, 0, [0]]]}, "#/input/x", "expected a number (float32), got a list"),
        ({"x": [[0, 0, "7"]]}, "#/input/x", "expected a number (float32), got the string '7'"),
        ({"x": [[0, 0, True]]}, "#/input/x", "expected a number (float32), got the boolean true"),
        ({"x": [[0, 0, None]]}, "#/input/x", "input 'x' has a missing value (null, NaN or an empty cell) at column 3"),
        ({"x": [[0, 0, {}]]}, "#/input/x", "expected a number (float32), got an object"),
        ({"x": []}, "#/input", "0 rows: a job needs at least one"),
        ({"x": [[0, 0, 0]] * 101}, "#/input", "101 rows, the limit of toy:1 is 100; send several jobs"),
    ],
)
def test_read_inputs_when_it_does_not_fit_then_the_field_and_the_reason_are_named(
    value: object, pointer: str, detail: str
) -> None:
    where, what = fault_of(manifest(), value)
    assert where == pointer
    assert detail in what


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("side", ["min", "max"])
def test_read_inputs_when_an_integer_is_one_past_the_end_then_both_ends_are_named(dtype: str, side: str) -> None:
    limits = np.iinfo(dtype)
    wrong = int(limits.min) - 1 if side == "min" else int(limits.max) + 1
    pointer, detail = fault_of(of(spec("x", dtype)), {"x": [0, wrong]})
    assert pointer == "#/input/x"
    assert detail == f"{wrong} is outside of {dtype}, which holds {limits.min} to {limits.max}"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("sign", [1, -1])
def test_read_inputs_when_a_number_overflows_the_float_then_its_limit_is_named(dtype: str, sign: int) -> None:
    wrong = sign * float(np.finfo(dtype).max) * 1.01
    pointer, detail = fault_of(of(spec("x", dtype)), {"x": [0.5, wrong]})
    assert pointer == "#/input/x"
    assert detail == f"{wrong!r} is outside of {dtype}, which holds up to {float(np.finfo(dtype).max):g}"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("text", ["Infinity", "-Infinity", "1e999"])
def test_read_inputs_when_a_number_is_not_finite_then_it_is_said(dtype: str, text: str) -> None:
    pointer, detail = fault_of(of(spec("x", dtype)), {"x": [0.5, json.loads(text)]})
    assert pointer == "#/input/x"
    assert "is not a finite number" in detail


@pytest.mark.parametrize("dtype", FLOATS)
def test_read_inputs_when_a_whole_number_is_beyond_all_floats_then_it_is_said(dtype: str) -> None:
    pointer, detail = fault_of(of(spec("x", dtype)), {"x": [10**400]})
    assert (pointer, detail) == ("#/input/x", f"a whole number is too large for {dtype}")


@pytest.mark.parametrize(
    ("dtype", "wrong", "detail"),
    [
        ("int64", 1.0, "expected a whole number (int64), got the number 1.0"),
        ("uint8", True, "expected a whole number (uint8), got the boolean true"),
        ("int32", "1", "expected a whole number (int32), got the string '1'"),
        ("bool", 1, "expected true or false (bool), got the number 1"),
        ("bool", 0.0, "expected true or false (bool), got the number 0.0"),
        ("bool", "true", "expected true or false (bool), got the string 'true'"),
        ("string", 1, "expected a string (string), got the number 1"),
        ("string", True, "expected a string (string), got the boolean true"),
        ("float64", False, "expected a number (float64), got the boolean false"),
        ("float16", "x" * 100, "expected a number (float16), got the string '" + "x" * 39 + "..."),
    ],
)
def test_read_inputs_when_the_type_is_wrong_then_both_types_are_named(dtype: str, wrong: object, detail: str) -> None:
    where, what = fault_of(of(spec("x", dtype, 1)), {"x": [[wrong]]})
    assert where == "#/input/x"
    assert what.startswith(f"{detail}; toy:1 takes ")


def test_read_inputs_when_a_deep_element_is_no_list_then_the_pointer_leads_to_it() -> None:
    value = {"x": [[[0], [0]], [[0], 7]]}
    pointer, _ = fault_of(of(spec("x", "float32", 2, 1)), value)
    assert pointer == "#/input/x/1/1"


def test_read_inputs_when_a_name_has_slash_or_tilde_then_the_pointer_escapes_it() -> None:
    pointer, _ = fault_of(of(spec("a/b~c", "float32", 1)), {"a/b~c": [["no"]]})
    assert pointer == "#/input/a~1b~0c"
    pointer, _ = fault_of(manifest(), {"a/b~c": 1})
    assert pointer == "#/input/a~1b~0c"


def test_read_inputs_when_inputs_have_different_rows_then_each_count_is_named() -> None:
    pointer, detail = fault_of(of(spec("a"), spec("b")), {"a": [1, 2], "b": [1, 2, 3]})
    assert (pointer, detail) == ("#/input", "inputs have different numbers of rows (a: 2, b: 3)")


def test_read_inputs_when_only_some_leave_the_batch_axis_out_then_refused() -> None:
    pointer, detail = fault_of(of(spec("a"), spec("b")), {"a": 1, "b": [1]})
    assert pointer == "#/input"
    assert "give it to all or to none" in detail


def anything() -> st.SearchStrategy:
    """Whatever Python's JSON reader can return."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just(10**400)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xab"), inner, max_size=3)
    )


def fits(array: np.ndarray, wanted) -> bool:
    shapes = zip(array.shape, wanted.shape, strict=True)
    return array.dtype == wanted.numpy_dtype and all(expected in (None, size) for size, expected in shapes)


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@settings(deadline=None, max_examples=60)
@given(anything())
def test_read_inputs_when_the_json_is_anything_then_rows_that_fit_or_a_named_fault(dtype: str, value: object) -> None:
    for inner in ((), (2,), (None, 1)):
        signature = of(spec("x", dtype, *inner))
        for sent in (value, {"x": value}):
            try:
                rows = read_inputs(signature, sent)
            except InvalidInputError as error:
                pointer = error.faults[0].pointer
            else:
                pointer = "#/input" if fits(rows.arrays[0], signature.inputs[0]) else "does not fit"
            assert pointer.startswith("#/input")


# --- declared ranges


def test_check_range_when_values_are_at_the_ends_then_accepted() -> None:
    check_range(spec("x", range=(0, 1)), np.array([0.0, 1.0]), "#/x")


@pytest.mark.parametrize(
    ("values", "bounds", "detail"),
    [
        ([0.5, 1.5], (0, 1), "1.5 is above 1: 'x' takes values from 0 to 1; divide pixels by 255"),
        ([0, 255], (0, 1), "255 is above 1: 'x' takes values from 0 to 1; divide pixels by 255"),
        ([0, 256], (0, 1), "256 is above 1: 'x' takes values from 0 to 1"),
        ([-0.5, 0.5], (0, 1), "-0.5 is below 0: 'x' takes values from 0 to 1"),
        ([-1, 200], (0, 1), "200 is above 1: 'x' takes values from 0 to 1"),
        ([5], (-2, 2.5), "5 is above 2.5: 'x' takes values from -2 to 2.5"),
    ],
)
def test_check_range_when_a_value_is_outside_then_it_and_the_range_are_named(values, bounds, detail: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_range(spec("x", range=bounds), np.array(values), "#/x")
    assert caught.value.detail == detail
    assert caught.value.faults[0].pointer == "#/x"


@pytest.mark.parametrize("dtype", NUMBERS)
def test_read_inputs_when_a_value_is_outside_the_range_then_refused_in_every_dtype(dtype: str) -> None:
    pointer, detail = fault_of(of(spec("x", dtype, range=(0, 9))), {"x": [3, 10]})
    assert (pointer, detail) == ("#/input/x", "10 is above 9: 'x' takes values from 0 to 9")


def test_check_range_when_there_are_no_values_then_accepted() -> None:
    check_range(spec("x", "float32", None, range=(0, 1)), np.empty((2, 0)), "#/x")


# --- /predict's row


@pytest.mark.parametrize("value", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]], [[[1], [2], [3], [4], [5], [6]]]])
def test_read_flat_row_when_nested_or_flat_then_the_same_row(value: list) -> None:
    row = read_flat_row(spec("x", "float32", 2, 3), value, "#/x")
    assert row.shape == (1, 2, 3)
    assert row.tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ([1, 2, 3, 4, 5], "expected 6 numbers (2 x 3, nested or flat), got 5"),
        ([], "expected 6 numbers (2 x 3, nested or flat), got 0"),
        (7, "expected 6 numbers (2 x 3, nested or flat), got 1"),
        (None, "expected 6 numbers (2 x 3, nested or flat), got 1"),
        ([[1, 2, 3], [4, 5]], "ragged: lists on axis 1 have 2, 3 entries, expected one size"),
        ([1, 2, 3, 4, 5, "6"], "expected a number (float32), got the string '6'"),
        ([1, 2, 3, 4, 5, [6]], "expected a number (float32), got a list"),
        ({"x": 1}, "expected 6 numbers (2 x 3, nested or flat), got 1"),
    ],
)
def test_read_flat_row_when_it_does_not_fit_then_the_reason_is_named(value: object, detail: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_flat_row(spec("x", "float32", 2, 3), value, "#/x")
    assert caught.value.detail == detail
    assert caught.value.faults[0].pointer == "#/x"


def test_read_flat_row_when_an_axis_is_free_then_refused() -> None:
    with pytest.raises(InvalidInputError, match="None"):
        read_flat_row(spec("x", "float32", None), [1], "#/x")


# --- what is answered


# --- arrays that a parser has made


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
@pytest.mark.parametrize("limits", [None, (0, 1)])
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_read_when_the_numbers_come_as_an_array_then_all_is_as_with_lists(dtype: str, limits, data) -> None:
    shapes = st.sampled_from([(3,), (2, 3), (6,), (1, 2, 3)])
    elements = st.integers(-(2**53), 2**53) | st.sampled_from([0, 1, 255, 2**40])
    numbers = data.draw(npst.arrays(st.sampled_from([np.float64, np.int64]), shapes, elements=elements))
    if numbers.dtype == np.float64 and data.draw(st.booleans()):
        numbers = numbers / data.draw(st.sampled_from([2.0, 1e-200, 2**53]))
    wanted = spec("x", dtype, 3, **({"range": limits} if limits and dtype in NUMBERS else {}))

    def either(read, value):
        try:
            got = read(value)
        except InvalidInputError as error:
            return error.detail, error.faults
        return got.dtype, got.shape, got.tolist()

    for read in (
        lambda value: read_inputs(of(wanted), {"x": value}).arrays[0],
        lambda value: read_flat_row(wanted, value, "#/x"),
        lambda value: read_shaped(wanted, value, (2, 3), "#/x"),
    ):
        assert either(read, numbers) == either(read, numbers.tolist())
