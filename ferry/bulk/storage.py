"""Where files of bytes lie: a folder of this machine, or an object store that many hosts share (fsspec).

Everything here blocks; on an event loop it belongs in a thread. Knows nothing of what the bytes mean.
"""

import os
import re
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, cast

from fsspec.core import url_to_fs  # type: ignore[import-untyped]

from ferry.errors import ConfigError, NotFoundError, StorageError
from ferry.settings import Settings, storage_options_of

# Keys are made of ids: no segment begins with a dot, so none climbs out of its folder or meets a file half written.
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
# What an object store gets in one piece, and so what one write holds in memory. S3 takes 10,000 pieces an object of
# at least 5 MiB each: with this, 80 GB.
PART_BYTES = 8 * 2**20
READ_BLOCK_BYTES = 2**20
RETRY_AFTER_S = 5
_UNFINISHED = ".part"
_FULL = {ENOSPC, EDQUOT}
# Every process must see at once what another one wrote; and a store that is away is known within half a minute.
_REMOTE_OPTIONS: dict[str, Any] = {"use_listings_cache": False}
_S3_OPTIONS: dict[str, Any] = {
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}},
}


class Upload(Protocol):
    """A file being written. Nobody sees it before `commit`; after `abort` nobody ever does."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append."""

    def commit(self) -> None:
        """Make the whole file readable under its key, replacing what was there."""

    def abort(self) -> None:
        """Throw away what was written. Never raises; after `commit` it does nothing."""

    def __enter__(self) -> Self:
        """Begin; a clean end of the block commits, an exception aborts."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


class Storage:
    """Files by key under one root. Safe to share between threads; each Upload belongs to one at a time."""

    def __init__(
        self, url: str, options: Mapping[str, Any] | None = None, *, setting: str = "FERRY_STORAGE_URL"
    ) -> None:
        """Take a folder's path or an fsspec URL, and options for its file system. `setting` is what an error names.

        Raises:
            ConfigError: no such kind of storage, or the package it needs is not installed.
        """
        scheme = url.partition("://")[0] if "://" in url else "file"
        self.is_local = scheme in ("file", "local")
        defaults = {} if self.is_local else _REMOTE_OPTIONS | (_S3_OPTIONS if scheme in ("s3", "s3a") else {})
        try:
            self._fs, root = url_to_fs(url, **(defaults | dict(options or {})))
        except ImportError as error:
            remedy = "uv sync --group s3" if scheme in ("s3", "s3a") else "install what it names"
            raise ConfigError(f"{setting}: {scheme}:// needs a package that is missing ({error}); {remedy}") from (
                error
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{setting} or FERRY_STORAGE_OPTIONS: {error}") from error
        self._root = root.rstrip("/")

    def create(self, key: str, *, is_lasting: bool = True) -> Upload:
        """Begin a file; readers see nothing of it until it is committed.

        `is_lasting`: once it is, a power cut does not take it. That costs a folder's disk some 10 ms, for which all who
        write to it wait, Redis' log among them.

        Raises:
            StorageError: it is full or away.
        """
        path = self._path(key)
        with _writing_errors():
            return _LocalUpload(Path(path), is_lasting=is_lasting) if self.is_local else _RemoteUpload(self._fs, path)

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading; it can seek. Close it. Wrap reads in `storage_errors`.

        Raises:
            NotFoundError: no such file.
            StorageError: it is away.
        """
        path = self._path(key)
        with storage_errors():
            if self.is_local:
                return Path(path).open("rb")
            return cast(BinaryIO, self._fs.open(path, "rb", block_size=READ_BLOCK_BYTES))

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes [start, end); fewer where the file ends before.

        Raises:
            NotFoundError: no such file.
            StorageError: it is away.
        """
        if not 0 <= start <= end:
            raise ValueError(f"0 <= start <= end, got {start} and {end}")
        if start == end:
            return b""
        with storage_errors(), self.open(key) as file:
            file.seek(start)
            return file.read(end - start)

    def size_bytes(self, key: str) -> int:
        """Return a file's size.

        Raises:
            NotFoundError: no such file.
            StorageError: it is away.
        """
        path = self._path(key)
        with storage_errors():
            return int(self._fs.info(path)["size"])

    def delete(self, key: str) -> None:
        """Remove a file, and what a process that died left of writing it. No such file is fine.

        Raises:
            StorageError: it is away.
        """
        path = self._path(key)
        with storage_errors(), suppress(FileNotFoundError):
            if self.is_local:
                for left in Path(path).parent.glob(f".{Path(path).name}.*{_UNFINISHED}"):
                    left.unlink(missing_ok=True)
            self._fs.rm_file(path)

    def delete_folder(self, folder: str) -> None:
        """Remove every file whose key begins with `folder` and a slash. None there is fine.

        Raises:
            StorageError: it is away.
        """
        path = self._path(folder)
        with storage_errors(), suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)

    def list_folder(self, folder: str) -> dict[str, int]:
        """Return the sizes in bytes of all files below a folder (or in all, if empty), by key, in the keys' order.

        Raises:
            StorageError: it is away.
        """
        path = self._path(folder) if folder else self._root
        with storage_errors():
            found = self._fs.find(path, detail=True)
        keys = {name[len(self._root) + 1 :]: int(info["size"]) for name, info in found.items() if name != path}
        return {key: keys[key] for key in sorted(keys) if not key.rpartition("/")[2].startswith(".")}

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key; keys are made of ids")
        return f"{self._root}/{key}"


class _Block(ABC):
    """The with-block of an upload."""

    @abstractmethod
    def commit(self) -> None:
        """Make what was written whole."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing of it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.commit()
        except BaseException:
            self.abort()
            raise


