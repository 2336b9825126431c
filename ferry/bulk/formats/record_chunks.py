"""Records of a text put together into chunks, many at a time. Knows where records lie, not what they hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ferry.bulk.formats.base import Chunk, Rules, decoded_bytes
from ferry.bulk.formats.records import Spans


class RecordCutter:
    """Collects records into chunks by the rules' targets, as `Cutter` does with rows that come one by one."""

    def __init__(self, rules: Rules, where: Mapping[str, Any]) -> None:
        """`where`: what every chunk needs to know."""
        self._rules = rules
        self._where = where
        self._least_bytes = decoded_bytes(rules.manifest)
        self._first = self._rows = self._bytes = self._start = self._end = 0
        self._is_odd = False
        self.chunks: list[Chunk] = []

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self._first + self._rows

    def add(self, spans: Spans) -> None:
        """Take records, in their order."""
        totals = np.cumsum(np.maximum(spans.ends - spans.starts, self._least_bytes))
        at, n_records = 0, len(totals)
        while at < n_records:
            if not self._rows:
                self._start = int(spans.starts[at])
            before = int(totals[at - 1]) if at else 0
            room = self._rules.chunk_bytes - self._bytes + before
            taken = min(
                int(np.searchsorted(totals, room)) + 1 - at, self._rules.chunk_rows - self._rows, n_records - at
            )
            last = at + max(1, taken) - 1
            self._rows += last + 1 - at
            self._bytes += int(totals[last]) - before
            self._end = int(spans.ends[last])
            self._is_odd = self._is_odd or bool(spans.odd[at : last + 1].any())
            at = last + 1
            if self._rows >= self._rules.chunk_rows or self._bytes >= self._rules.chunk_bytes:
                self.close()

    def close(self) -> None:
        """Close the open chunk, if there is one."""
        if self._rows:
            where = {"start": self._start, "end": self._end, "odd": self._is_odd}
            self.chunks.append(Chunk(self._first, self._rows, where | dict(self._where)))
            self._first += self._rows
            self._rows = self._bytes = 0
            self._is_odd = False
