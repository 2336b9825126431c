"""The output of a batch written while the batch runs: rows in the order of the input."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ferry.bulk.formats.text_rows import TEXT_KINDS
from ferry.cli.batch_session import Session
from ferry.errors import InvalidInputError


class RowStream:
    """Writes the rows of one batch; goes on where it was when it is called again."""

    def __init__(self, output_format: str, out: Path | None) -> None:
        """`out`: a file, which is replaced; None is standard output.

        Raises:
            InvalidInputError: the format is one whole file.
        """
        if output_format not in TEXT_KINDS:
            known = ", ".join(TEXT_KINDS)
            raise InvalidInputError(f"--follow is for {known}, the output is {output_format}; leave it out")
        self._has_header = TEXT_KINDS[output_format].has_header
        self._out = out
        self._n_written = 0

    def write_all(self, session: Session, batch_id: str) -> None:
        """Write the rows that are not written yet, until the batch is over.

        Raises:
            FerryError: the API refuses, or was away for too long.
        """
        next_row = max(0, self._n_written - self._has_header)
        # Row 0 comes with the header, which may be written already.
        n_known = self._n_written if next_row == 0 else 0
        with self._opened() as file:
            for row in islice(
                session.client.batch_output(batch_id, next_row, session.patience.patience_s), n_known, None
            ):
                file.write(row)
                file.flush()
                self._n_written += 1

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self._out is None:
            yield sys.stdout.buffer
            return
        with self._out.open("ab" if self._n_written else "wb") as file:
            yield file
