"""What the body of a request for jobs says: the model, and with that model's manifest the rows, packed for the queue.

Knows the JSON of each route that takes jobs; nothing of HTTP, Redis or which models there are. Small bodies are read in
the API's own process, large ones in another (api/body_process.py), which is why nothing here may import FastAPI.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from api.json_parsing import parse_json
from api.references import read_reference
from ferry.errors import InvalidInputError, MalformedRequestError
from ferry.json_forms import escape_pointer
from ferry.json_tensors import Rows, read_flat_input, read_inputs
from ferry.manifest import Manifest
from ferry.oip import InferRequest, read_infer_request, read_raw_request
from ferry.tensors import Codec

# Jobs that one request reads or submits.
MOST_AT_ONCE = 100
# How long the JSON at the head of a body with raw tensors is; 0: no JSON at all.
HEADER_LENGTH = "Inference-Header-Content-Length"
ID_EXPECTED = "expected 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or digit"
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_FIELDS = ("model", "version", "input")
_MANY_FIELDS = ("model", "version", "inputs", "ids")
_PREDICT_FIELDS = frozenset({"x", "model", "version"})
# More digits than any body's size has.
_MOST_DIGITS = 18


class Kind(StrEnum):
    """Which route's body it is."""

    PREDICTION = "prediction"
    MANY = "many"
    PREDICT = "predict"
    INFER = "infer"


