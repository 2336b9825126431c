"""NPZ: arrays by name, packed or not, and archives that are refused."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.base import Limits, PartResult, RowFault
from ferry.bulk.formats.npz import failed_name
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, fake_model, index, npy, rows_of, rules, run, whole

TWO = manifest(inputs=(spec("a", "float32", 2), spec("b", "int64")), outputs=(spec("y"),))


def npz(*, packed: bool = False, **arrays) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, **arrays)
    return out.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_npz_when_it_goes_through_then_outputs_by_name_in_order(packed: bool, chunk_rows: int) -> None:
    x = rows_of(9)
    out, errors = run("npz", npz(x=x, other=np.zeros(2), packed=packed), rules(chunk_rows=chunk_rows))
    with np.load(io.BytesIO(out), allow_pickle=False) as found:
        assert found.files == ["y"]
        np.testing.assert_allclose(found["y"], fake_model(x), rtol=1e-6)
    assert errors == []


def test_npz_when_there_are_two_inputs_then_both_are_read() -> None:
    a, b = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5, dtype=np.int32)
    chunks = chunks_of("npz", npz(a=a, b=b), rules(TWO, chunk_rows=2))
    np.testing.assert_array_equal(whole(chunks, 0), a)
    np.testing.assert_array_equal(whole(chunks, 1), b)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no archive", "not a whole ZIP"),
        (npz(a=np.zeros((2, 2)), b=np.zeros(2, int))[:-30], "not a whole ZIP"),
        (zipped({}), "holds nothing"),
        (npz(a=np.zeros((2, 2))), "array 'b' is missing"),
        (npz(a=np.zeros((2, 2)), b=np.zeros(3, int)), "different numbers of rows"),
        (npz(a=np.zeros((2, 3)), b=np.zeros(2, int)), "rows of shape (3,)"),
        (npz(a=np.zeros((0, 2)), b=np.zeros(0, int)), "no rows"),
        (npz(a=np.array([["a", 1]], dtype=object), b=np.zeros(1, int)), "pickled"),
        (zipped({"a.npy": npy(np.zeros((2, 2)))[:-1], "b.npy": npy(np.zeros(2, int))}), "takes 160 bytes"),
        (npz(a=np.zeros((99999, 2)), b=np.zeros(99999, int), packed=True), "unpacks to"),
    ],
)
def test_npz_when_the_file_is_bad_then_it_says_why(data: bytes, said: str) -> None:
    (fault,) = index("npz", data, rules(TWO, limits=Limits(max_bytes=1_000_000))).faults
    assert said in fault.message


def test_npz_when_more_comes_out_than_declared_then_refused() -> None:
    data = bytearray(zipped({"x.npy": npy(rows_of(1000))}))
    declared = len(npy(rows_of(1000))).to_bytes(4, "little")
    at = data.rfind(declared)
    data[at : at + 4] = (9_000).to_bytes(4, "little")
    (fault,) = index("npz", bytes(data), rules(limits=Limits(max_bytes=10_000))).faults
    assert fault.code == "invalid_file"


def test_npz_when_a_byte_is_changed_then_refused() -> None:
    data = bytearray(npz(x=rows_of(100)))
    data[1000] ^= 255
    (fault,) = index("npz", bytes(data), rules()).faults
    assert "CRC" in fault.message


@pytest.mark.parametrize("packed", [True, False])
def test_npz_when_an_array_is_in_column_order_then_the_same_rows(packed: bool) -> None:
    x = rows_of(9)
    data = npz(x=np.asfortranarray(x), packed=packed)
    np.testing.assert_array_equal(whole(chunks_of("npz", data, rules(chunk_rows=4))), x)


def test_npz_when_rows_fail_then_floats_are_nan_and_integers_are_marked_in_failed() -> None:
    outputs = (spec("y"), spec("n", "int64"), spec("u", "uint8"), spec("b", "bool"))
    given = rules(manifest(inputs=(spec("x"),), outputs=outputs), chunk_rows=2)
    parts = []
    for rows, failed in zip(chunks_of("npz", npz(x=np.arange(4, dtype="f4")), given), ((), (1,)), strict=True):
        x = rows.groups[0].arrays[0]
        outs = [x, x.astype(np.int64), x.astype(np.uint8), x > 0]
        faults = tuple(RowFault(position, "model_error", "no") for position in failed)
        part = io.BytesIO()
        format_named("npz").write_part(part, PartResult(rows, [outs], faults), given)
        parts.append(part.getvalue())
    out = io.BytesIO()
    format_named("npz").assemble([lambda raw=raw: io.BytesIO(raw) for raw in parts], out)
    with np.load(io.BytesIO(out.getvalue())) as found:
        assert found["failed"].tolist() == [False, False, False, True]
        np.testing.assert_array_equal(found["y"], np.float32([0, 1, 2, np.nan]))
        assert found["n"].tolist() == [0, 1, 2, np.iinfo(np.int64).min]
        assert (found["u"].tolist(), found["b"].tolist()) == ([0, 1, 2, 255], [False, True, True, False])


def test_npz_when_rows_lie_along_another_axis_in_the_model_then_the_errors_say_that_a_file_has_them_first() -> None:
    state = TensorSpec(name="h", dtype="float32", shape=(None, None), batch_axis=1)
    model = rules(manifest(inputs=(state, spec("b"))))
    (fault,) = index("npz", npz(h=np.zeros((3, 5)), b=np.zeros(5)), model).faults
    assert fault.message.startswith("the arrays have different numbers of rows (h: 3, b: 5); in a file the rows of 'h'")
    assert len(index("npz", npz(h=np.zeros((5, 3)), b=np.zeros(5)), model).notes) == 1


def test_npz_when_an_output_is_named_failed_then_the_mark_has_another_name() -> None:
    assert failed_name(rules(manifest(outputs=(spec("failed", "int64"),)))) == "failed_"


def test_npz_when_the_output_is_text_then_refused() -> None:
    with pytest.raises(InvalidInputError, match="text"):
        format_named("npz").check_output(rules(manifest(outputs=(spec("y", "string"),))))


@settings(deadline=None, max_examples=20)
@given(st.booleans(), st.integers(1, 20), st.integers(1, 25))
def test_npz_when_cut_anyhow_then_the_same_rows(packed: bool, n_rows: int, chunk_rows: int) -> None:
    x = rows_of(n_rows)
    np.testing.assert_array_equal(whole(chunks_of("npz", npz(x=x, packed=packed), rules(chunk_rows=chunk_rows))), x)
