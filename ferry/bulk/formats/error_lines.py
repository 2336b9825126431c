"""The error file: one line of JSON per row that has no output, in the shape of OpenAI's batches.

What the synchronous call would have refused stands in `response` with its status; what never ran has `response` null.
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson

from ferry.bulk.formats.base import Opener, PartResult, RowFault, Rules, copy_bytes
from ferry.tensors import Array

_SERVER_ERROR = 500


def write_errors(out: BinaryIO, result: PartResult, rules: Rules) -> int:
    """Write a line per faulty row of a part; return how many."""
    faults = result.all_faults()
    joined = joined_as_json(result, [fault.position for fault in faults]) if faults else {}
    for place, fault in enumerate(faults):
        line = _line(fault, result, rules, {name: values[place] for name, values in joined.items()})
        out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS))
    return len(faults)


def joined_as_json(result: PartResult, positions: Sequence[int]) -> dict[str, list[Any]]:
    """Return the joined values of some rows, in ascending order, as `orjson` writes them."""
    joined = result.rows.joined
    if not joined:
        return {}
    # Files without joined columns do without pyarrow.
    from ferry.bulk.formats.joined_text import json_values  # noqa: PLC0415
    from ferry.bulk.formats.table_output import picked  # noqa: PLC0415

    places: Array = np.array(positions, np.int64)
    return {name: json_values(picked(values, places)) for name, values in joined.items()}


def assemble_errors(parts: Sequence[Opener], out: BinaryIO) -> None:
    """Write one error file of the parts that have errors, in their order."""
    for opener in parts:
        with opener() as part:
            copy_bytes(part, out)


def request_ids(number: int, rules: Rules) -> tuple[str, str]:
    """Return id and request id of a row's line, the same whenever the row is run again."""
    place = f"{rules.batch_id}_{number}" if rules.batch_id else str(number)
    return f"batch_req_{place}", f"req_{place}"


def _line(fault: RowFault, result: PartResult, rules: Rules, joined: dict[str, Any]) -> dict[str, Any]:
    rows, number = result.rows, result.rows.numbers[fault.position]
    line_id, request_id = request_ids(number, rules)
    line: dict[str, Any] = {"id": line_id, "custom_id": rows.ids[fault.position], rows.unit: number}
    if joined:
        line["joined"] = joined
    error = {"code": fault.code, "message": fault.message}
    if fault.status is None:
        return line | {"response": None, "error": error}
    kind = "server_error" if fault.status >= _SERVER_ERROR else "invalid_request_error"
    body = {"error": error | {"type": kind, "param": fault.param}}
    return line | {"response": {"status_code": fault.status, "request_id": request_id, "body": body}, "error": None}
