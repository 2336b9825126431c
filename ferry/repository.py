"""The model repository: folders `NAME/VERSION` with model.onnx, manifest.json and the other files that the model names.

Owns its layout and how it changes.

Every change is one rename on the repository's own file system, so a reader sees a version whole or not at all.
Knows nothing of onnxruntime, Redis or who serves what.
"""

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ferry.errors import ConfigError, ConflictError, InvalidInputError, ModelRefusedError, NotFoundError
from ferry.folders import dangling_links, delete, rename_into, visible_folders, why_unreadable
from ferry.manifest import Manifest, is_name, is_version, read_manifest
from ferry.model_files import check_files
from ferry.repository_entry import BrokenEntryError, Stamps, read_entry, reason_of, stamps_of

# Hidden names: a scan passes over what is on its way in or out.
INCOMING_PREFIX = ".incoming-"
OUTGOING_PREFIX = ".outgoing-"
# Copying the largest model (64 GiB) takes an hour at worst; what is a day old was left by a killed process.
LEFTOVER_AGE_S = 24 * 3600
# An ext4 volume has this folder at its top; it is no model.
_NOT_A_MODEL = frozenset({"lost+found"})
# Stands for the versions of a model whose folder cannot be listed.
NO_VERSION = "?"

Key = tuple[str, str]
Fingerprint = tuple[tuple[str, str, Stamps], ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What one scan found, by (name, version): what can be served, and why the rest cannot."""

    entries: dict[Key, Manifest]
    broken: dict[Key, str]


class Repository:
    """The versions under one folder. Holds no state: each call looks at the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_root(self) -> None:
        """Return when the folder can be listed, or is not there yet: the first model makes it.

        Raises:
            ConfigError: why it can hold no models.
        """
        reason = why_unreadable(self.root)
        if reason and (self.root.exists() or self.root.is_symlink()):
            raise ConfigError(f"FERRY_MODELS_DIR={self.root}: {reason}; name a folder that can be read")

    def scan(self) -> dict[Key, Manifest]:
        """Return the manifests of all valid versions, names in order and versions in numeric order."""
        return self.survey().entries

    def survey(self) -> Survey:
        """Read every version; one that is broken is reported with its reason and hides no other."""
        found = Survey({}, {})
        for name, version in self._keys():
            folder = self.root / name / version
            try:
                found.entries[name, version] = read_entry(folder)
            except BrokenEntryError as fault:
                # Removed while we looked: then it is gone, not broken.
                if folder.is_dir():
                    found.broken[name, version] = str(fault)
        found.broken.update(self._unlisted())
        return found

    def fingerprint(self) -> Fingerprint:
        """Return a value that changes whenever a scan may find something else; costs one stat a file and folder."""
        listed = ((*key, stamps_of(self.root / key[0] / key[1])) for key in self._keys())
        return (*listed, *((*key, ()) for key in self._unlisted()))

    def folder(self, name: str, version: str) -> Path:
        """Return where a version lies, whether or not it is there.

        Raises:
            InvalidInputError: when `name` or `version` may not become a path.
        """
        if not is_name(name):
            raise InvalidInputError(
                f"model name {name!r} is not allowed: 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit"
            )
        if not is_version(version):
            raise InvalidInputError(f"version {version!r} is not allowed: a whole number from 1, without leading zeros")
        return self.root / name / version

    def latest(self, name: str) -> str:
        """Return the highest valid version of a model.

        Raises:
            NotFoundError: when it has none.
        """
        versions = [version for known, version in self.scan() if known == name]
        if not versions:
            raise NotFoundError(f"no model {name!r} in {self.root}")
        return max(versions, key=int)

    def next_version(self, name: str) -> str:
        """Return the version after the highest one, broken ones included, so that no folder is ever in the way."""
        versions = [int(version) for known, version in self._keys() if known == name and is_version(version)]
        return str(max(versions, default=0) + 1)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Lend an empty hidden folder on the repository's file system; what was not published is deleted on exit."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        staged = self.root / f"{INCOMING_PREFIX}{uuid.uuid4().hex}"
        staged.mkdir()
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def publish(self, staged: Path) -> Manifest:
        """Move a staged folder to the place its manifest names, in one step, and return that manifest.

        Raises:
            ModelRefusedError: when the folder is not a whole version, or a file is not the one the manifest names.
            ConflictError: when that version exists.
        """
        try:
            manifest = read_manifest(staged)
        except (OSError, ValidationError) as error:
            raise ModelRefusedError(f"{staged} cannot be published: {reason_of(error)}") from error
        check_files(staged, manifest)
        target = self.folder(manifest.name, manifest.version)
        if not rename_into(staged, target):
            raise ConflictError(
                f"{manifest.ref} exists already; publish it as version {self.next_version(manifest.name)}"
            )
        return manifest

    def remove(self, name: str, version: str) -> None:
        """Take a version away in one step, then delete its files; broken ones too.

        Raises:
            NotFoundError: when it is not there.
        """
        folder = self.folder(name, version)
        doomed = self.root / f"{OUTGOING_PREFIX}{uuid.uuid4().hex}"
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            raise NotFoundError(f"no model {name}:{version} in {self.root}") from None
        # Fails where the model has other versions, or gets one at this moment: then the folder stays.
        with suppress(OSError):
            folder.parent.rmdir()
        delete(doomed)  # last, since it may take long

    def _keys(self) -> list[Key]:
        """List the folders at version depth; a version that is no number sorts first."""
        keys = [(name, version) for name in self._names() for version in visible_folders(self.root / name)]
        return sorted(keys, key=lambda key: (key[0], int(key[1]) if is_version(key[1]) else 0, key[1]))

    def _unlisted(self) -> dict[Key, str]:
        """Return what somebody put there as a model or a version and no list of folders shows, with the reason."""
        found = {(name, NO_VERSION): "it is a link that leads nowhere" for name in dangling_links(self.root)}
        for name in self._names():
            folder = self.root / name
            links = dangling_links(folder)
            found.update({(name, version): "it is a link that leads nowhere" for version in links})
            if reason := why_unreadable(folder):
                found[name, NO_VERSION] = f"its folder cannot be listed: {reason}"
            elif not links and not visible_folders(folder):
                found[name, NO_VERSION] = "it has no version: put model.onnx and manifest.json into a folder 1 in it"
        return found

    def _names(self) -> list[str]:
        return [name for name in visible_folders(self.root) if name not in _NOT_A_MODEL]

    def _sweep(self) -> None:
        """Delete what killed processes left half in or half out."""
        for path in self.root.iterdir():
            if path.name.startswith((INCOMING_PREFIX, OUTGOING_PREFIX)):
                try:
                    age_s = time.time() - path.lstat().st_mtime
                except FileNotFoundError:
                    continue
                if age_s > LEFTOVER_AGE_S:
                    delete(path)
