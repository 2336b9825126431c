"""Why rows failed, in a few lines: faults that differ only in numbers and quoted values are one kind.

Reads an error file line by line, so its size does not matter. Knows no API and prints nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ferry.client_bulk_answers import BatchFault

# Kinds that are shown, and that are told apart at all: beyond them rows are only counted.
MAX_SHOWN = 10
MAX_KINDS = 1000
MAX_MESSAGE_CHARS = 200
MAX_ID_CHARS = 40
# Longer lines are cut, and then are no JSON; a line holds the joined columns of its row.
MAX_LINE_BYTES = 64 * 2**20

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`""")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|[-+]?\d+(?:[.,_]\d+)*(?:[eE][-+]?\d+)?|\b(?:nan|inf)\b", re.ASCII)
# A shape or a list of numbers, whatever its length.
_NUMBERS = re.compile(r"[(\[]\s*(?:N\s*,?\s*)*[)\]]")


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why one row failed, or a file.

    place: its line or row, such as `line 17`; id: what the file or the client calls it. is_of_file: whether the file
    was refused, so that none of its rows ran.
    """

    code: str
    message: str
    param: str = ""
    place: str = ""
    id: str = ""
    is_of_file: bool = False

    @property
    def kind(self) -> tuple[str, str, str]:
        """What rows that failed for the same reason share."""
        return self.code, _pattern(self.param), _pattern(self.message)


@dataclass(slots=True)
class _Kind:
    first: RowFailure
    n_rows: int = 0


class Reasons:
    """Counts failures by kind."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], _Kind] = {}
        self._codes: set[str] = set()
        self._n_uncounted = 0

    def add(self, failure: RowFailure) -> None:
        """Count one."""
        self._codes.add(failure.code)
        kind = self._kinds.get(failure.kind)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._n_uncounted += 1
                return
            kind = self._kinds[failure.kind] = _Kind(failure)
        kind.n_rows += 1

    @property
    def codes(self) -> set[str]:
        """The codes of all that was counted."""
        return self._codes

    def lines(self) -> list[str]:
        """Return a line for each kind, the most frequent first, and one for the kinds that are not shown."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.n_rows)
        shown = [_line(kind) for kind in kinds[:MAX_SHOWN]]
        rest = kinds[MAX_SHOWN:]
        if not rest:
            return shown
        n_rows = sum(kind.n_rows for kind in rest) + self._n_uncounted
        more = f"{'over ' if self._n_uncounted else ''}{len(rest):,}"
        return [*shown, f"... and {more} more kind{'' if len(rest) == 1 else 's'} ({_rows(n_rows)})"]


def reasons_of_file(path: Path) -> Reasons:
    """Return an error file's reasons; none where it cannot be read."""
    reasons = Reasons()
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                if failure := failure_of(line):
                    reasons.add(failure)
    except OSError:
        return Reasons()
    return reasons


def reasons_of(failures: Iterable[RowFailure]) -> list[str]:
    """Return the lines of these reasons."""
    reasons = Reasons()
    for failure in failures:
        reasons.add(failure)
    return reasons.lines()


def failures_of(faults: Sequence[BatchFault]) -> Iterator[RowFailure]:
    """Yield what is wrong with a file that cannot be run."""
    for fault in faults:
        place = "" if fault.line is None else f"line {fault.line}"
        yield RowFailure(fault.code, fault.message, fault.param or "", place, is_of_file=True)


def failure_of(line: bytes) -> RowFailure | None:
    """Read a line of an error file; None where it is none."""
    try:
        fields = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    response = fields.get("response")
    error: Any = fields.get("error")
    if isinstance(response, dict):
        body = response.get("body")
        error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None
    place = next((f"{unit} {fields[unit]}" for unit in ("line", "row") if unit in fields), "")
    code, message, param = (str(error.get(name) or "") for name in ("code", "message", "param"))
    return RowFailure(code, message, param, place, str(fields.get("custom_id") or ""))


def _pattern(text: str) -> str:
    return _NUMBERS.sub("(…)", _NUMBER.sub("N", _QUOTED.sub("'…'", text)))


def _line(kind: _Kind) -> str:
    first = kind.first
    # An id that only repeats the row's number says nothing more.
    is_named = first.id and first.id != first.place.rpartition(" ")[2]
    example = [first.place] * bool(first.place) + [f"id {_plain(first.id, MAX_ID_CHARS)}"] * bool(is_named)
    field = f" {_plain(first.param, MAX_ID_CHARS)}" if first.param else ""
    such_as = "" if first.is_of_file and kind.n_rows == 1 else "such as "
    where = f" ({such_as}{', '.join(example)})" if example else ""
    count = f"{_rows(kind.n_rows)}: " if first.place or kind.n_rows > 1 else ""
    if first.is_of_file:
        count = "the file: " if kind.n_rows == 1 else f"the file, {kind.n_rows:,} lines: "
    return f"{count}{first.code}{field}: {_plain(first.message, MAX_MESSAGE_CHARS)}{where}"


def _plain(text: str, max_chars: int) -> str:
    """Return a text on one line, without what a terminal would obey."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown if len(shown) <= max_chars else shown[: max_chars - 3] + "..."


def _rows(n_rows: int) -> str:
    return f"{n_rows:,} row{'' if n_rows == 1 else 's'}"
