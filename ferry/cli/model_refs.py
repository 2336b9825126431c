"""NAME[:VERSION] as it is typed at a shell: which versions of the repository are meant. Prints nothing."""

from difflib import get_close_matches
from pathlib import Path

from ferry.errors import NotFoundError
from ferry.manifest import is_version
from ferry.repository import Survey


def resolve(survey: Survey, ref: str, root: Path) -> tuple[str, list[str]]:
    """Return a model's name and the versions meant, lowest first, broken ones included.

    Raises:
        NotFoundError: when there is none; names that are spelled alike are told.
    """
    name, colon, version = ref.partition(":")
    keys = [*survey.entries, *survey.broken]
    versions = [known for model, known in keys if model == name]
    if not versions:
        close = get_close_matches(name, {model for model, _ in keys}, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "`ferry models list` shows what there is"
        raise NotFoundError(f"no model {name!r} in {root}; {hint}")
    versions.sort(key=lambda known: int(known) if is_version(known) else 0)
    if not colon:
        return name, versions
    if version not in versions:
        raise NotFoundError(f"{name} has no version {version!r}; it has {', '.join(versions)}")
    return name, [version]
