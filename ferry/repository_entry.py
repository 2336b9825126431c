"""One version's folder in the model repository: read whole, or said why it cannot be served. Changes nothing."""

from pathlib import Path

from pydantic import ValidationError

from ferry.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, is_name, is_version, read_manifest

# mtime in ns and size in bytes of the manifest, then of the model; -1 where there is none
Stamps = tuple[int, int, int, int]


class BrokenEntryError(Exception):
    """Why a version's folder cannot be served; caught by the repository, which reports it beside the good ones."""


def read_entry(folder: Path) -> Manifest:
    """Return the manifest of the folder NAME/VERSION; the model is looked for and not read.

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
        has_model = (folder / MODEL_FILE).is_file()
    except (OSError, ValidationError) as error:
        raise BrokenEntryError(reason_of(error)) from error
    if (manifest.name, manifest.version) != (name, version):
        raise BrokenEntryError(f"{MANIFEST_FILE} says {manifest.ref}, the folder says {name}:{version}")
    if not has_model:
        raise BrokenEntryError(f"{MODEL_FILE} is missing")
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
    """Return what changes whenever one of the two files does."""
    stamps: list[int] = []
    for file in (MANIFEST_FILE, MODEL_FILE):
        try:
            status = (folder / file).stat()
        except OSError:
            stamps += (-1, -1)
        else:
            stamps += (status.st_mtime_ns, status.st_size)
    return (stamps[0], stamps[1], stamps[2], stamps[3])
