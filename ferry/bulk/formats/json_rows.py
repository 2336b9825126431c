"""Bodies of many lines to arrays: those of one shape in one conversion, the rest one by one for their own errors.

Knows the synchronous calls' bodies; nothing of files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from ferry.bulk.formats.base import Asked, Group, RowFault, Rules, input_fault
from ferry.bulk.formats.row_counts import count_rows
from ferry.errors import InvalidInputError
from ferry.json_forms import is_column
from ferry.json_tensors import Rows, check_rows, read_inputs, read_shaped
from ferry.manifest import MAX_MAX_JOB_ROWS, Manifest
from ferry.oip import MAX_ID_CHARS, read_infer_request
from ferry.tensors import Array, without_batch_axis

# Lines parsed and converted together: more gain nothing. When one is faulty those of its shape are read one by one.
BLOCK_LINES = 32
_PLAIN_INFER = frozenset({"name", "shape", "datatype", "data"})
_REFERENCE = frozenset({"model", "version"})
_PREDICTION = _REFERENCE | {"input"}


@dataclass(slots=True)
class _Row:
    """A line's rows, with what it wanted back. `arrays` is empty where they are the block's."""

    position: int
    count: int
    arrays: list[Array]
    single: bool = False
    asked: Asked | None = None


_Piece = tuple[list[_Row], list[Array]]


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one endpoint's bodies are read: a key that those of one shape share, many of one key, and one alone."""

    shape: Callable[[Any, Manifest], Any]
    together: Callable[[Sequence[Any], Sequence[int], Manifest], _Piece]
    alone: Callable[[Any, int, Manifest], _Row]


def read_bodies(bodies: Iterable[tuple[int, Any]], rules: Rules) -> tuple[tuple[Group, ...], list[RowFault]]:
    """Return the groups and faults of (position, body) of a chunk's lines, by endpoint.

    They are taken a block at a time: held all at once, their many lists keep the garbage collector busy.
    """
    reader = _INFER if rules.endpoint == "infer" else _PREDICTIONS
    share_shapes = rules.manifest.has_rows_first
    pieces: list[_Piece] = []
    faults: list[RowFault] = []
    each = iter(bodies)
    while block := list(islice(each, BLOCK_LINES)):
        shapes: dict[Any, list[tuple[int, Any]]] = {}
        for position, body in block:
            key = reader.shape(body, rules.manifest) if share_shapes else None
            shapes.setdefault(key, []).append((position, body))
        for shape, lines in shapes.items():
            positions, same = [position for position, _ in lines], [body for _, body in lines]
            done = None if shape is None else _together(reader, same, positions, rules.manifest)
            if done is not None:
                pieces.append(done)
                continue
            for position, body in lines:
                try:
                    row = reader.alone(body, position, rules.manifest)
                    pieces.append(([row], row.arrays if rules.manifest.is_batched else _as_entry(row, rules.manifest)))
                except InvalidInputError as error:
                    count = count_rows(body, rules.manifest)
                    faults.append(replace(input_fault(position, error, rules), count=count))
    return _groups(pieces, by_singles=not rules.manifest.is_batched), faults


def _as_entry(row: _Row, manifest: Manifest) -> list[Array]:
    """Return a whole job as one entry of a group: its arrays behind an axis of their own. See `Group`."""
    pairs = zip(manifest.inputs, row.arrays, strict=True)
    return [(without_batch_axis(spec, array) if row.single else array)[np.newaxis] for spec, array in pairs]


def _together(reader: "_Reader", bodies: list[Any], positions: list[int], manifest: Manifest) -> _Piece | None:
    """Return the rows of a block; None where a line is at fault, for reading alone to say which."""
    limit = manifest.batching.max_job_rows
    batching = manifest.batching.model_copy(update={"max_job_rows": BLOCK_LINES * MAX_MAX_JOB_ROWS})
    try:
        rows, arrays = reader.together(bodies, positions, manifest.model_copy(update={"batching": batching}))
    except InvalidInputError:
        return None
    return (rows, arrays) if all(row.count <= limit for row in rows) else None


