"""One line of JSON to its object, and why a line has none. Knows bytes, nothing of what the members mean."""

import json
from typing import Any

import orjson

from ferry.bulk.formats.text_encoding import UTF8, Decoder, EncodingError

OTHER_ENCODING = "invalid_encoding"


def why_not_json(line: bytes, start: int) -> tuple[str, str, str | None]:
    """Return code, message and field of the fault of a line, which begins at an offset of the file."""
    try:
        Decoder(UTF8, start).decode(line, final=True)
    except EncodingError as error:
        return OTHER_ENCODING, error.detail, "encoding"
    return "invalid_json_line", "the line is not a JSON object", None


def loads(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line of plain JSON; None for anything else."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def loads_odd(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line that is JSON but for NaN, infinities and numbers too large for a float.

    Python writes NaN and Infinity. The check of the inputs decides on each. None: the line is at fault otherwise.
    """
    try:
        fields = json.loads(line.decode("utf-8"))
        json.dumps(fields, ensure_ascii=False).encode("utf-8")  # no half of a surrogate pair
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
