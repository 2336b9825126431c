"""Tensors as bytes: how a job's inputs and outputs are stored in Redis. Knows the manifest's specs, nothing of JSON.

Rows (batched execution): a payload is the sizes of every tensor's axes, rows first (little-endian uint32, tensors in
the manifest's order), then for each tensor its elements in row-major order: numbers raw and little-endian, bool one
byte, text as 4-byte little-endian length and UTF-8 bytes per element (the Open Inference Protocol's BYTES) after a
uint32 with their total size. Whole jobs: the same, but each tensor is in the model's own layout, and the number of its
axes (uint32) is written before their sizes.
"""

import math
import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from ferry.manifest import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]
_U32 = struct.Struct("<I")
# numpy's own limit.
MAX_AXES = 64
# Copying this much twice costs as much as taking one payload apart by itself.
_TOGETHER_MAX_BYTES = 32 * 1024


class Codec(Protocol):
    """Packs and unpacks the arrays of one signature (all inputs, or all outputs, of a model)."""

    specs: tuple[TensorSpec, ...]

    def pack(self, arrays: Sequence[Array]) -> bytes:
        """Return the payload of `arrays`, one per spec."""

    def unpack(self, payload: bytes) -> list[Array]:
        """Return the arrays of a payload.

        Raises:
            ValueError: when the payload is not one of this signature.
        """


class TensorCodec:
    """The codec of rows: every array is (N, *inner), wherever the model itself has its batch axis."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.specs = tuple(specs)
        self._has_text = any(spec.is_string for spec in self.specs)
        self._dims = struct.Struct("<" + "I" * sum(len(spec.shape) for spec in self.specs))

    def pack(self, arrays: Sequence[Array]) -> bytes:
        """Return the payload of `arrays`, one per spec, each of shape (N, *inner)."""
        dims = [size for array in arrays for size in array.shape]
        parts: list[bytes | memoryview] = [self._dims.pack(*dims)]
        for spec, array in zip(self.specs, arrays, strict=True):
            parts.append(_pack_text(array) if spec.is_string else _raw(spec, array))
        return b"".join(parts)

    def unpack(self, payload: bytes) -> list[Array]:
        """Return the arrays of a payload; numbers are read-only views into it.

        Raises:
            ValueError: when the payload is not one of this signature (damaged, or of another release).
        """
        try:
            dims = self._dims.unpack_from(payload)
            offset, axis, arrays = self._dims.size, 0, []
            for spec in self.specs:
                shape = dims[axis : axis + len(spec.shape)]
                array, offset = _take(spec, shape, payload, offset)
                axis += len(shape)
                arrays.append(array)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"payload of {len(payload)} bytes does not hold its tensors: {error}") from None
        if offset != len(payload):
            raise ValueError(f"payload of {len(payload)} bytes holds {offset} bytes of tensors")
        return arrays

    def unpack_together(self, payloads: Sequence[bytes]) -> list[Array] | None:
        """Return the rows of many payloads as one array per spec; None where they must be unpacked one by one.

        They must be small, of one shape and without text. It is done at the speed of C, with two copies of the bytes,
        where `unpack` costs 5 µs of Python a payload; so it pays for small ones.

        Raises:
            ValueError: as `unpack`.
        """
        first = payloads[0]
        if len(payloads) == 1:
            return self.unpack(first)
        head = first[: self._dims.size]
        if (
            self._has_text
            or len(first) > _TOGETHER_MAX_BYTES
            or any(len(each) != len(first) or not each.startswith(head) for each in payloads)
        ):
            return None
        table = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), len(first))
        arrays, offset = [], self._dims.size
        for array in self.unpack(first):
            if not array.nbytes:
                return None
            part = np.ascontiguousarray(table[:, offset : offset + array.nbytes]).view(array.dtype)
            arrays.append(part.reshape((-1, *array.shape[1:])))
            offset += array.nbytes
        return arrays

    def pack_apart(self, arrays: Sequence[Array], counts: Sequence[int]) -> list[bytes]:
        """Return one payload per entry of `counts`: the next so many rows of each array, each of shape (N, *inner)."""
        n_rows = counts[0]
        if self._has_text or n_rows == 0 or any(count != n_rows for count in counts):
            ends = list(accumulate(counts))
            return [
                self.pack([array[end - count : end] for array in arrays])
                for count, end in zip(counts, ends, strict=True)
            ]
        head = self._dims.pack(*(size for array in arrays for size in (n_rows, *array.shape[1:])))
        parts = [np.tile(np.frombuffer(head, np.uint8), (len(counts), 1))]
        for spec, array in zip(self.specs, arrays, strict=True):
            raw = np.ascontiguousarray(array[: n_rows * len(counts)], dtype=spec.numpy_dtype)
            parts.append(np.frombuffer(raw.tobytes(), np.uint8).reshape(len(counts), -1))
        table = np.concatenate(parts, axis=1)
        data, size = table.tobytes(), table.shape[1]
        return [data[start : start + size] for start in range(0, len(data), size)]


class WholeCodec:
    """The codec of whole jobs: every array has the model's own layout, and its shape travels with it."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self.specs = tuple(specs)

    def pack(self, arrays: Sequence[Array]) -> bytes:
        """Return the payload of `arrays`, one per spec, of any shape."""
        parts: list[bytes | memoryview] = []
        for array in arrays:
            parts += [_U32.pack(size) for size in (array.ndim, *array.shape)]
        for spec, array in zip(self.specs, arrays, strict=True):
            parts.append(_pack_text(array) if spec.is_string else _raw(spec, array))
        return b"".join(parts)

    def unpack(self, payload: bytes) -> list[Array]:
        """Return the arrays of a payload; numbers are read-only views into it.

        Raises:
            ValueError: when the payload is not one of this signature (damaged, or of another version).
        """
        offset, shapes, arrays = 0, [], []
        try:
            for _ in self.specs:
                (n_axes,) = _U32.unpack_from(payload, offset)
                if n_axes > MAX_AXES:
                    raise ValueError(f"payload says a tensor of {n_axes} axes; {MAX_AXES} are possible")
                shapes.append(struct.unpack_from(f"<{n_axes}I", payload, offset + _U32.size))
                offset += _U32.size * (1 + n_axes)
            for spec, shape in zip(self.specs, shapes, strict=True):
                array, offset = _take(spec, shape, payload, offset)
                arrays.append(array)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"payload of {len(payload)} bytes does not hold its tensors: {error}") from None
        if offset != len(payload):
            raise ValueError(f"payload of {len(payload)} bytes holds {offset} bytes of tensors")
        return arrays