class _LocalUpload(_Block):
    """Writes beside the file's place, and renames."""

    def __init__(self, path: Path, *, is_lasting: bool) -> None:
        self._path = path
        self._is_lasting = is_lasting
        self._beside = path.parent / f".{path.name}.{uuid.uuid4().hex}{_UNFINISHED}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        with _writing_errors():
            while rest:  # a raw file may take less than all
                rest = rest[self._file.write(rest) :]

    def commit(self) -> None:
        with _writing_errors():
            if self._is_lasting:
                os.fsync(self._file.fileno())  # who was told that a file is stored finds it after a power cut
            self._file.close()
            self._beside.replace(self._path)
            if self._is_lasting:
                _sync_folder(self._path.parent)

    def abort(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._beside.unlink(missing_ok=True)


class _RemoteUpload(_Block):
    """Writes to an object store, where a file appears when its last piece is confirmed."""

    def __init__(self, fs: Any, path: str) -> None:
        self._file = fs.open(path, "wb", block_size=PART_BYTES)
        self._is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with _writing_errors():
            self._file.write(data)

    def commit(self) -> None:
        with _writing_errors():
            self._file.close()
        self._is_over = True

    def abort(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        # A store that is away keeps the pieces; a lifecycle rule for unfinished uploads removes them.
        with suppress(Exception):
            self._file.discard()
        # So that neither `close` nor the collector sends the rest after all.
        self._file.closed = True


@contextmanager
def _writing_errors() -> Iterator[None]:
    """As `storage_errors`; what is not there is a folder or a bucket, which is no client's fault."""
    with storage_errors():
        try:
            yield
        except FileNotFoundError as error:
            raise _unavailable(error) from error


def storage_of(settings: Settings) -> Storage:
    """Return the storage that the settings name; by default the folder `files` of the data folder.

    Raises:
        ConfigError: as Storage does.
    """
    url = settings.storage_url or str(settings.data_dir.absolute() / "files")
    return Storage(url, storage_options_of(settings))


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what file systems raise into Ferry's errors.

    Raises:
        NotFoundError: no such file.
        StorageError: the storage is full, away, or refuses.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError("the file is not in the storage (any more)") from error
    except OSError as error:
        raise _unavailable(error) from error
    except Exception as error:
        if not _is_of_a_store(error):
            raise
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if getattr(error, "errno", None) in _FULL:
        detail = f"the file storage takes no more ({reason}); delete files, or wait until some expire"
    else:
        detail = f"the file storage does not answer or refuses: {reason}"
    return StorageError(detail, retry_after_s=RETRY_AFTER_S)


def _is_of_a_store(error: Exception) -> bool:
    """Say whether an error comes from a store's client, whose errors are not all OSError."""
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"botocore", "aiobotocore", "aiohttp"} & set(sys.modules))


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
