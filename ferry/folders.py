"""Folders: listed, moved into place and deleted, each so that a rival or a crash at that moment does no harm.

Knows nothing of models.
"""

import os
import shutil
from pathlib import Path

# How often a rival may delete the parent between two system calls before we give the place up as taken.
_ATTEMPTS = 10


def visible_folders(parent: Path) -> list[str]:
    """List the names of the visible folders in `parent`; none where it is missing or closed to us."""
    try:
        # Not Path.is_dir: it raises where a link points into a closed folder, and that would hide the rest.
        return [path.name for path in parent.iterdir() if not path.name.startswith(".") and os.path.isdir(path)]  # noqa: PTH112
    except OSError:
        return []


def dangling_links(parent: Path) -> list[str]:
    """List the visible links in `parent` that lead nowhere; none where it is missing or closed to us."""
    try:
        links = [path for path in parent.iterdir() if path.is_symlink() and not path.name.startswith(".")]
        return [path.name for path in links if not os.path.exists(path)]  # noqa: PTH110  Path.exists may raise
    except OSError:
        return []


def why_unreadable(folder: Path) -> str:
    """Return why a folder cannot be listed, as the system says it; "" where it can be listed."""
    try:
        with os.scandir(folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def rename_into(staged: Path, target: Path) -> bool:
    """Rename, making the parent; False when the target is taken: a rename replaces no folder that holds anything."""
    # A `remove` may take the empty parent away between the two steps: then make it again.
    for _ in range(_ATTEMPTS):
        target.parent.mkdir(exist_ok=True)
        try:
            staged.rename(target)
        except FileNotFoundError:
            if not staged.exists():
                raise
        except OSError:
            if target.exists():
                return False
            raise
        else:
            return True
    return False


def delete(path: Path) -> None:
    """Delete a folder with all it holds, as far as we may; of a link the link alone."""
    # rmtree refuses a link, and what it points to is not ours.
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
