"""NPY: headers that are refused, rows cut and cast, one array out."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import (
    chunks_of,
    codes,
    fake_model,
    faults_of,
    index,
    npy,
    rows_of,
    rules,
    run,
    whole,
)

RANGED = manifest(inputs=(spec("x", "float32", 2, 3, range=(0.0, 1.0)),), outputs=(spec("y", "float32", 3),))


@pytest.mark.parametrize("n_rows", [1, 4, 9])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_npy_when_it_goes_through_then_one_array_in_order(n_rows: int, chunk_rows: int) -> None:
    x = rows_of(n_rows)
    out, errors = run("npy", npy(x), rules(chunk_rows=chunk_rows))
    np.testing.assert_allclose(np.load(io.BytesIO(out), allow_pickle=False), fake_model(x), rtol=1e-6)
    assert errors == []


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 25), st.integers(1, 200))
def test_npy_when_cut_anyhow_then_the_same_rows(n_rows: int, chunk_rows: int, chunk_bytes: int) -> None:
    x = rows_of(n_rows)
    np.testing.assert_array_equal(
        whole(chunks_of("npy", npy(x), rules(chunk_rows=chunk_rows, chunk_bytes=chunk_bytes))), x
    )


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3), (5, 2, 1, 3)])
def test_npy_when_rows_are_flat_or_have_axes_of_one_then_they_take_the_shape(shape: tuple[int, ...]) -> None:
    assert whole(chunks_of("npy", npy(np.zeros(shape, np.float32)), rules())).shape == (5, 2, 3)


@pytest.mark.parametrize("dtype", [">f4", "f8", "f2", "u1", "i8", "?"])
def test_npy_when_the_cast_is_safe_then_it_is_done(dtype: str) -> None:
    x = np.arange(12).reshape(2, 2, 3).astype(dtype)
    read = whole(chunks_of("npy", npy(x), rules()))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, x)


def test_npy_when_a_row_is_out_of_range_or_nan_then_it_alone_fails_and_its_output_is_nan() -> None:
    x = rows_of(6)
    x[1, 0, 0], x[4, 1, 2] = np.nan, 3.0
    out, errors = run("npy", npy(x), rules(RANGED))
    y = np.load(io.BytesIO(out))
    assert [bool(np.isnan(row).all()) for row in y] == [False, True, False, False, True, False]
    np.testing.assert_allclose(y[[0, 2, 3, 5]], fake_model(x)[[0, 2, 3, 5]], rtol=1e-6)
    assert [(e["custom_id"], e["row"], e["response"]["status_code"]) for e in errors] == [("2", 2, 422), ("5", 5, 422)]
    error = errors[1]["response"]["body"]["error"]
    assert (error["code"], error["param"]) == ("invalid_input", "x")
    assert "3 is above 1" in error["message"]


def test_npy_when_a_float64_does_not_fit_float32_then_its_row_fails() -> None:
    x = np.ones((3, 2, 3))
    x[1] = 1e300
    chunks = chunks_of("npy", npy(x), rules())
    (fault,) = faults_of(chunks)
    assert (fault.position, "1e+300 is outside of float32" in fault.message) == (1, True)
    assert list(chunks[0].groups[0].positions) == [0, 2]


def test_npy_when_integers_do_not_fit_then_their_row_fails() -> None:
    model = manifest(inputs=(spec("x", "uint8"),), outputs=(spec("y", "float32"),))
    (fault,) = faults_of(chunks_of("npy", npy(np.array([1, 300, 2])), rules(model)))
    assert (fault.position, "300 is outside of uint8" in fault.message) == (1, True)


def test_npy_when_a_row_fails_in_the_model_then_it_is_nan_and_in_the_error_file() -> None:
    x = rows_of(5)
    out, errors = run("npy", npy(x), rules(), fail=("3",))
    assert np.isnan(np.load(io.BytesIO(out))).any(axis=1).tolist() == [False, False, True, False, False]
    assert [(e["custom_id"], e["response"]["status_code"]) for e in errors] == [("3", 500)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(np.zeros((0, 2, 3), np.float32)), "no rows"),
        (npy(rows_of(3))[:-1], "damaged"),
        (npy(rows_of(3)) + b"x", "damaged"),
        (npy(rows_of(3))[:20], "header cannot be read"),
        (b"\x93NUMPY\x01\x00\x05\x00abcd\n", "header cannot be read"),
        (b"something else", "header cannot be read"),
        (npy(np.array([{"a": 1}], dtype=object), allow_pickle=True), "pickled"),
        (npy(np.float32(1)), "one number"),
        (npy(np.zeros((3, 5), np.float32)), "rows of shape (5,)"),
        (npy(np.zeros((3, 6), np.complex64)), "complex64"),
        (npy(np.zeros((3, 6), "U3")), "<U3"),
        (npy(np.zeros(3, [("a", "f4")])), "float32"),
    ],
)  # fmt: skip
def test_npy_when_the_file_is_bad_then_it_says_why(data: bytes, said: str) -> None:
    (fault,) = index("npy", data, rules()).faults
    assert said in fault.message


def test_npy_when_the_model_has_two_inputs_then_npz_is_the_remedy() -> None:
    model = manifest(inputs=(spec("a"), spec("b")))
    (fault,) = index("npy", npy(np.zeros(3, np.float32)), rules(model)).faults
    assert "send npz" in fault.message


def test_npy_when_floats_come_for_integers_then_refused() -> None:
    model = manifest(inputs=(spec("x", "int64"),))
    assert codes(index("npy", npy(np.zeros(3)), rules(model))) == [("invalid_file", None)]


@pytest.mark.parametrize(
    "outputs",
    [(spec("y", "string"),), (spec("y", "float32", None),), (spec("y"), spec("z")), (spec("y", "int64"),)],
    ids=["text", "any", "two", "no NaN"],
)
def test_npy_when_it_cannot_hold_the_output_then_refused(outputs) -> None:
    with pytest.raises(InvalidInputError, match="ask for"):
        format_named("npy").check_output(rules(manifest(outputs=outputs)))


def test_npy_when_the_file_shrank_since_then_reading_says_so() -> None:
    data = npy(rows_of(4))
    (chunk,) = index("npy", data, rules()).chunks
    with pytest.raises(InvalidInputError, match="replaced"):
        format_named("npy").read(io.BytesIO(data[:-8]), chunk, rules())


@pytest.mark.parametrize("shape", [(9, 6), (9, 2, 3), (9, 1, 2, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">i2"])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_npy_when_it_is_in_column_order_then_the_same_rows(shape: tuple[int, ...], dtype: str, chunk_rows: int) -> None:
    x = np.arange(54).reshape(shape).astype(dtype)
    data = npy(np.asfortranarray(x))
    assert b"'fortran_order': True" in data
    found = whole(chunks_of("npy", data, rules(chunk_rows=chunk_rows)))
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, x.reshape(9, 2, 3))


def test_npy_when_booleans_come_for_floats_of_another_range_then_their_rows_fail() -> None:
    model = manifest(inputs=(spec("x", "float32", 2, range=(0.5, 2.0)),), outputs=(spec("y", "float32"),))
    chunks = chunks_of("npy", npy(np.array([[True, True], [True, False]])), rules(model))
    assert [(fault.position, "0 is below 0.5" in fault.message) for fault in faults_of(chunks)] == [(1, True)]


def test_npy_when_rows_lie_along_another_axis_in_the_model_then_the_error_says_that_a_file_has_them_first() -> None:
    state = TensorSpec(name="x", dtype="float32", shape=(2, None, 3), batch_axis=1)
    (fault,) = index("npy", npy(np.zeros((2, 5, 3))), rules(manifest(inputs=(state,)))).faults
    said = "in a file the rows of 'x' come first, on axis 0, though the model has them on axis 1"
    assert f"; {said}: save numpy.moveaxis(array, 1, 0)" in fault.message
    (note,) = index("npy", npy(np.zeros((5, 2, 3))), rules(manifest(inputs=(state,)))).notes
    assert note.startswith(said)


class Drops(io.BytesIO):
    """A file that gives few bytes at a time, as a socket does."""

    def readinto(self, buffer) -> int:
        return super().readinto(buffer[:7])


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "u1"])
def test_npy_when_rows_are_read_in_blocks_then_each_fault_has_its_row(dtype: str, monkeypatch) -> None:
    monkeypatch.setattr("ferry.bulk.formats.raw_rows._BLOCK_BYTES", 64)
    x = np.arange(66).reshape(11, 2, 3).astype(dtype) / np.array(66).astype(dtype) if dtype != "u1" else (
        np.eye(66, dtype="u1")[:11, :6].reshape(11, 2, 3)
    )  # fmt: skip
    x[[1, 9], 1, 1] = 3
    data, given_rules = npy(x), rules(RANGED, chunk_rows=100)
    (chunk,) = index("npy", data, given_rules).chunks
    rows = format_named("npy").read(Drops(data), chunk, given_rules)
    assert [fault.position for fault in rows.faults] == [1, 9]
    keep = [row for row in range(11) if row not in (1, 9)]
    np.testing.assert_array_equal(rows.groups[0].arrays[0], x[keep].astype(np.float32))
    assert list(rows.ids) == [str(n) for n in range(1, 12)]
