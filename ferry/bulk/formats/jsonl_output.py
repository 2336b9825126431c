"""Output lines of JSON: each row's answer as the synchronous call gives it, in OpenAI's envelope."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson

from ferry.bulk.formats.base import Asked, PartResult, Rules
from ferry.bulk.formats.error_lines import request_ids
from ferry.bulk.formats.ordering import iter_good
from ferry.json_outputs import json_ready, top_labels
from ferry.json_tensors import Rows
from ferry.oip import InferRequest, infer_response
from ferry.tensors import Array

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
_OK = 200


def write_lines(out: BinaryIO, result: PartResult, rules: Rules) -> int:
    """Write a line per row with output, in input order; return how many."""
    n_lines, source = 0, result.rows
    for position, number, place, start, end in iter_good(result):
        group = source.groups[number]
        arrays = [output[start:end] for output in result.outputs[number]]
        if rules.endpoint == "infer":
            body = _infer_body(arrays, group.asked[place], rules)
        else:
            body = _prediction_body(arrays, single=group.singles[place], rules=rules)
        line_id, request_id = request_ids(source.numbers[position], rules)
        line: dict[str, Any] = {"id": line_id, "custom_id": source.ids[position]}
        if source.joined:
            line["joined"] = {name: values[position] for name, values in source.joined.items()}
        line["response"] = {"status_code": _OK, "request_id": request_id, "body": body}
        line["error"] = None
        out.write(orjson.dumps(line, option=_OPTIONS))
        n_lines += 1
    return n_lines


def _infer_body(arrays: Sequence[Array], asked: Asked | None, rules: Rules) -> dict[str, Any]:
    outputs = asked.outputs if asked else tuple((index, False) for index in range(len(arrays)))
    request = InferRequest(Rows([], len(arrays[0]), single=False), asked.id if asked else "", outputs)
    return infer_response(rules.manifest, request, arrays)[0]


def _prediction_body(arrays: Sequence[Array], *, single: bool, rules: Rules) -> dict[str, Any]:
    manifest = rules.manifest
    named = {spec.name: json_ready(array, single=single) for spec, array in zip(manifest.outputs, arrays, strict=True)}
    return {
        "model": manifest.name,
        "version": manifest.version,
        "status": "succeeded",
        "output": named,
        "labels": top_labels(manifest.labels, arrays[0], single=single),
        "error": None,
    }
