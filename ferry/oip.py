"""The Open Inference Protocol's infer call: request to checked arrays, arrays to response. Knows nothing of HTTP.

Source: Open Inference Protocol V2 with Triton's binary tensor extension. JSON comes first in the body; the elements of
binary inputs follow it in the order of the inputs, row-major and little-endian.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ferry.errors import InvalidInputError
from ferry.json_elements import fits, kind_of, settle_and_check, show, show_sizes
from ferry.json_tensors import Rows, check_rows, read_shaped
from ferry.manifest import Manifest, TensorSpec
from ferry.tensors import MAX_AXES, Array, array_from_raw, model_layout, raw_from_array, rows_first

_REQUEST_FIELDS = frozenset({"id", "parameters", "inputs", "outputs"})
MAX_ID_CHARS = 256
# numpy makes no array whose axes other than the empty ones multiply to more.
_MAX_TENSOR_BYTES = 2**62


class AskedOutputs(Protocol):
    """What a response needs of its request; the fields as in `InferRequest`."""

    @property
    def id(self) -> str:
        """The request's own id, or nothing."""

    @property
    def outputs(self) -> tuple[tuple[int, bool], ...]:
        """Which outputs, and which of them as raw bytes."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A checked request, its parameters as they came.

    outputs: index into the manifest's outputs, and whether it is to come as raw bytes.
    """

    rows: Rows
    id: str
    outputs: tuple[tuple[int, bool], ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def read_infer_request(manifest: Manifest, body: Any, tail: bytes | memoryview = b"") -> InferRequest:
    """Check a request against the manifest; `tail` are the bytes after the JSON.

    Raises:
        InvalidInputError: with a pointer to the field at fault.
    """
    fields = _object(body, "#")
    for name in fields:
        if name not in _REQUEST_FIELDS:
            raise InvalidInputError.at("#", f"unknown field {name[:40]!r}; expected id, parameters, inputs and outputs")
    request_id = fields.get("id", "")
    if not isinstance(request_id, str) or len(request_id) > MAX_ID_CHARS:
        raise InvalidInputError.at("#/id", f"expected text of up to {MAX_ID_CHARS} characters")
    parameters = _object(fields.get("parameters", {}), "#/parameters")
    rows = _read_inputs(manifest, fields.get("inputs"), tail)
    return InferRequest(rows, request_id, _read_outputs(manifest, fields.get("outputs"), parameters), parameters)


def read_raw_request(manifest: Manifest, body: bytes) -> InferRequest:
    """Check a body that is one row of a one-input model's raw elements; all outputs come as raw bytes.

    Where the input has no batch axis, the body is the whole tensor.

    Raises:
        InvalidInputError: the model has several inputs or axes of any size, or the bytes are not one row.
    """
    spec = manifest.inputs[0]
    shape = [1 if size is None and axis == spec.batch_axis else size for axis, size in enumerate(spec.shape)]
    if len(manifest.inputs) != 1 or spec.has_any_rank or None in shape:
        raise InvalidInputError.at("#", f"{manifest.ref} needs a request with JSON: a raw body names no shape or input")
    raw = _with_length(body) if spec.is_string else body
    array = _from_raw(spec, tuple(size or 0 for size in shape), raw, "#")
    rows = Rows([rows_first(spec, array) if manifest.is_batched else array], n_rows=1, single=False)
    return InferRequest(rows, "", tuple((index, True) for index in range(len(manifest.outputs))))


def infer_response(
    manifest: Manifest, request: AskedOutputs, arrays: Sequence[Array]
) -> tuple[dict[str, Any], list[bytes]]:
    """Return the JSON of a response and the raw bytes that follow it; `arrays` are as the job's codec unpacks them."""
    outputs, tail = [], []
    for index, is_binary in request.outputs:
        spec, array = manifest.outputs[index], arrays[index]
        if spec.batch_axis and manifest.is_batched:
            array = model_layout(spec, array)
        output: dict[str, Any] = {"name": spec.name, "shape": list(array.shape), "datatype": spec.oip_datatype}
        if is_binary:
            tail.append(raw_from_array(spec, array))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            flat = array.reshape(-1)
            output["data"] = flat.tolist() if spec.is_string else np.ascontiguousarray(flat)
        outputs.append(output)
    response: dict[str, Any] = {"model_name": manifest.name, "model_version": manifest.version, "outputs": outputs}
    if request.id:
        response["id"] = request.id
    return response, tail


def _read_inputs(manifest: Manifest, value: Any, tail: bytes | memoryview) -> Rows:
    if not isinstance(value, list):
        raise InvalidInputError.at("#/inputs", "expected a list of inputs")
    arrays: dict[str, Array] = {}
    offset = 0
    for index, each in enumerate(value):
        pointer = f"#/inputs/{index}"
        item = _object(each, pointer)
        spec = _spec_of(manifest.inputs, item.get("name"), f"{pointer}/name", manifest.ref)
        if spec.name in arrays:
            raise InvalidInputError.at(f"{pointer}/name", f"input {spec.name!r} is there twice")
        size = _binary_size(item, pointer)
        raw = None if size is None else tail[offset : offset + size]
        if raw is not None and len(raw) != size:
            detail = f"{size} bytes are announced for {spec.name!r}, the body holds {len(raw)} more"
            raise InvalidInputError.at(f"{pointer}/parameters/binary_data_size", detail)
        offset += size or 0
        arrays[spec.name] = _read_tensor(spec, item, raw, pointer)
    if offset != len(tail):
        raise InvalidInputError.at("#", f"{len(tail) - offset} bytes follow the last announced input")
    return _rows(manifest, arrays)


def _rows(manifest: Manifest, arrays: Mapping[str, Array]) -> Rows:
    for spec in manifest.inputs:
        if spec.name not in arrays:
            raise InvalidInputError.at("#/inputs", f"input {spec.name!r} is missing")
    if not manifest.is_batched:
        return Rows([arrays[spec.name] for spec in manifest.inputs], 1, single=False)
    rows = [rows_first(spec, arrays[spec.name]) for spec in manifest.inputs]
    counts = {array.shape[0] for array in rows}
    if len(counts) > 1:
        raise InvalidInputError.at("#/inputs", f"inputs have different numbers of rows ({sorted(counts)})")
    n_rows = counts.pop()
    check_rows(manifest, n_rows, "#/inputs")
    return Rows(rows, n_rows, single=False)


def _read_tensor(spec: TensorSpec, item: Mapping[str, Any], raw: bytes | memoryview | None, pointer: str) -> Array:
    datatype = item.get("datatype")
    if not isinstance(datatype, str) or datatype != spec.oip_datatype:
        detail = f"expected {spec.oip_datatype}, got {_named(datatype)}"
        raise InvalidInputError.at(f"{pointer}/datatype", detail)
    shape = _shape(spec, item.get("shape"), f"{pointer}/shape")
    if raw is not None:
        return _from_raw(spec, shape, raw, f"{pointer}/parameters/binary_data_size")
    if "data" not in item:
        raise InvalidInputError.at(f"{pointer}/data", f"input {spec.name!r} has no data")
    return read_shaped(spec, item["data"], shape, f"{pointer}/data")


def _from_raw(spec: TensorSpec, shape: tuple[int, ...], raw: bytes | memoryview, pointer: str) -> Array:
    try:
        array = array_from_raw(spec, shape, raw)
    except (ValueError, OverflowError) as error:
        detail = f"{len(raw)} bytes are not the {spec.oip_datatype} elements of shape {list(shape)}: {error}"
        raise InvalidInputError.at(pointer, detail) from None
    if spec.dtype == "bool" and (array.view(np.uint8) > 1).any():
        raise InvalidInputError.at(pointer, "a BOOL is a byte of 0 or 1")
    return settle_and_check(spec, array, pointer, row_axis=spec.batch_axis)


def _shape(spec: TensorSpec, value: Any, pointer: str) -> tuple[int, ...]:
    is_short = isinstance(value, list) and len(value) <= MAX_AXES
    is_shape = is_short and all(type(size) is int and 0 <= size < 2**32 for size in value)
    if not is_shape or not fits(spec, value):
        sizes = [-1 if size is None else size for size in spec.shape]
        wanted = f"up to {MAX_AXES} sizes" if spec.has_any_rank else f"{sizes} (-1 is any size)"
        # Clients copy the model's own shape, in which -1 stands.
        known = "" if is_shape else "; a shape that is sent has whole numbers from 0 alone"
        raise InvalidInputError.at(pointer, f"expected {wanted}, got {show_sizes(value)}{known}")
    # Without an empty axis the number of elements that came tells.
    if 0 in value and math.prod(size or 1 for size in value) * spec.numpy_dtype.itemsize > _MAX_TENSOR_BYTES:
        raise InvalidInputError.at(
            pointer, f"no tensor has the shape {show_sizes(value)}: its axes are too long together"
        )
    return tuple(value)


def _read_outputs(manifest: Manifest, value: Any, parameters: Mapping[str, Any]) -> tuple[tuple[int, bool], ...]:
    default = parameters.get("binary_data_output", False) is True
    if value is None or (isinstance(value, list) and not value):
        return tuple((index, default) for index in range(len(manifest.outputs)))
    if not isinstance(value, list):
        raise InvalidInputError.at("#/outputs", "expected a list of outputs")
    wanted = []
    for index, each in enumerate(value):
        pointer = f"#/outputs/{index}"
        item = _object(each, pointer)
        spec = _spec_of(manifest.outputs, item.get("name"), f"{pointer}/name", manifest.ref)
        own = _object(item.get("parameters", {}), f"{pointer}/parameters")
        wanted.append((manifest.outputs.index(spec), own.get("binary_data", default) is True))
    return tuple(wanted)


def _binary_size(item: Mapping[str, Any], pointer: str) -> int | None:
    size = _object(item.get("parameters", {}), f"{pointer}/parameters").get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidInputError.at(f"{pointer}/parameters/binary_data_size", "expected a number of bytes")
    return size


def _spec_of(specs: Sequence[TensorSpec], name: Any, pointer: str, ref: str) -> TensorSpec:
    for spec in specs:
        if isinstance(name, str) and spec.name == name:  # many numbers come as an array, which compares item by item
            return spec
    names = ", ".join(repr(spec.name) for spec in specs)
    raise InvalidInputError.at(pointer, f"{ref} has no {_named(name)} here; there are {names}")


def _named(value: Any) -> str:
    """Return what stands where a name should, for an error: a large value is not written out to show its beginning."""
    return show(value) if isinstance(value, str) else kind_of(value)


def _object(value: Any, pointer: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError.at(pointer, "expected an object")
    return value


def _with_length(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text
