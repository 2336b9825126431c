"""Models from an object store: a repository's folder kept equal to the versions there, which have the same files.

A version is copied beside, checked and then renamed into place by the repository itself, so nobody sees half of one.
Over there its manifest is written last and deleted first, so a version without one is none. What this machine got in
another way (in its image, by `ferry models add`) stays.
"""

import fcntl
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from ferry.bulk.storage import Storage, storage_errors
from ferry.errors import ConflictError, FerryError, InvalidInputError, ModelRefusedError
from ferry.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, is_name, is_version, read_manifest
from ferry.model_files import file_names
from ferry.repository import Key, Repository
from ferry.repository_entry import reason_of
from ferry.settings import Settings, storage_options_of

# In the folder of a version that came from over there, and goes when it is gone there.
MARK = ".mirrored"
_LOCK = ".mirror.lock"
_COPY_BYTES = 2**20

# Of a version there: the size in bytes of each of its files, by their paths below its folder.
Sizes = dict[str, int]

logger = logging.getLogger(__name__)


class Mirror:
    """Copies from there to here, and one version from here to there."""

    def __init__(self, storage: Storage, repository: Repository) -> None:
        self._storage = storage
        self._repository = repository
        # What could not be taken, as it was: it is said once, and copied again only when it has changed.
        self._refused: dict[Key, object] = {}

    def pull(self) -> bool:
        """Make this folder equal to what is there; False: another process is at it.

        Raises:
            StorageError: it cannot be reached; everything stays as it was.
        """
        with self._alone() as is_mine:
            if not is_mine:
                return False
            there = self._listed()
            for key, sizes in there.items():
                self._follow(key, sizes)
            self._drop_all_but(set(there))
        return True

    def push(self, name: str, version: str) -> None:
        """Copy a version of this folder to there, its manifest last.

        Raises:
            OSError: it is not here, or was removed at this moment.
            StorageError: it is full or away.
        """
        folder = self._repository.folder(name, version)
        for file in (*file_names(read_manifest(folder)), MANIFEST_FILE):
            with (folder / file).open("rb") as source, self._storage.create(f"{name}/{version}/{file}") as upload:
                while piece := source.read(_COPY_BYTES):
                    upload.write(piece)

    def remove(self, name: str, version: str) -> None:
        """Delete a version there, its manifest first. None there is fine.

        Raises:
            StorageError: it is away.
        """
        self._storage.delete(f"{name}/{version}/{MANIFEST_FILE}")
        self._storage.delete_folder(f"{name}/{version}")

    def _listed(self) -> dict[Key, Sizes]:
        """Return the versions there that have a manifest and a model, and the sizes of their files."""
        found: dict[Key, Sizes] = {}
        for path, size_bytes in self._storage.list_folder("").items():
            name, _, rest = path.partition("/")
            version, _, file = rest.partition("/")
            if is_name(name) and is_version(version):
                found.setdefault((name, version), {})[file] = size_bytes
        return {key: sizes for key, sizes in found.items() if MANIFEST_FILE in sizes and MODEL_FILE in sizes}

    def _follow(self, key: Key, sizes: Sizes) -> None:
        name, version = key
        wanted = self._read(f"{name}/{version}/{MANIFEST_FILE}")
        if self._refused.get(key) == (wanted, sizes):
            return
        self._refused.pop(key, None)
        try:
            self._take(name, version, wanted, sizes)
        except (ConflictError, InvalidInputError, ModelRefusedError) as error:
            self._refused[key] = (wanted, sizes)
            logger.warning("%s:%s is not taken from FERRY_MODELS_URL: %s", name, version, error.detail)

    def _take(self, name: str, version: str, wanted: bytes, sizes: Sizes) -> None:
        """Copy a version, unless it is here; one that changed there is replaced."""
        folder = self._repository.folder(name, version)
        if folder.exists():
            with suppress(FileNotFoundError):
                if (folder / MANIFEST_FILE).read_bytes() == wanted:
                    return
            if not (folder / MARK).exists():
                raise ConflictError(f"{name}:{version} is here already, and differs from that of FERRY_MODELS_URL")
        files = _files_of(wanted, sizes)
        with self._repository.staging() as staged:
            (staged / MANIFEST_FILE).write_bytes(wanted)
            (staged / MARK).touch()
            for file in files:
                self._download(f"{name}/{version}/{file}", staged / file)
            if folder.exists():
                self._repository.remove(name, version)
            self._repository.publish(staged)
        logger.info("%s:%s came from FERRY_MODELS_URL", name, version)

    def _download(self, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._storage.open(key) as source, target.open("wb") as copy:
            while piece := _read_piece(source.read):
                copy.write(piece)

    def _drop_all_but(self, there: set[Key]) -> None:
        for mark in self._repository.root.glob(f"[!.]*/*/{MARK}"):
            key = (mark.parent.parent.name, mark.parent.name)
            if key not in there:
                self._repository.remove(*key)
                logger.info("%s:%s is gone from FERRY_MODELS_URL, and here", *key)

    def _read(self, path: str) -> bytes:
        return self._storage.read_range(path, 0, self._storage.size_bytes(path))

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the folder's lock, or do without."""
        self._repository.root.mkdir(parents=True, exist_ok=True)
        with (self._repository.root / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


class MirrorThread(threading.Thread):
    """Pulls again and again; what is there stays while the store is away."""

    def __init__(self, mirror: Mirror, *, every_s: float) -> None:
        super().__init__(name="ferry-mirror", daemon=True)
        self._mirror = mirror
        self._every_s = every_s
        self._stopping = threading.Event()
        self._trouble = ""

    def stop(self) -> None:
        """Ask the thread to end; it does after a pull that is under way."""
        self._stopping.set()

    def run(self) -> None:
        """Pull, wait, and so on."""
        while not self._stopping.wait(self._every_s):
            self.pull()

    def pull(self) -> None:
        """Pull once; an outage is said when it begins and when it is over."""
        trouble = ""
        try:
            self._mirror.pull()
        except FerryError as error:
            trouble = error.detail
        except Exception as error:
            logger.exception("FERRY_MODELS_URL could not be mirrored")
            trouble = str(error)
        if trouble and not self._trouble:
            logger.warning("no news from FERRY_MODELS_URL, models stay as they are: %s", trouble)
        elif self._trouble and not trouble:
            logger.info("FERRY_MODELS_URL answers again")
        self._trouble = trouble


def mirror_of(settings: Settings) -> Mirror | None:
    """Return the mirror of these settings; None where no store is named.

    Raises:
        ConfigError: as `Storage`.
    """
    if not settings.models_url:
        return None
    storage = Storage(settings.models_url, storage_options_of(settings), setting="FERRY_MODELS_URL")
    return Mirror(storage, Repository(Path(settings.models_dir)))


def _files_of(wanted: bytes, sizes: Sizes) -> tuple[str, ...]:
    """Return the files that a manifest there names.

    Raises:
        ModelRefusedError: it is not a manifest, or a file is missing there or has another size.
    """
    try:
        manifest = Manifest.model_validate_json(wanted)
    except ValidationError as error:
        raise ModelRefusedError(reason_of(error)) from error
    for file in manifest.files:
        if sizes.get(file.name) != file.size_bytes:
            has = f"has {sizes[file.name]} bytes" if file.name in sizes else "is missing"
            raise ModelRefusedError(f"{file.name} {has} there, its manifest says {file.size_bytes} bytes")
    return file_names(manifest)


def _read_piece(read: Callable[[int], bytes]) -> bytes:
    with storage_errors():
        return read(_COPY_BYTES)
