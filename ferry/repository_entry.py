"""One version's folder in the model repository: read whole, or said why it cannot be served. Changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ferry.manifest import MANIFEST_FILE, SAMPLES_DIR, Manifest, is_name, is_version, read_manifest
from ferry.model_files import what_is_missing

# (path below the folder, mtime and ctime in ns, size in bytes) of each file, in the order of the paths. The ctime
# changes with the permissions: a file that became readable is looked at again.
Stamp = tuple[str, int, int, int]
Stamps = tuple[Stamp, ...]


class BrokenEntryError(Exception):
    """Why a version's folder cannot be served; caught by the repository, which reports it beside the good ones."""


def read_entry(folder: Path) -> Manifest:
    """Return the manifest of the folder NAME/VERSION; the model's files are looked for and not read.

    Raises:
        BrokenEntryError: when it is not a whole version of that name and number.
    """
    name, version = folder.parent.name, folder.name
    if not is_name(name):
        raise BrokenEntryError(f"folder {name!r} cannot be a model's name")
    if not is_version(version):
        raise BrokenEntryError(f"folder {version!r} is no version: a whole number from 1")
    try:
        manifest = read_manifest(folder)
        missing = what_is_missing(folder, manifest)
    except (OSError, ValidationError) as error:
        raise BrokenEntryError(reason_of(error)) from error
    if (manifest.name, manifest.version) != (name, version):
        raise BrokenEntryError(f"{MANIFEST_FILE} says {manifest.ref}, the folder says {name}:{version}")
    if missing:
        raise BrokenEntryError(missing)
    return manifest


def reason_of(error: OSError | ValidationError) -> str:
    """Say in one line what was wrong with a version's files."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        return f"{MANIFEST_FILE}: {field + ': ' if field else ''}{fault['msg']}"
    name = Path(str(error.filename)).name
    return f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name}: {error.strerror}"


def stamps_of(folder: Path) -> Stamps:
    """Return what changes whenever a file of the version does; hidden files and the samples are not part of it."""
    return tuple(sorted(_stamps(str(folder), "")))


def _stamps(folder: str, below: str) -> Iterator[Stamp]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:  # removed at this moment, or closed to us
        return
    for entry in entries:
        name = below + entry.name
        if entry.name.startswith(".") or name == SAMPLES_DIR:
            continue
        try:
            # Folders are not followed through links, which may form a loop; of a linked file, the file counts.
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(entry.path, name + "/")
            else:
                status = entry.stat()
                yield name, status.st_mtime_ns, status.st_ctime_ns, status.st_size
        except OSError:
            continue
