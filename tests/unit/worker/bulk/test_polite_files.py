"""Files that pause as they are read and written, and hand on what the storage says."""

import io
from pathlib import Path

import pytest

from ferry.bulk.storage import Storage
from ferry.errors import NotFoundError, StorageError
from worker.bulk.polite_files import BUFFER_BYTES, PoliteWriter, polite_reader

KEY = "batches/batch_abc/x"


class Pauses:
    def __init__(self, error: Exception | None = None) -> None:
        self.n = 0
        self.error = error

    def pause_if_due(self) -> None:
        self.n += 1
        if self.error:
            raise self.error


class Unreadable(io.RawIOBase):
    """A file whose store is away."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        raise self.error


class OnlyReads:
    """A file of an object store's client, which knows no `readinto`."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.is_closed = False

    def read(self, n_bytes: int) -> bytes:
        return self.file.read(min(n_bytes, 1000))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        self.is_closed = True


DATA = bytes(range(256)) * (3 * BUFFER_BYTES // 256) + b"the end"


def test_reader_when_read_in_small_pieces_then_it_pauses_once_a_buffer(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    pauses = Pauses()
    with polite_reader((tmp_path / "x").open("rb"), pauses) as file:  # type: ignore[arg-type]
        pieces = [file.read(1000) for _ in range(len(DATA) // 1000 + 2)]
    assert b"".join(pieces) == DATA
    assert 4 <= pauses.n <= 6


def test_reader_when_it_is_sought_then_as_any_file() -> None:
    with polite_reader(io.BytesIO(DATA), Pauses()) as file:  # type: ignore[arg-type]
        assert file.seek(0, 2) == len(DATA)
        assert file.seek(-7, 2) == len(DATA) - 7
        assert (file.read(), file.tell()) == (b"the end", len(DATA))
        file.seek(256 * 1000 + 5)
        assert file.read(3) == bytes([5, 6, 7])


@pytest.mark.parametrize("start", [0, 5, len(DATA) - 3])
def test_reader_when_the_file_has_only_read_then_all_the_same(start: int) -> None:
    source = OnlyReads(DATA)
    with polite_reader(source, Pauses()) as file:  # type: ignore[arg-type]
        file.seek(start)
        assert file.read() == DATA[start:]
    assert source.is_closed


@pytest.mark.parametrize(
    ("error", "kind"), [(OSError("away"), StorageError), (FileNotFoundError("gone"), NotFoundError)]
)
def test_reader_when_the_storage_fails_then_as_an_error_of_ours(error: Exception, kind: type[Exception]) -> None:
    with polite_reader(Unreadable(error), Pauses()) as file, pytest.raises(kind):  # type: ignore[arg-type]
        file.read(1)


def test_reader_when_the_step_is_to_be_left_then_that_is_raised() -> None:
    file = polite_reader(io.BytesIO(DATA), Pauses(KeyError("left")))  # type: ignore[arg-type]
    with file, pytest.raises(KeyError):
        file.read(1)


def test_writer_when_written_in_small_pieces_then_all_is_stored_and_counted(tmp_path: Path) -> None:
    storage, pauses = Storage(str(tmp_path)), Pauses()
    with storage.create(KEY) as upload:
        writer = PoliteWriter(upload, pauses)  # type: ignore[arg-type]
        for start in range(0, len(DATA), 1000):
            writer.file.write(DATA[start : start + 1000])
        assert writer.file.tell() == len(DATA)
        assert writer.finish() == len(DATA)
    assert storage.read_range(KEY, 0, 2 * len(DATA)) == DATA
    assert 3 <= pauses.n <= 6


def test_writer_when_a_piece_is_larger_than_the_buffer_then_it_is_whole(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.create(KEY) as upload:
        writer = PoliteWriter(upload, Pauses())  # type: ignore[arg-type]
        writer.file.write(b"before")
        writer.file.write(memoryview(DATA))
        assert writer.finish() == 6 + len(DATA)
    assert storage.read_range(KEY, 0, 2 * len(DATA)) == b"before" + DATA


def test_writer_when_nothing_is_written_then_an_empty_file(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.create(KEY) as upload:
        assert PoliteWriter(upload, Pauses()).finish() == 0  # type: ignore[arg-type]
    assert storage.size_bytes(KEY) == 0


def test_writer_when_the_step_is_to_be_left_then_nothing_is_stored(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))

    def write() -> None:
        with storage.create(KEY) as upload:
            PoliteWriter(upload, Pauses(KeyError("left"))).file.write(DATA)  # type: ignore[arg-type]

    with pytest.raises(KeyError):
        write()
    assert storage.list_folder("batches") == {}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
