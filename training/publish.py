"""Put a version into the model repository in one step. Knows folders, not what is in them.

A version's folder appears whole, under a name no reader looks at until then.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ferry.errors import ConflictError
from ferry.manifest import is_version


def choose_target(models_dir: Path, name: str, *, version: str | None, is_replacing: bool) -> Path:
    """Return the folder to publish to: models/NAME/VERSION, the version after the highest where none is named.

    Raises:
        ConflictError: when the version exists and is not to be replaced.
    """
    folder = models_dir / name
    if version is None:
        taken = [int(entry.name) for entry in folder.iterdir() if is_version(entry.name)] if folder.is_dir() else []
        version = str(max(taken, default=0) + 1)
    target = folder / version
    if target.exists() and not is_replacing:
        raise _conflict(target)
    return target


@contextmanager
def draft_of(target: Path, *, is_replacing: bool) -> Iterator[Path]:
    """Yield an empty hidden folder beside `target`, which becomes `target` when the block ends without error.

    Effects: without error `target` is new, and there is no trace of the draft either way. A replaced version is
    away for the instant between two renames.

    Raises:
        ConflictError: when somebody else published `target` meanwhile.
    """
    token = uuid4().hex[:8]
    draft = target.with_name(f".{target.name}.{token}.draft")
    draft.mkdir(parents=True)
    try:
        yield draft
        _swap_in(draft, target, is_replacing=is_replacing)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):  # a refused first version leaves no model without versions; else it is not empty
            target.parent.rmdir()


def _swap_in(draft: Path, target: Path, *, is_replacing: bool) -> None:
    retired = draft.with_suffix(".retired")
    if is_replacing and target.exists():
        target.rename(retired)
    try:
        draft.rename(target)
    except OSError as error:
        if retired.exists():
            retired.rename(target)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _conflict(target) from error
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _conflict(target: Path) -> ConflictError:
    return ConflictError(f"{target} exists; leave --version out for the next free one, or replace it with --force")
