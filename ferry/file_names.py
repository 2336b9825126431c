"""Names of a model's further files: which ones a version's folder can hold on every machine. Touches no disk."""

import re
from collections.abc import Collection

# What every file system and object store takes as it is; `ferry.bulk.storage` has the same rule for its keys.
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]", re.ASCII)
MAX_FILE_NAME_CHARS = 512


def why_not_a_file_name(name: str, *, reserved: Collection[str]) -> str:
    """Say why a further file may not have this name, a path below the version's folder; "" where it may.

    `reserved`: lower-case names that the folder's first level keeps for something else.
    """
    parts = name.split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute path; give a path inside the model's folder"
    if ".." in parts:
        return "leaves the model's folder; give a path inside it"
    if len(name) > MAX_FILE_NAME_CHARS or not all(_PART.fullmatch(part) for part in parts):
        return (
            f"is not a file name that every storage takes: use up to {MAX_FILE_NAME_CHARS} of a-z A-Z 0-9 . _ - and /, "
            "with no dot at the start of a part"
        )
    # Some file systems do not tell "Samples" from "samples".
    if parts[0].casefold() in reserved:
        return f"is a name that Ferry uses itself ({', '.join(sorted(reserved))})"
    return ""
