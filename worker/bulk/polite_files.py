"""Files whose reads and writes make room for who waits: a step that only moves bytes pauses through them."""

import io
from typing import Any, BinaryIO, cast

from ferry.bulk.storage import Upload, storage_errors
from worker.bulk.interludes import Interlude

BUFFER_BYTES = 2**20


class _Reading(io.RawIOBase):
    def __init__(self, file: BinaryIO, interlude: Interlude) -> None:
        super().__init__()
        self._file = file
        self._interlude = interlude

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        self._interlude.pause_if_due()
        with storage_errors():
            if hasattr(self._file, "readinto"):
                return int(self._file.readinto(buffer))
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Writing(io.RawIOBase):
    def __init__(self, upload: Upload, interlude: Interlude) -> None:
        super().__init__()
        self._upload = upload
        self._interlude = interlude
        self.n_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.n_bytes

    def write(self, data: Any) -> int:
        self._interlude.pause_if_due()
        self._upload.write(data)
        self.n_bytes += len(data)
        return len(data)


class PoliteWriter:
    """Buffers what is written to an upload; `file` is what to write to, `n_bytes` what has gone through."""

    def __init__(self, upload: Upload, interlude: Interlude) -> None:
        self._raw = _Writing(upload, interlude)
        self.file = cast(BinaryIO, io.BufferedWriter(self._raw, BUFFER_BYTES))

    def finish(self) -> int:
        """Pass on what is buffered; returns all bytes."""
        self.file.flush()
        return self._raw.n_bytes


def polite_reader(file: BinaryIO, interlude: Interlude) -> BinaryIO:
    """Return a file that reads another one, a MiB at a time. Closing it closes that too."""
    return cast(BinaryIO, io.BufferedReader(_Reading(file, interlude), BUFFER_BYTES))
