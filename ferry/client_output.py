"""The rows of a batch's output as they come: which row is next, and when a stream that broke is asked for again.

Carries nothing itself; `ferry.client` sends the calls, and `ferry.client_bulk` has the methods.
"""

import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import httpx

from ferry.bulk.formats.text_rows import RowSplitter, TextKind, kind_of_media
from ferry.client_answers import LATER_STATUSES, ApiError, error_of
from ferry.client_flows import MAX_RETRY_AFTER_S, Call
from ferry.errors import FerryError

# A stream that brings nothing for this long is asked for again: its connection may be dead.
READ_TIMEOUT_S = 60.0
# Pause before a broken stream is asked for again; doubled while the API does not answer.
RESUME_PAUSE_S = 0.2
MAX_PAUSE_S = 5.0
DEFAULT_PATIENCE_S = 60.0
# Refusals after which the same request may be answered: a proxy's API is away, the file is not checked yet.
_LATER = LATER_STATUSES | {502, 504}


class OutputTransfer:
    """One reader of a batch's output."""

    def __init__(
        self, batch_id: str, from_row: int, patience_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_over = False
        self.pause_s = 0.0
        self._path = f"/v1/batches/{quote(batch_id, safe='')}/output"
        self._row = from_row
        self._patience_s = patience_s
        self._clock = clock
        self._away_since: float | None = None
        self._has_header = False  # it came, or no stream brings it
        self._splitter: RowSplitter | None = None
        self._skips_header = False

    def call(self) -> Call:
        """Return the request for the rows from the next one on."""
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        return Call("GET", self._path, {"from_row": str(self._row)}, headers, timeout_s=READ_TIMEOUT_S)

    def begin(self, response: httpx.Response) -> bool:
        """Say whether a response brings rows; else read it and hand it to `refuse`."""
        if not response.is_success:
            return False
        kind: TextKind | None = kind_of_media(response.headers.get("Content-Type", ""))
        if kind is None:
            raise ApiError(response.status_code, f"rows came as {response.headers.get('Content-Type')!r}")
        self._away_since, self.pause_s = None, 0.0
        self._splitter = RowSplitter(kind)
        # Asked for from row 0 again, the header comes again.
        self._skips_header = kind.has_header and self._has_header and self._row == 0
        self._has_header = self._has_header or not kind.has_header or self._row > 0
        return True

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the rows that are whole with this piece; the header of delimited text comes first of all."""
        if self._splitter is None:
            raise TypeError("a response begins before its rows come")
        for row in self._splitter.feed(piece):
            if self._skips_header:
                self._skips_header = False
                continue
            if self._has_header:
                self._row += 1
            self._has_header = True
            yield row

    def end(self) -> None:
        """Take note that the stream came to its end, which is the output's."""
        self.is_over = True

    def refuse(self, response: httpx.Response) -> None:
        """Take an answer without rows.

        Raises:
            ApiError: it is no use to ask again.
        """
        error = error_of(response)
        if response.status_code not in _LATER:
            raise error
        self.broke(error)

    def broke(self, error: FerryError) -> None:
        """Take note that the stream broke; `pause_s` says when to ask again.

        Raises:
            FerryError: the error itself, when the API has been away for too long.
        """
        now = self._clock()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > self._patience_s:
            raise error
        wait_s = error.retry_after_s or min(max(2 * self.pause_s, RESUME_PAUSE_S), MAX_PAUSE_S)
        self.pause_s = min(wait_s, MAX_RETRY_AFTER_S)
