"""Output lines of JSON: each row's answer as the synchronous call gives it, in OpenAI's envelope.

The numbers of all rows are written by one call of orjson and then parted; a line is joined of such pieces.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson

from ferry.bulk.formats.base import Asked, Group, PartResult, Rules
from ferry.bulk.formats.error_lines import joined_as_json, lines_of, request_ids
from ferry.json_outputs import labels_of_job, tensor_ready, top_labels
from ferry.json_tensors import Rows
from ferry.manifest import Manifest, TensorSpec
from ferry.oip import InferRequest, infer_response
from ferry.tensors import Array, with_batch_axis

_OK = 200
# Lines joined into one piece that is written.
_LINES_PER_WRITE = 256


def write_lines(out: BinaryIO, result: PartResult, rules: Rules) -> int:
    """Write a line per row with output, in input order; return how many.

    With `errors: inline` a row that failed has its line of the error file among them.
    """
    lines, n_lines = list[bytes](), 0
    rows: Iterable[tuple[int, bytes]] = _lines(result, rules)
    if rules.errors_inline:
        rows = heapq.merge(rows, lines_of(result, rules), key=lambda pair: pair[0])
    for _, line in rows:
        lines.append(line)
        if len(lines) == _LINES_PER_WRITE:
            out.write(b"".join(lines))
            n_lines += len(lines)
            lines.clear()
    out.write(b"".join(lines))
    return n_lines + len(lines)


def _lines(result: PartResult, rules: Rules) -> Iterator[tuple[int, bytes]]:
    """Yield position and line of each row that has output."""
    source = result.rows
    # What stands around a row's number in the ids of its line.
    line_id, request_id = (orjson.dumps(each)[:-2] for each in request_ids(0, rules))
    joined_values = joined_as_json(result, range(len(source.ids)))
    for position, body in _in_order(result, rules):
        number = b"%d" % source.numbers[position]
        joined = b""
        if joined_values:
            values = {name: column[position] for name, column in joined_values.items()}
            joined = b',"joined":' + orjson.dumps(values)
        yield (
            position,
            b'{"id":%b%b","custom_id":%b%b,"response":{"status_code":%d,"request_id":%b%b","body":%b},"error":null}\n'
            % (line_id, number, orjson.dumps(source.ids[position]), joined, _OK, request_id, number, body),
        )


def _in_order(result: PartResult, rules: Rules) -> Iterator[tuple[int, bytes]]:
    """Yield position and body of each row that has output."""
    faulty = {fault.position for fault in result.all_faults()}
    groups = result.rows.groups if result.outputs else ()
    bodies = _infer_bodies if rules.endpoint == "infer" else _prediction_bodies
    if not rules.manifest.has_rows_first:
        bodies = _bodies_one_by_one
    if len(groups) == 1:
        ordered: Iterator[tuple[int, bytes]] = zip(
            groups[0].positions, bodies(groups[0], result.outputs[0], rules), strict=True
        )
    else:
        each = [zip(g.positions, bodies(g, o, rules), strict=True) for g, o in zip(groups, result.outputs, strict=True)]
        ordered = iter(sorted((pair for pairs in each for pair in pairs), key=lambda pair: pair[0]))
    return ordered if not faulty else (pair for pair in ordered if pair[0] not in faulty)


def _infer_bodies(group: Group, outputs: Sequence[Array], rules: Rules) -> Iterator[bytes]:
    """Yield each line's body."""
    manifest = rules.manifest
    texts = [
        _row_texts(spec, array.reshape(len(array), math.prod(array.shape[1:])))
        for spec, array in zip(manifest.outputs, outputs, strict=True)
    ]
    head = b'{"model_name":%b,"model_version":%b,"outputs":[' % (
        orjson.dumps(manifest.name),
        orjson.dumps(manifest.version),
    )
    every = Asked("", tuple((index, False) for index in range(len(outputs))))
    shapes: dict[tuple[int, int], bytes] = {}
    start = 0
    for count, asked in zip(group.counts, group.asked, strict=True):
        wanted, pieces = asked or every, []
        for index, _ in wanted.outputs:
            if (index, count) not in shapes:
                shapes[index, count] = _described(manifest.outputs[index], (count, *outputs[index].shape[1:]))
            pieces.append(shapes[index, count] + _joined(texts[index], start, count) + b"]}")
        identity = b',"id":' + orjson.dumps(wanted.id) if wanted.id else b""
        yield b"%b%b]%b}" % (head, b",".join(pieces), identity)
        start += count