def codec_of(specs: Sequence[TensorSpec], *, is_batched: bool) -> Codec:
    """Return the codec for the inputs, or the outputs, of a model that is executed so."""
    return TensorCodec(specs) if is_batched else WholeCodec(specs)


def rows_first(spec: TensorSpec, array: Array) -> Array:
    """Return an array of the model's layout as rows: the batch axis becomes the first."""
    return array if not spec.batch_axis else np.ascontiguousarray(np.moveaxis(array, spec.batch_axis, 0))


def model_layout(spec: TensorSpec, rows: Array) -> Array:
    """Return rows (N, *inner) in the model's layout; `rows_first` undoes it."""
    return rows if not spec.batch_axis else np.ascontiguousarray(np.moveaxis(rows, 0, spec.batch_axis))


def without_batch_axis(spec: TensorSpec, array: Array) -> Array:
    """Return the one row of a whole job's array without its batch axis; an array without such an axis as it is."""
    axis = spec.batch_axis
    # Not `take`, which gives no array but the bare element where that was the only axis.
    return array if axis is None or array.shape[axis : axis + 1] != (1,) else array.squeeze(axis)


def with_batch_axis(spec: TensorSpec, array: Array) -> Array:
    """Return what `without_batch_axis` gave as the model has it."""
    axis = spec.batch_axis
    return array if axis is None or array.ndim == len(spec.shape) else np.expand_dims(array, axis)


def array_from_raw(spec: TensorSpec, shape: tuple[int, ...], raw: bytes | memoryview) -> Array:
    """Return the array that `raw` holds: row-major and little-endian, text as 4-byte length and UTF-8 bytes each.

    Raises:
        ValueError: when the bytes are not exactly that many elements.
    """
    payload = _U32.pack(len(raw)) + bytes(raw) if spec.is_string else raw
    array, end = _take(spec, shape, payload, 0)
    if end != len(payload):
        raise ValueError(f"{len(raw)} bytes are not {math.prod(shape)} elements of {spec.dtype}")
    return array


def raw_from_array(spec: TensorSpec, array: Array) -> bytes:
    """Return the bytes of an array, as `array_from_raw` reads them."""
    return _pack_text(array)[_U32.size :] if spec.is_string else bytes(_raw(spec, array))


def _raw(spec: TensorSpec, array: Array) -> memoryview:
    # A view of what is in place already: the bytes of a large tensor are copied once, when they are joined.
    return np.ascontiguousarray(array, dtype=spec.numpy_dtype).reshape(-1).view(np.uint8).data


def _pack_text(array: Array) -> bytes:
    parts: list[bytes] = []
    for element in array.reshape(-1):
        text = element if isinstance(element, bytes) else str(element).encode("utf-8")
        parts += (_U32.pack(len(text)), text)
    body = b"".join(parts)
    return _U32.pack(len(body)) + body


def _take(spec: TensorSpec, shape: tuple[int, ...], payload: bytes | memoryview, offset: int) -> tuple[Array, int]:
    count = math.prod(shape)
    if not spec.is_string:
        end = offset + count * spec.numpy_dtype.itemsize
        return np.frombuffer(payload, spec.numpy_dtype, count, offset).reshape(shape), end
    (size,) = _U32.unpack_from(payload, offset)
    texts, offset, end = [], offset + _U32.size, offset + _U32.size + size
    while offset < end:
        (length,) = _U32.unpack_from(payload, offset)
        offset += _U32.size
        texts.append(str(payload[offset : offset + length], "utf-8"))
        offset += length
    if offset != end:
        raise ValueError(f"texts reach to byte {offset} of the payload, expected {end}")
    return np.array(texts, dtype=object).reshape(shape), end