def _groups(pieces: list[_Piece], *, by_singles: bool) -> tuple[Group, ...]:
    by_shape: dict[object, list[_Piece]] = {}
    for piece in pieces:
        single = piece[0][0].single if by_singles else None
        by_shape.setdefault((single, *(array.shape[1:] for array in piece[1])), []).append(piece)
    groups = []
    for same in by_shape.values():
        # Pieces keep ascending positions inside; between them the order is restored when outputs are written.
        rows = [row for piece in same for row in piece[0]]
        arrays = [
            np.concatenate(parts) if len(parts) > 1 else parts[0]
            for parts in zip(*(piece[1] for piece in same), strict=True)
        ]
        groups.append(
            Group(
                tuple(row.position for row in rows),
                arrays,
                tuple(row.count for row in rows),
                tuple(row.single for row in rows),
                tuple(row.asked for row in rows),
            )
        )
    return tuple(groups)


# --- /v1/predictions


def _input_of(body: Any) -> Any:
    """Return the input in a body; a body without any field of a prediction is the input itself, as tables write it."""
    return body.get("input") if _PREDICTION & body.keys() else body


def _input_shape(body: Any, manifest: Manifest) -> Any:
    """Return a key that bodies of one shape share, told by their first elements; None for one to be read alone."""
    if not isinstance(body, dict) or body.keys() & _REFERENCE:
        return None
    inputs = _input_of(body)
    if not isinstance(inputs, dict) or len(inputs) != len(manifest.inputs):
        return None
    if any(spec.name not in inputs for spec in manifest.inputs):
        return None
    return tuple(_sizes(inputs[spec.name]) for spec in manifest.inputs)


def _sizes(value: Any) -> tuple[int, ...]:
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(sizes)


def _input_together(bodies: Sequence[Any], positions: Sequence[int], manifest: Manifest) -> _Piece:
    inputs = [_input_of(body) for body in bodies]
    depths = [len(_sizes(inputs[0][spec.name])) - len(spec.shape) for spec in manifest.inputs]
    if all(
        depth == -1 or (depth == -len(spec.shape) and is_column(spec))
        for spec, depth in zip(manifest.inputs, depths, strict=True)
    ):
        rows = read_inputs(manifest, {spec.name: [each[spec.name] for each in inputs] for spec in manifest.inputs})
        _check_count(rows, len(bodies))
        return [_Row(position, 1, [], single=True) for position in positions], rows.arrays
    if set(depths) != {0}:
        raise InvalidInputError("to be read alone")
    counts = [len(each[manifest.inputs[0].name]) for each in inputs]
    whole = {spec.name: [row for each in inputs for row in each[spec.name]] for spec in manifest.inputs}
    rows = read_inputs(manifest, whole)
    _check_count(rows, sum(counts))
    return [_Row(p, count, []) for p, count in zip(positions, counts, strict=True)], rows.arrays


def _check_count(rows: Rows, n_rows: int) -> None:
    if rows.n_rows != n_rows or rows.single:
        raise InvalidInputError("to be read alone")


def _input_alone(body: Any, position: int, manifest: Manifest) -> _Row:
    if not isinstance(body, dict):
        raise InvalidInputError.at("#", "expected an object")
    if _PREDICTION & body.keys():
        _check_prediction(body, manifest)
    rows = read_inputs(manifest, _input_of(body))
    return _Row(position, rows.n_rows, rows.arrays, single=rows.single)


