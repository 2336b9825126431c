"""Bodies of many lines to arrays: those of one shape in one conversion, the rest one by one for their own errors.

Knows the synchronous calls' bodies; nothing of files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferry.bulk.formats.base import Asked, Group, RowFault, Rules, input_fault
from ferry.errors import InvalidInputError
from ferry.json_tensors import Rows, check_range, check_rows, read_inputs, read_shaped
from ferry.manifest import MAX_MAX_JOB_ROWS, Manifest
from ferry.oip import MAX_ID_CHARS, read_infer_request
from ferry.tensors import Array

# Lines of one shape converted together. When one of them is faulty all are read again one by one.
BLOCK_LINES = 128
_PLAIN_INFER = frozenset({"name", "shape", "datatype", "data"})
_PREDICTION = frozenset({"version", "input"})


@dataclass(slots=True)
class _Row:
    """A line's rows, with what it wanted back. `arrays` is empty where they are the block's."""

    position: int
    count: int
    arrays: list[Array]
    single: bool = False
    asked: Asked | None = None


def read_bodies(bodies: Sequence[Any], rules: Rules) -> tuple[tuple[Group, ...], tuple[RowFault, ...]]:
    """Return the groups and faults of a chunk's bodies, by endpoint."""
    together, alone = (_infer_together, _infer_alone) if rules.endpoint == "infer" else (_input_together, _input_alone)
    shape_of = _infer_shape if rules.endpoint == "infer" else _input_shape
    blocks: dict[Any, list[int]] = {}
    pieces: list[tuple[list[_Row], list[Array]]] = []
    faults: list[RowFault] = []
    wide = rules.manifest.model_copy(
        update={"batching": rules.manifest.batching.model_copy(update={"max_job_rows": BLOCK_LINES * MAX_MAX_JOB_ROWS})}
    )
    for position, body in enumerate(bodies):
        blocks.setdefault(shape_of(body, rules.manifest), []).append(position)
    for shape, positions in blocks.items():
        for start in range(0, len(positions), BLOCK_LINES):
            block = positions[start : start + BLOCK_LINES]
            done = None if shape is None else _try(lambda b=block: together([bodies[p] for p in b], b, wide))  # type: ignore[misc]
            if done is not None and all(row.count <= rules.manifest.batching.max_job_rows for row in done[0]):
                pieces.append(done)
                continue
            for position in block:
                try:
                    row = alone(bodies[position], position, rules.manifest)
                    pieces.append(([row], row.arrays))
                except InvalidInputError as error:
                    faults.append(input_fault(position, error, rules))
    return _groups(pieces), tuple(sorted(faults, key=lambda fault: fault.position))


def _try(read: Callable[[], tuple[list[_Row], list[Array]]]) -> tuple[list[_Row], list[Array]] | None:
    try:
        return read()
    except InvalidInputError:
        return None


def _groups(pieces: list[tuple[list[_Row], list[Array]]]) -> tuple[Group, ...]:
    by_shape: dict[tuple[tuple[int, ...], ...], list[tuple[list[_Row], list[Array]]]] = {}
    for piece in pieces:
        by_shape.setdefault(tuple(array.shape[1:] for array in piece[1]), []).append(piece)
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


def _input_shape(body: Any, manifest: Manifest) -> Any:
    """Return a key that bodies of one shape share, told by their first elements; None for one to be read alone."""
    inputs = body.get("input") if isinstance(body, dict) else None
    if not isinstance(inputs, dict) or len(inputs) != len(manifest.inputs) or body.keys() != {"input"}:
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


def _input_together(
    bodies: Sequence[Any], positions: Sequence[int], manifest: Manifest
) -> tuple[list[_Row], list[Array]]:
    inputs = [body["input"] for body in bodies]
    first = inputs[0]
    depths = {len(_sizes(first.get(spec.name))) - len(spec.shape) for spec in manifest.inputs}
    if depths == {-1}:
        rows = read_inputs(manifest, {spec.name: [each[spec.name] for each in inputs] for spec in manifest.inputs})
        _check_count(rows, len(bodies))
        return [_Row(position, 1, [], single=True) for position in positions], rows.arrays
    if depths != {0}:
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
    for name in body:
        if name not in _PREDICTION:
            raise InvalidInputError.at("#", f"unknown field {name[:40]!r}; expected version and input")
    version = body.get("version", manifest.ref)
    if version not in (manifest.ref, manifest.name, manifest.version):
        raise InvalidInputError.at("#/version", f"the batch runs {manifest.ref}, got {str(version)[:40]!r}")
    if "input" not in body:
        raise InvalidInputError.at("#/input", "input is missing")
    rows = read_inputs(manifest, body["input"])
    return _Row(position, rows.n_rows, rows.arrays, single=rows.single)


# --- /v2/models/{name}/infer


def _infer_shape(body: Any, manifest: Manifest) -> Any:
    """Return a key that plain requests of one shape share; None for one to be read alone."""
    if not isinstance(body, dict) or body.keys() - {"inputs", "id"} or not isinstance(body.get("inputs"), list):
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


def _infer_together(
    bodies: Sequence[Any], positions: Sequence[int], manifest: Manifest
) -> tuple[list[_Row], list[Array]]:
    # The first line is read in full: what it passes, lines of the same shape and datatype pass too, but for values.
    request = read_infer_request(manifest, bodies[0])
    arrays = []
    for place, spec in enumerate(manifest.inputs):
        items = [body["inputs"][place] for body in bodies]
        if any(item["datatype"] != spec.oip_datatype for item in items):
            raise InvalidInputError("to be read alone")
        shape = (request.rows.n_rows * len(bodies), *request.rows.arrays[place].shape[1:])
        array = read_shaped(spec, [item["data"] for item in items], shape, "#")
        check_range(spec, array, "#")
        arrays.append(array)
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
    request = read_infer_request(manifest, body)
    if any(is_binary for _, is_binary in request.outputs):
        raise InvalidInputError.at("#/outputs", "a line of JSON has no room for raw bytes; ask for JSON outputs")
    check_rows(manifest, request.rows.n_rows, "#/inputs")
    return _Row(position, request.rows.n_rows, request.rows.arrays, asked=Asked(request.id, request.outputs))