@dataclass(frozen=True, slots=True)
class Reference:
    """The model that a body names, None: the default one; and the ids that its jobs are to have, if it says some."""

    name: str | None = None
    version: str | None = None
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The input of one job as the queue keeps it; the fields as in `ferry.json_tensors.Rows`."""

    payload: bytes
    n_rows: int
    single: bool


@dataclass(frozen=True, slots=True)
class JobInputs:
    """The inputs of a body's jobs. id, outputs and parameters: as in `ferry.oip.InferRequest`."""

    jobs: list[PackedRows]
    id: str = ""
    outputs: tuple[tuple[int, bool], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


class JobBody:
    """One body, parsed."""

    def __init__(self, kind: Kind, raw: bytes, json_length: str | None = None) -> None:
        """Parse a body and read which model it means; `json_length`: the header HEADER_LENGTH, of INFER only.

        Raises:
            MalformedRequestError: it is not JSON.
            InvalidInputError: with a pointer to the field at fault.
        """
        self._kind = kind
        self._raw = raw
        self._json_bytes = json_bytes_of(json_length, len(raw))
        self._value: Any = None
        if self._json_bytes or json_length is None:
            self._value = parse_json(raw[: self._json_bytes])
        if kind is not Kind.INFER and not isinstance(self._value, dict):
            raise InvalidInputError.at("#", "the body must be a JSON object")
        self.reference = _REFERENCES[kind](self._value)

    def read(self, manifest: Manifest, codec: Codec) -> JobInputs:
        """Return the inputs, checked against the manifest of the model and packed by the `codec` of its inputs.

        Raises:
            InvalidInputError: with a pointer to the field at fault.
        """
        if self._kind is Kind.INFER:
            asked = self._infer(manifest)
            return JobInputs([packed(codec, asked.rows)], asked.id, asked.outputs, asked.parameters)
        return JobInputs([packed(codec, rows) for rows in self._rows(manifest)])

    def _rows(self, manifest: Manifest) -> list[Rows]:
        if self._kind is Kind.PREDICTION:
            return [read_inputs(manifest, self._value.get("input"))]
        if self._kind is Kind.PREDICT:
            _check_scores(manifest)
            return [read_flat_input(manifest, self._value["x"], "#/x")]
        values = enumerate(self._value["inputs"])
        return [read_inputs(manifest, value, f"#/inputs/{place}") for place, value in values]

    def _infer(self, manifest: Manifest) -> InferRequest:
        if self._value is None and self._json_bytes == 0:
            return read_raw_request(manifest, self._raw)
        return read_infer_request(manifest, self._value, memoryview(self._raw)[self._json_bytes :])


def json_bytes_of(header: str | None, n_bytes: int) -> int:
    """Return how many bytes of a body of `n_bytes` are JSON, by the header HEADER_LENGTH, if it is there.

    Raises:
        MalformedRequestError: the header is not a number, or more than there are.
    """
    if header is None:
        return n_bytes
    if not header.isdecimal() or len(header) > _MOST_DIGITS or int(header) > n_bytes:
        raise MalformedRequestError(f"{HEADER_LENGTH} is {header[:20]!r}, the body has {n_bytes} bytes")
    return int(header)


def check_job_id(job_id: object, pointer: str) -> None:
    """Refuse what cannot be a job's id."""
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        raise InvalidInputError.at(pointer, ID_EXPECTED)


def packed(codec: Codec, rows: Rows) -> PackedRows:
    """Return the input of a job as the queue keeps it; `codec` is that of its model's inputs."""
    return PackedRows(codec.pack(rows.arrays), rows.n_rows, rows.single)


def _prediction_reference(body: dict[str, Any]) -> Reference:
    return Reference(*_model_reference(body, _FIELDS, "input"))


def _many_reference(body: dict[str, Any]) -> Reference:
    name, version = _model_reference(body, _MANY_FIELDS, "inputs")
    n_jobs = len(_list_of(body["inputs"], "inputs"))
    return Reference(name, version, _ids(body.get("ids"), n_jobs))


def _predict_reference(body: dict[str, Any]) -> Reference:
    for name in body:
        if name not in _PREDICT_FIELDS:
            detail = f"unknown field {name[:40]!r}; expected x, and model or version if not the default"
            raise InvalidInputError.at(f"#/{escape_pointer(name)}", detail)
    if "x" not in body:
        raise InvalidInputError.at("#/x", "'x' is missing: the row to classify")
    return Reference(*read_reference(body)) if "model" in body or "version" in body else Reference()


def _infer_reference(_: Any) -> Reference:
    return Reference()  # the path names the model


_REFERENCES = {
    Kind.PREDICTION: _prediction_reference,
    Kind.MANY: _many_reference,
    Kind.PREDICT: _predict_reference,
    Kind.INFER: _infer_reference,
}


def _model_reference(body: dict[str, Any], known: tuple[str, ...], needed: str) -> tuple[str, str | None]:
    """Return model name and version, when the body has the known fields alone, and the one that is needed."""
    for name in body:
        if name not in known:
            detail = f"unknown field {name[:40]!r}; expected {', '.join(known[:-1])} and {known[-1]}"
            raise InvalidInputError.at(f"#/{escape_pointer(name)}", detail)
    reference = read_reference(body)
    if needed not in body:
        raise InvalidInputError.at(f"#/{needed}", f"{needed!r} is missing")
    return reference


def _list_of(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_AT_ONCE:
        raise InvalidInputError.at(
            f"#/{name}", f"expected a list of 1 to {MOST_AT_ONCE}; send more in several requests"
        )
    return value


def _ids(value: Any, count: int) -> tuple[str, ...] | None:
    """Return the client's ids of that many jobs, if it has some."""
    if value is None:
        return None
    ids = _list_of(value, "ids")
    if len(ids) != count:
        raise InvalidInputError.at("#/ids", f"{len(ids)} ids for {count} inputs; expected one for each")
    for place, job_id in enumerate(ids):
        check_job_id(job_id, f"#/ids/{place}")
    if len(set(ids)) < count:
        raise InvalidInputError.at("#/ids", "an id stands there twice; expected another for each input")
    return tuple(ids)


def _check_scores(manifest: Manifest) -> None:
    """Refuse a model that /predict cannot answer for."""
    if len(manifest.inputs) != 1:
        names = ", ".join(spec.name for spec in manifest.inputs)
        detail = f"{manifest.ref} has {len(manifest.inputs)} inputs ({names}), /predict takes one; use /v1/predictions"
        raise InvalidInputError.at("#/model", detail)
    output = manifest.outputs[manifest.labels_index]
    if len(output.inner_shape) != 1 or output.is_string:
        detail = f"{manifest.ref} does not give one score per class; use /v1/predictions"
        raise InvalidInputError.at("#/model", detail)
