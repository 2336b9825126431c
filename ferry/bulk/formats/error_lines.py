"""The error file: one line of JSON per row that has no output, in the shape of OpenAI's batches.

What the synchronous call would have refused stands in `response` with its status; what never ran has `response` null.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson

from ferry.bulk.formats.base import Opener, PartResult, RowFault, Rules, copy_bytes
from ferry.errors import InvalidInputError
from ferry.tensors import Array

# Of a table with `errors: inline`: why a row failed, null where it did not.
ERROR_COLUMN = "error"
_TABLES = ("csv", "tsv", "parquet", "arrow")
_SERVER_ERROR = 500


def write_errors(out: BinaryIO, result: PartResult, rules: Rules) -> int:
    """Write a line per faulty row of a part; return how many."""
    lines = [line for _, line in lines_of(result, rules)]
    out.write(b"".join(lines))
    return len(lines)


def lines_of(result: PartResult, rules: Rules) -> Iterator[tuple[int, bytes]]:
    """Yield position and line of each faulty row of a part, in order."""
    faults = result.all_faults()
    joined = joined_as_json(result, [fault.position for fault in faults]) if faults else {}
    for place, fault in enumerate(faults):
        line = _line(fault, result, rules, {name: values[place] for name, values in joined.items()})
        yield fault.position, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def check_inline(rules: Rules, output_format: str) -> None:
    """Refuse `errors: inline` where the output has no room for it: a table with an output called `error`.

    NPY and NPZ say which rows failed in any case.

    Raises:
        InvalidInputError: naming the remedy.
    """
    names = {spec.name for spec in rules.manifest.outputs}
    if rules.errors_inline and output_format in _TABLES and ERROR_COLUMN in names:
        raise InvalidInputError(
            f"errors=inline needs a column {ERROR_COLUMN!r}, and an output of {rules.manifest.ref} has that name; ask "
            "for output_format=jsonl, or leave errors out"
        )


def joined_as_json(result: PartResult, positions: Sequence[int]) -> dict[str, list[Any]]:
    """Return the joined values of some rows, in ascending order, as `orjson` writes them."""
    joined = result.rows.joined
    if not joined:
        return {}
    # Files without joined columns do without pyarrow.
    from ferry.bulk.formats.joined_json import json_values  # noqa: PLC0415
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
