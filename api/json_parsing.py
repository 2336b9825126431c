"""JSON from bytes, by the parser that is fastest for them. Knows nothing of HTTP, or of what the JSON means."""

import json
import re
from typing import Any

import orjson

from api import json_arrays
from ferry.errors import InvalidInputError, MalformedRequestError

# Each value becomes an object of up to 110 bytes. orjson does not return when memory runs out, so it must not.
MAX_VALUES = 10_000_000
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(body: bytes) -> Any:
    """Parse JSON; large arrays of numbers come as numpy arrays (api/json_arrays.py).

    NaN and Infinity are not JSON, but pass, so that the check of values can name their field.

    Raises:
        MalformedRequestError: saying where it stops being JSON.
    """
    try:
        return json_arrays.read(body)
    except ValueError:
        return parse_plain_json(body)  # it may be JSON all the same


def parse_plain_json(body: bytes) -> Any:
    """Parse JSON as `parse_json`, every array as a list.

    Raises:
        MalformedRequestError: saying where it stops being JSON.
        InvalidInputError: it has too many values.
    """
    if len(body) > MAX_VALUES and (n_values := sum(map(body.count, (b",", b"[", b"{")))) > MAX_VALUES:
        detail = f"the body has about {n_values} values, the limit is {MAX_VALUES} where not all are numbers in arrays"
        raise InvalidInputError.at("#", f"{detail} of one shape; send fewer rows a job")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    try:
        value = json.loads(body.decode("utf-8-sig"))
        if _SURROGATE.search(body):  # half a pair passes here, and would fail as soon as it is to be UTF-8 again
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise MalformedRequestError(f"the body is not JSON: {reason}") from None
    return value
