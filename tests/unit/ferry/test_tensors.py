import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ferry.manifest import OIP_DATATYPES, TensorSpec
from ferry.tensors import Array, TensorCodec, WholeCodec, model_layout, rows_first
from tests.manifests import spec

Signature = tuple[TensorCodec, list[np.ndarray]]


@st.composite
def signatures(draw) -> Signature:
    """One to three tensors of any dtype and shape, empty axes too; every axis is free or as it is."""
    specs, arrays = [], []
    for position in range(draw(st.integers(1, 3))):
        dtype = draw(st.sampled_from(sorted(OIP_DATATYPES)))
        shape = draw(npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3))
        if dtype == "string":
            size = int(np.prod(shape))
            array = np.array(draw(st.lists(st.text(max_size=5), min_size=size, max_size=size)), dtype=object)
            array = array.reshape(shape)
        else:
            array = draw(npst.arrays(dtype, shape))
        inner = [draw(st.sampled_from([None, size])) for size in shape[1:]]
        specs.append(spec(f"t{position}", dtype, *inner))
        arrays.append(array)
    return TensorCodec(specs), arrays


def texts(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


def assert_same(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if one.dtype == object:
            assert one.tolist() == other.tolist()
        else:
            assert one.tobytes() == other.tobytes()  # NaN is NaN


@settings(deadline=None, max_examples=200)
@given(signatures())
def test_unpack_when_packed_then_the_same_arrays(signature: Signature) -> None:
    codec, arrays = signature
    assert_same(codec.unpack(codec.pack(arrays)), arrays)


@settings(deadline=None, max_examples=150)
@given(signatures(), st.data())
def test_unpack_when_truncated_anywhere_then_value_error(signature: Signature, data) -> None:
    codec, arrays = signature
    payload = codec.pack(arrays)
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(payload[:cut])


@settings(deadline=None, max_examples=50)
@given(signatures(), st.binary(min_size=1, max_size=9))
def test_unpack_when_bytes_follow_then_value_error(signature: Signature, tail: bytes) -> None:
    codec, arrays = signature
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(codec.pack(arrays) + tail)


@settings(deadline=None, max_examples=300)
@given(signatures(), st.data())
def test_unpack_when_a_size_was_changed_then_value_error_or_all_bytes_are_accounted_for(
    signature: Signature, data
) -> None:
    codec, arrays = signature
    payload = bytearray(codec.pack(arrays))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    try:
        got = codec.unpack(bytes(payload))
    except ValueError:
        return
    assert codec.pack(got) == bytes(payload)


@settings(deadline=None, max_examples=200)
@given(signatures(), st.binary(max_size=64))
def test_unpack_when_the_bytes_are_anything_then_value_error_or_whole_arrays(signature: Signature, junk: bytes) -> None:
    codec, _ = signature
    try:
        got = codec.unpack(junk)
    except ValueError:
        return
    assert codec.pack(got) == junk


def test_unpack_when_the_sizes_exceed_all_memory_then_value_error() -> None:
    codec = TensorCodec([spec("x", "float32", None, None)])
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(struct.pack("<III", *[2**32 - 1] * 3))


def test_unpack_when_a_text_reaches_into_the_next_tensor_then_value_error() -> None:
    codec = TensorCodec([spec("s", "string"), spec("x", "uint8")])
    good = codec.pack([texts("ab"), np.array([7, 8], np.uint8)])
    longer = good.replace(struct.pack("<I", 2) + b"ab", struct.pack("<I", 4) + b"ab")
    assert longer != good
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(longer)


def test_unpack_when_text_is_not_utf8_then_value_error() -> None:
    codec = TensorCodec([spec("s", "string")])
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(codec.pack([texts("ab")]).replace(b"ab", b"\xff\xfe"))


def test_unpack_when_the_number_of_texts_is_not_the_shapes_then_value_error() -> None:
    codec = TensorCodec([spec("s", "string")])
    with pytest.raises(ValueError, match=r"."):
        codec.unpack(struct.pack("<I", 3) + codec.pack([texts("a", "b")])[4:])


def test_unpack_when_numbers_then_read_only_views_without_a_copy() -> None:
    codec = TensorCodec([spec("x", "float32", 2)])
    (array,) = codec.unpack(codec.pack([np.ones((1, 2), np.float32)]))
    assert not array.flags.writeable
    assert not array.flags.owndata


def test_pack_when_packed_then_sizes_first_and_little_endian_in_the_specs_order() -> None:
    codec = TensorCodec([spec("a", "uint16", 2), spec("s", "string")])
    payload = codec.pack([np.array([[1, 2]], np.uint16), texts("é")])
    assert payload == struct.pack("<IIIHHIIss", 1, 2, 1, 1, 2, 6, 2, b"\xc3", b"\xa9")


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=">i4").reshape(2, 3), np.arange(12, dtype="<i4").reshape(2, 6)[:, ::2]]
)
def test_pack_when_the_array_is_big_endian_or_strided_then_the_values_survive(array: np.ndarray) -> None:
    codec = TensorCodec([spec("x", "int32", 3)])
    assert codec.unpack(codec.pack([array]))[0].tolist() == array.tolist()


