"""JSONL: a request per line, in OpenAI's envelope or as its bare body. `json_rows` reads the bodies.

Whether a file has envelopes is told by its first line. A bare line's custom_id is its number.
"""

import gc
import io
from array import array as c_array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from ferry.bulk.formats.base import (
    Chunk,
    ChunkRows,
    Cutter,
    FileFault,
    Index,
    Opener,
    PartResult,
    Rules,
    copy_bytes,
    read_exactly,
    rows_fault,
    size_of,
)
from ferry.bulk.formats.json_joined import JoinedKinds, JoinedValues
from ferry.bulk.formats.json_numbered import NumberedMembers
from ferry.bulk.formats.json_objects import OTHER_ENCODING, loads, loads_odd, why_not_json
from ferry.bulk.formats.json_plain import PlainRows, peek
from ferry.bulk.formats.json_rows import read_bodies
from ferry.bulk.formats.jsonl_output import write_lines
from ferry.bulk.formats.lines import iter_lines
from ferry.errors import InvalidInputError

_BOM = b"\xef\xbb\xbf"
_CHECKED = ("custom_id", "method", "url", "body")
_ENVELOPE = frozenset(_CHECKED)
_MAX_CUSTOM_ID_CHARS = 512
_SHOWN_CHARS = 60


class Jsonl:
    """The format `jsonl`."""

    name = "jsonl"
    media_type = "application/jsonl"
    suffix = ".jsonl"

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check every line's envelope and cut at line breaks."""
        with _collector_paused():
            return _Indexer(rules).run(file)

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read the lines between two offsets."""
        where = chunk.where
        data = read_exactly(file, where["start"], where["end"] - where["start"])
        with _collector_paused(), np.errstate(over="ignore"):
            return _Lines(data, chunk, rules).read()

    def check_output(self, rules: Rules) -> None:
        """Hold any output."""

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write a line per row."""
        return write_lines(out, result, rules)

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write the parts one after the other."""
        for opener in parts:
            with opener() as part:
                copy_bytes(part, out)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector from looking through parsed lines, which have no cycles: nested rows cost it most.

    Indexing rows of 28 x 28 x 1 takes 290 us a line with it and 60 without.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Lines:
    """A chunk's lines: their rows, and what is known of them beside their bodies."""

    def __init__(self, data: bytes, chunk: Chunk, rules: Rules) -> None:
        self._data, self._chunk, self._rules = data, chunk, rules
        self._first, self._bare = chunk.where["line"], chunk.where["bare"]
        self._plain = PlainRows(rules, chunk.rows, is_bare=self._bare)
        self._ids: list[str] = []
        self._numbers: list[int] = []
        self._starts: list[int] = []
        self._numbered = NumberedMembers(rules.manifest)
        self._joined = JoinedValues(chunk.where.get("joined", {}))

    def read(self) -> ChunkRows:
        """Return the rows: of plain lines in one group, of others in groups by shape."""
        groups, faults = read_bodies(self._unusual(), self._rules)
        if len(self._ids) != self._chunk.rows:
            detail = f"{len(self._ids)} lines where {self._chunk.rows} were indexed; was the file replaced?"
            raise InvalidInputError(detail)
        plain, bad = self._plain.group()
        more, why = read_bodies(((position, self._body(position)) for position in bad), self._rules)
        groups = (*((plain,) if plain else ()), *groups, *more)
        faults = sorted([*faults, *why], key=lambda fault: fault.position)
        return ChunkRows(self._ids, self._numbers, groups, tuple(faults), self._joined.columns(), "line")

    def _unusual(self) -> Iterator[tuple[int, Any]]:
        """Yield position and body of each line that is not plain, as the lines are gone through."""
        start = 0
        for number, line in enumerate(io.BytesIO(self._data), self._first):
            text = line.removeprefix(_BOM) if number == 1 else line
            position = len(self._ids)
            custom_id = self._plain.take(text, position)
            if custom_id is None and not text.strip():
                start += len(line)
                continue
            self._starts.append(start)
            self._numbers.append(number)
            start += len(line)
            if custom_id is not None:
                self._ids.append(custom_id or str(number))
                self._joined.take(self._plain.joined, text)
                continue
            fields, is_json = loads(text), True
            if fields is None:
                fields, is_json = loads_odd(text), False
            if fields is None:
                raise InvalidInputError(f"line {number} is no longer what was indexed; was the file replaced?")
            self._joined.take(fields, text, is_json=is_json)
            self._ids.append(str(number if self._bare else fields.get("custom_id")))
            yield position, self._body_of(fields)

    def _body(self, position: int) -> Any:
        start = self._starts[position]
        end = self._data.find(b"\n", start)
        line = self._data[start : end if end >= 0 else None]
        return self._body_of(loads(line.removeprefix(_BOM)) or {})

    def _body_of(self, fields: Mapping[str, Any]) -> Any:
        if self._bare:
            return self._numbered.gathered({key: each for key, each in fields.items() if key not in self._rules.join})
        return fields.get("body")


