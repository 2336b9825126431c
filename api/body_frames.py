"""The messages between an API process and its body reader: a small JSON object and bytes. Knows nothing of their use.

On the wire: the length of the JSON (uint32) and of the bytes (uint64), little-endian, then both.
"""

import struct
from dataclasses import asdict
from typing import Any

import orjson

from api.job_bodies import JobInputs, PackedRows, Reference
from ferry.errors import Fault, FerryError, InvalidInputError, MalformedRequestError

LENGTHS = struct.Struct("<IQ")
# Of a V2 request's parameters these two are read after its tensors; the others mean nothing here.
_PARAMETERS = ("priority", "timeout")
_ERRORS: dict[str, type[FerryError]] = {kind.code: kind for kind in (InvalidInputError, MalformedRequestError)}


def head_of(message: dict[str, Any], n_bytes: int) -> bytes:
    """Return what goes before a message's `n_bytes` bytes."""
    text = orjson.dumps(message)
    return LENGTHS.pack(len(text), n_bytes) + text


def reference_to_wire(reference: Reference) -> dict[str, Any]:
    """Return which model a body names."""
    return asdict(reference)


def reference_from_wire(message: dict[str, Any]) -> Reference:
    """Return what `reference_to_wire` was given."""
    ids = message["ids"]
    return Reference(message["name"], message["version"], None if ids is None else tuple(ids))


def inputs_to_wire(inputs: JobInputs) -> dict[str, Any]:
    """Return all but the payloads, which follow one after the other."""
    jobs = [(len(job.payload), job.n_rows, job.single) for job in inputs.jobs]
    parameters = {name: _scalar(inputs.parameters[name]) for name in _PARAMETERS if name in inputs.parameters}
    return {"jobs": jobs, "id": inputs.id, "outputs": inputs.outputs, "parameters": parameters}


def inputs_from_wire(message: dict[str, Any], payloads: memoryview) -> JobInputs:
    """Return what `inputs_to_wire` was given."""
    jobs, offset = [], 0
    for n_bytes, n_rows, single in message["jobs"]:
        jobs.append(PackedRows(bytes(payloads[offset : offset + n_bytes]), n_rows, single))
        offset += n_bytes
    outputs = tuple((index, is_binary) for index, is_binary in message["outputs"])
    return JobInputs(jobs, message["id"], outputs, message["parameters"])


def error_to_wire(error: FerryError) -> dict[str, Any]:
    """Return an error of a body."""
    return {"code": error.code, "detail": error.detail, "faults": [asdict(fault) for fault in error.faults]}


def error_from_wire(message: dict[str, Any]) -> FerryError:
    """Return what `error_to_wire` was given."""
    faults = tuple(Fault(**fault) for fault in message["faults"])
    return _ERRORS.get(message["code"], FerryError)(message["detail"], faults=faults)


def _scalar(value: Any) -> Any:
    """Return a value; None for one that is none of a parameter, whatever it is."""
    return value if type(value) is int and abs(value) < 2**63 else None