def _check_prediction(body: Mapping[str, Any], manifest: Manifest) -> None:
    for name in body:
        if name not in _PREDICTION:
            raise InvalidInputError.at("#", f"unknown field {name[:40]!r}; expected model, version and input")
    for field in sorted(_REFERENCE & body.keys()):
        version = body[field]
        if version is not None and str(version) not in (manifest.ref, manifest.name, manifest.version):
            raise InvalidInputError.at(f"#/{field}", f"the batch runs {manifest.ref}, got {str(version)[:40]!r}")
    if "input" not in body:
        raise InvalidInputError.at("#/input", "input is missing")


# --- /v2/models/{name}/infer

# Begins the key of lines that have the body of a prediction.
_AS_PREDICTION = "prediction"


def _infer_shape(body: Any, manifest: Manifest) -> Any:
    """Return a key that plain requests of one shape share; None for one to be read alone."""
    if isinstance(body, dict) and "inputs" not in body:
        shape = _input_shape(body, manifest)
        return None if shape is None else (_AS_PREDICTION, *shape)
    if not isinstance(body, dict) or body.keys() - {"inputs", "id"} or not isinstance(body["inputs"], list):
        return None
    inputs = body["inputs"]
    if len(inputs) != len(manifest.inputs):
        return None
    key: list[Any] = []
    for item, spec in zip(inputs, manifest.inputs, strict=True):
        if not isinstance(item, dict) or item.keys() != _PLAIN_INFER or item["name"] != spec.name:
            return None
        shape = item["shape"]
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            return None
        key += [tuple(shape), _sizes(item["data"])]
    return tuple(key)


def _infer_together(bodies: Sequence[Any], positions: Sequence[int], manifest: Manifest) -> _Piece:
    if "inputs" not in bodies[0]:
        taken, arrays = _input_together(bodies, positions, manifest)
        return [_as_infer(row, manifest) for row in taken], arrays
    # The first line is read in full: what it passes, lines of the same shape and datatype pass too, but for values.
    request = read_infer_request(manifest, bodies[0])
    arrays = []
    for place, spec in enumerate(manifest.inputs):
        items = [body["inputs"][place] for body in bodies]
        if any(item["datatype"] != spec.oip_datatype for item in items):
            raise InvalidInputError("to be read alone")
        shape = (request.rows.n_rows * len(bodies), *request.rows.arrays[place].shape[1:])
        arrays.append(read_shaped(spec, [item["data"] for item in items], shape, "#"))
    outputs = tuple((index, False) for index in range(len(manifest.outputs)))
    rows = []
    for position, body in zip(positions, bodies, strict=True):
        request_id = body.get("id", "")
        if request_id != "":
            _check_id(request_id)
        rows.append(_Row(position, request.rows.n_rows, [], asked=Asked(request_id, outputs)))
    return rows, arrays


def _check_id(request_id: Any) -> None:
    if not isinstance(request_id, str) or len(request_id) > MAX_ID_CHARS:
        raise InvalidInputError("to be read alone")


def _infer_alone(body: Any, position: int, manifest: Manifest) -> _Row:
    """Read a body of either protocol; the answer is the infer protocol's, as the batch's endpoint says."""
    if isinstance(body, dict) and "inputs" not in body:
        return _as_infer(_input_alone(body, position, manifest), manifest)
    request = read_infer_request(manifest, body)
    if any(is_binary for _, is_binary in request.outputs):
        raise InvalidInputError.at("#/outputs", "a line of JSON has no room for raw bytes; ask for JSON outputs")
    check_rows(manifest, request.rows.n_rows, "#/inputs")
    return _Row(position, request.rows.n_rows, request.rows.arrays, asked=Asked(request.id, request.outputs))


def _as_infer(row: _Row, manifest: Manifest) -> _Row:
    """Return the row of a prediction's body, answered as the infer protocol does: every output, with the batch axis."""
    every = tuple((index, False) for index in range(len(manifest.outputs)))
    return replace(row, single=False, asked=Asked("", every))


_PREDICTIONS = _Reader(_input_shape, _input_together, _input_alone)
_INFER = _Reader(_infer_shape, _infer_together, _infer_alone)