class _Indexer:
    """One pass over a file. Of each custom_id 8 bytes are kept; doubles are looked up in a second pass."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._faults: list[FileFault] = []
        self._cutter = Cutter(rules)
        self._hashes = c_array("q")
        self._bare: bool | None = None
        self._joined = JoinedKinds(rules.join)
        self._peeked: tuple[str, ...] = ()

    def run(self, file: BinaryIO) -> Index:
        limits = self._rules.limits
        size = size_of(file)
        if size > limits.max_bytes:
            return Index.failed("too_large", f"the file has {size} bytes, the limit is {limits.max_bytes}")
        end = 0
        for number, (start, after, line) in enumerate(iter_lines(file, limits.max_row_bytes), 1):
            fields = self._check(number, line, start)
            if fields is not None and line is not None and self._rules.join:
                self._joined.see(fields, line.removeprefix(_BOM))
            if fields is not None and not self._take(number, start, after, fields):
                break
            end = after
            if len(self._faults) >= self._rules.max_faults or self._has_other_encoding:
                break
        self._cutter.close({"end": end})
        if not self._faults and (failed := rows_fault(self._cutter.rows, self._rules, "lines")):
            return failed
        if not self._faults and not self._bare:
            self._find_doubles(file)
        return self._done()

    @property
    def _has_other_encoding(self) -> bool:
        return bool(self._faults) and self._faults[-1].code == OTHER_ENCODING

    def _done(self) -> Index:
        chunks, faults = self._cutter.done(), tuple(self._faults)
        if self._rules.join:
            types = self._joined.types()
            chunks = tuple(replace(chunk, where={**chunk.where, "joined": types}) for chunk in chunks)
        return Index(self._cutter.rows, chunks, faults)

    def _take(self, number: int, start: int, after: int, fields: Mapping[str, Any]) -> bool:
        if not self._bare:
            self._hashes.append(hash(fields["custom_id"]))
        bare = bool(self._bare)
        self._cutter.add(after - start, lambda: {"start": start, "line": number, "bare": bare}, lambda: {"end": after})
        return self._cutter.rows <= self._rules.limits.max_rows

    def _check(self, number: int, line: bytes | None, start: int) -> Mapping[str, Any] | None:
        """Return a line's fields; None for an empty or faulty one."""
        if line is None:
            limit = self._rules.limits.max_row_bytes
            self._fault(number, "line_too_long", f"the line is longer than {limit} bytes")
            return None
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            return None
        if self._bare is not None:
            peeked = peek(text, self._peeked)
            if peeked is not None and (self._bare or self._envelope_fault(peeked) is None):
                return peeked
        fields = loads(text)
        if fields is None:
            fields = loads_odd(text)
        if fields is None:
            self._fault(number, *why_not_json(line, start))
            return None
        if self._bare is None:
            self._bare = not _ENVELOPE & (fields.keys() - set(self._rules.join))
            self._peeked = (*(() if self._bare else _CHECKED), *self._rules.join)
        fault = None if self._bare else self._envelope_fault(fields)
        if fault is not None:
            self._fault(number, *fault)
            return None
        return fields

    def _envelope_fault(self, fields: Mapping[str, Any]) -> tuple[str, str, str] | None:
        custom_id, url = fields.get("custom_id"), self._rules.url
        if not isinstance(custom_id, str) or not custom_id or len(custom_id) > _MAX_CUSTOM_ID_CHARS:
            detail = f"expected a custom_id, a text of 1 to {_MAX_CUSTOM_ID_CHARS} characters"
            return "missing_custom_id", detail, "custom_id"
        if fields.get("method") != "POST":
            return "invalid_method", f"expected POST, got {_shown(fields.get('method'))}", "method"
        if url and fields.get("url") != url:
            detail = f"expected the batch's endpoint {url!r}, got {_shown(fields.get('url'))}"
            return "url_mismatch", detail, "url"
        if not isinstance(fields.get("body"), dict):
            return "invalid_body", "expected an object in body", "body"
        return None

    def _fault(self, number: int, code: str, message: str, param: str | None = None) -> None:
        self._faults.append(FileFault(code, message, number, param))

    def _find_doubles(self, file: BinaryIO) -> None:
        hashes = np.frombuffer(self._hashes, np.int64) if self._hashes else np.empty(0, np.int64)
        ordered = np.sort(hashes)
        doubles = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])[: self._rules.max_faults]
        if not doubles.size:
            return
        suspects, seen = set(doubles.tolist()), dict[str, int]()
        for number, (_, _, line) in enumerate(iter_lines(file, self._rules.limits.max_row_bytes), 1):
            text = (line or b"").removeprefix(_BOM)
            fields = peek(text, ("custom_id",)) or loads(text) or loads_odd(text) or {}
            custom_id = fields.get("custom_id", "")
            if hash(custom_id) not in suspects or not custom_id:
                continue
            if custom_id in seen:
                detail = f"custom_id {_shown(custom_id)} stands on line {seen[custom_id]} already"
                self._fault(number, "duplicate_custom_id", detail, "custom_id")
            seen.setdefault(custom_id, number)
            if len(self._faults) >= self._rules.max_faults:
                return


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
