"""Joined members of JSON lines as Arrow columns. A column's type is that of its values in all of the file.

The type is found when the file is indexed: text, booleans, whole numbers of 64 bits or numbers, where all values are of
that kind; nulls and missing members aside. Else (lists, objects, values of several kinds, integers of more than 64
bits) the column holds JSON text, each value as it is written in the file.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ferry.errors import InvalidInputError

JSON_TEXT = "json"
_MAX_EXACT = 2**53  # a double holds every whole number up to it
_INT64, _UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)
_NAMES = {bool: "bool", int: "int64", float: "double", str: "string"}
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JoinedKinds:
    """Finds the types of the joined members while a file is indexed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._kinds: dict[str, set[str]] = {name: set() for name in names}
        self._ends: dict[str, list[int]] = {}

    def see(self, fields: Mapping[str, Any], line: bytes) -> None:
        """Take the members of a line; lists and objects may be empty."""
        for name, kinds in self._kinds.items():
            value = fields.get(name)
            if value is None:
                continue
            kind = _NAMES.get(type(value), JSON_TEXT)
            if kind == "int64":
                ends = self._ends.setdefault(name, [value, value])
                ends[0], ends[1] = min(ends[0], value), max(ends[1], value)
            elif kind == "double" and not abs(value) < _MAX_EXACT:
                if not math.isfinite(value):  # it is null, see `JoinedValues.take`
                    continue
                kind = JSON_TEXT if _is_wide(name, line) else kind
            kinds.add(kind)

    def types(self) -> dict[str, str]:
        """Return the name of each member's type."""
        return {name: self._type(name, kinds) for name, kinds in self._kinds.items()}

    def _type(self, name: str, kinds: set[str]) -> str:
        if not kinds:
            return "null"
        low, high = self._ends.get(name, (0, 0))
        if kinds == {"int64", "double"}:
            return "double" if max(-low, high) <= _MAX_EXACT else JSON_TEXT
        if len(kinds) > 1:
            return JSON_TEXT
        kind = next(iter(kinds))
        if kind != "int64" or (low >= _INT64[0] and high <= _INT64[1]):
            return kind
        return "uint64" if low >= _UINT64[0] and high <= _UINT64[1] else JSON_TEXT


class JoinedValues:
    """Takes the joined members of a chunk's lines, and makes a column of each."""

    def __init__(self, types: Mapping[str, str]) -> None:
        """`types`: as `JoinedKinds` found them."""
        self._types = types
        self._has_text = JSON_TEXT in types.values()
        self._rows: list[list[Any]] = []

    def take(self, fields: Mapping[str, Any], line: bytes, *, is_json: bool = True) -> None:
        """Take a line's members. Of a line that is no JSON those that hold NaN, infinities or the like are null."""
        if not self._types:
            return
        if is_json and not self._has_text:
            self._rows.append([fields.get(name) for name in self._types])
            return
        texts = raw_members(line.decode("utf-8")) if self._has_text else {}
        row = []
        for name, kind in self._types.items():
            value = fields.get(name)
            if not is_json and not _is_json(value):
                value = None
            row.append(texts[name] if value is not None and kind == JSON_TEXT else value)
        self._rows.append(row)

    def columns(self) -> dict[str, Any]:
        """Return an Arrow array for each member.

        Raises:
            InvalidInputError: a value is not of the type that was found.
        """
        if not self._types:
            return {}
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - files without joined members do without

        columns = {}
        for place, (name, kind) in enumerate(self._types.items()):
            values = [row[place] for row in self._rows]
            try:
                columns[name] = pa.array(values, pa.json_() if kind == JSON_TEXT else pa.type_for_alias(kind))
            except (pa.ArrowException, OverflowError):
                detail = f"joined member {name[:40]!r} is no longer what was indexed; was the file replaced?"
                raise InvalidInputError(detail) from None
        return columns


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def raw_members(line: str) -> dict[str, str]:
    """Return the members of an object (one line of JSON that was parsed before), each value as it is written."""
    members = {}
    at = _skip(line, _skip(line, 0) + 1)
    while line[at] == '"':
        name, at = _DECODER.raw_decode(line, at)
        start = _skip(line, _skip(line, at) + 1)
        _, end = _DECODER.raw_decode(line, start)
        members[name] = line[start:end]
        at = _skip(line, end)
        at = _skip(line, at + 1) if line[at] == "," else at
    return members


def _skip(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at


def _is_wide(name: str, line: bytes) -> bool:
    """Say whether a large number is written as a whole number, which has more than 64 bits."""
    return not set(raw_members(line.decode("utf-8"))[name]) & set(".eE")