def _bodies_one_by_one(group: Group, outputs: Sequence[Array], rules: Rules) -> Iterator[bytes]:
    """As `_infer_bodies`, for whole jobs and for rows along any axis: each body as the synchronous call makes it."""
    manifest, start = rules.manifest, 0
    for count, is_single, asked in zip(group.counts, group.singles, group.asked, strict=True):
        own = [output[start : start + count] for output in outputs]
        if not manifest.is_batched:
            pairs = zip(manifest.outputs, own, strict=True)
            # With the dots it is an array also where each job gave one element.
            own = [with_batch_axis(spec, array[0, ...]) if is_single else array[0, ...] for spec, array in pairs]
        start += count
        body = (
            _infer_body(manifest, own, asked)
            if rules.endpoint == "infer"
            else _prediction_body(manifest, own, is_single=is_single)
        )
        yield orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _infer_body(manifest: Manifest, outputs: Sequence[Array], asked: Asked | None) -> dict[str, Any]:
    every = tuple((index, False) for index in range(len(outputs)))
    request = InferRequest(Rows([], 1, single=False), asked.id if asked else "", asked.outputs if asked else every)
    return infer_response(manifest, request, outputs)[0]


def _prediction_body(manifest: Manifest, outputs: Sequence[Array], *, is_single: bool) -> dict[str, Any]:
    pairs = zip(manifest.outputs, outputs, strict=True)
    is_batched = manifest.is_batched
    return {
        "model": manifest.name,
        "version": manifest.version,
        "status": "succeeded",
        "output": {
            spec.name: tensor_ready(spec, array, single=is_single, is_batched=is_batched) for spec, array in pairs
        },
        "labels": labels_of_job(manifest, outputs, single=is_single),
        "error": None,
    }


def _described(spec: TensorSpec, shape: tuple[int, ...]) -> bytes:
    """Return what stands before an output's numbers."""
    said = {"name": spec.name, "shape": shape, "datatype": spec.oip_datatype}
    return orjson.dumps(said)[:-1] + b',"data":['


def _prediction_bodies(group: Group, outputs: Sequence[Array], rules: Rules) -> Iterator[bytes]:
    """As `_infer_bodies`."""
    manifest = rules.manifest
    head = {"model": manifest.name, "version": manifest.version, "status": "succeeded"}
    before = orjson.dumps(head)[:-1] + b',"output":{'
    columns = []
    for spec, array in zip(manifest.outputs, outputs, strict=True):
        depth = array.ndim - 1
        if depth == 0 and array.dtype.kind == "f" and all(group.singles):
            # A row that is one number stands with all its digits, as in the synchronous answer.
            array = array.astype(np.float64)  # noqa: PLW2901
        columns.append((orjson.dumps(spec.name), b"[" * depth, _row_texts(spec, array), b"]" * depth))
    labels = top_labels(manifest.labels, outputs[manifest.labels_index], single=False)
    names = None if labels is None else [orjson.dumps(label) for label in labels]
    start = 0
    for count, is_single in zip(group.counts, group.singles, strict=True):
        pieces = []
        for name, opening, texts, closing in columns:
            between = closing + b"," + opening
            rows = opening + between.join(texts[start : start + count]) + closing
            pieces.append(b"%b:%b" % (name, rows if is_single else b"[%b]" % rows))
        label = b"null"
        if names is not None:
            label = names[start] if is_single else b"[%b]" % _joined(names, start, count)
        yield b'%b%b},"labels":%b,"error":null}' % (before, b",".join(pieces), label)
        start += count


def _joined(texts: Sequence[bytes], start: int, count: int) -> bytes:
    return texts[start] if count == 1 else b",".join(texts[start : start + count])


def _row_texts(spec: TensorSpec, array: Array) -> list[bytes]:
    """Return the elements of each row as JSON, without the brackets at its ends. Shape: (N, *inner)."""
    depth = array.ndim - 1
    if not len(array):
        return []
    if spec.is_string or not array.size:
        whole = [orjson.dumps(row.tolist() if isinstance(row, np.ndarray) else row) for row in array]
        return [text[depth : len(text) - depth] for text in whole]
    rows = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    text = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
    return text[depth + 1 : -depth - 1].split(b"]" * depth + b"," + b"[" * depth)