def test_pack_when_text_is_bytes_already_then_taken_as_it_is() -> None:
    codec = TensorCodec([spec("s", "string")])
    array = np.array([b"ab", "cd"], dtype=object)
    assert codec.unpack(codec.pack([array]))[0].tolist() == ["ab", "cd"]


def test_pack_when_there_are_more_arrays_than_specs_then_refused() -> None:
    codec = TensorCodec([spec("x", "float32")])
    with pytest.raises((ValueError, struct.error)):
        codec.pack([np.zeros(1, np.float32)] * 2)


# --- many payloads at once


@settings(deadline=None, max_examples=200)
@given(signatures(), st.integers(1, 4), st.data())
def test_unpack_together_when_payloads_are_alike_then_their_rows_one_after_the_other(
    signature: Signature, n_payloads: int, data
) -> None:
    codec, arrays = signature
    others = [[np.roll(array, data.draw(st.integers(0, 3))) for array in arrays] for _ in range(n_payloads - 1)]
    together = codec.unpack_together([codec.pack(each) for each in [arrays, *others]])
    if together is None:
        assert n_payloads > 1
        assert any(array.dtype == object or array.size == 0 for array in arrays)
        return
    assert_same(together, [np.concatenate(column) for column in zip(arrays, *others, strict=True)])


def test_unpack_together_when_they_differ_then_none() -> None:
    codec = TensorCodec([spec("x", "float32", None)])
    shapes = [(1, 2), (2, 1), (1, 3)]
    payloads = [codec.pack([np.zeros(shape, np.float32)]) for shape in shapes]
    assert codec.unpack_together(payloads[:2]) is codec.unpack_together(payloads[1:]) is None


def test_unpack_together_when_all_are_damaged_then_value_error() -> None:
    codec = TensorCodec([spec("x", "float32", 2)])
    with pytest.raises(ValueError, match="buffer is smaller"):
        codec.unpack_together([codec.pack([np.zeros((1, 2), np.float32)])[:-1]] * 2)


@settings(deadline=None, max_examples=200)
@given(signatures(), st.data())
def test_pack_apart_when_rows_are_dealt_out_then_each_payload_is_as_packed_by_itself(
    signature: Signature, data
) -> None:
    codec, arrays = signature
    n_rows = min(array.shape[0] for array in arrays)
    arrays = [array[:n_rows] for array in arrays]
    cuts = (
        data.draw(st.lists(st.integers(0, n_rows), max_size=3).map(sorted))
        if data.draw(st.booleans())
        else list(range(1, n_rows))
    )
    edges = [0, *cuts, n_rows]
    counts = [end - start for start, end in pairwise(edges)]
    wanted = [codec.pack([array[start:end] for array in arrays]) for start, end in pairwise(edges)]
    assert codec.pack_apart(arrays, counts) == wanted


# --- whole jobs


@pytest.mark.parametrize(
    "arrays",
    [
        [np.float32(3.5).reshape(()), np.array(["ä", ""], dtype=object)],
        [np.zeros((2, 0, 3), np.float32), np.array("one", dtype=object).reshape(())],
        [np.arange(24, dtype=np.float32).reshape((1, 2, 3, 4)), np.empty((0,), dtype=object)],
    ],
)
def test_whole_codec_when_any_shapes_then_they_come_back(arrays: list[Array]) -> None:
    codec = WholeCodec((spec("x", "float32", 3), spec("t", "string")))
    back = codec.unpack(codec.pack(arrays))
    for one, other in zip(arrays, back, strict=True):
        assert (one.shape, one.tolist()) == (other.shape, other.tolist())


@pytest.mark.parametrize("cut", [0, 3, 4, 11, 20, 35])
def test_whole_codec_when_the_payload_is_cut_short_then_it_says_so(cut: int) -> None:
    codec = WholeCodec((spec("x", "float32", 3),))
    payload = codec.pack([np.zeros((2, 3), np.float32)])
    with pytest.raises(ValueError, match=r"payload of|buffer"):
        codec.unpack(payload[:cut])


def test_whole_codec_when_the_payload_says_too_many_axes_then_refused() -> None:
    codec = WholeCodec((spec("x", "float32", 3),))
    with pytest.raises(ValueError, match="65 axes; 64 are possible"):
        codec.unpack(b"\x41\0\0\0" * 80)


def test_layout_when_the_batch_axis_is_not_the_first_then_rows_are_moved_and_moved_back() -> None:
    state = TensorSpec(name="h", dtype="float32", shape=(2, None, 4), batch_axis=1)
    array = np.arange(24, dtype=np.float32).reshape((2, 3, 4))
    rows = rows_first(state, array)
    assert rows.shape == (3, 2, 4)
    assert np.array_equal(rows[1], array[:, 1])
    assert np.array_equal(model_layout(state, rows), array)
    plain = spec("x", "float32", 3)
    assert rows_first(plain, array) is array
    assert model_layout(plain, array) is array
