"""Which model a body of /v1 means: by `version`, `model`, or both. Knows nothing of which models there are."""

from collections.abc import Mapping
from typing import Any

from ferry.errors import InvalidInputError

# The owner that Replicate's clients put before a name.
OWNER = "local"
_EXPECTED = 'expected the model as text: "mnist", or "mnist:1" for one version'


def read_reference(body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return name and version of the model: None where the body names no version.

    Either field alone is a name ("mnist"), or a name and a version or alias ("mnist:1"). With both `model` is the name,
    and `version` the version (`"1"`, `1`, `"stable"`) or both again. A name may begin with Replicate's "local/".

    Raises:
        InvalidInputError: neither field is there, one is no reference, or the two contradict each other.
    """
    if "model" not in body:
        if "version" not in body:
            raise InvalidInputError.at("#/version", f"'version' (or 'model') is missing; {_EXPECTED}")
        return _parsed(body["version"], "#/version")
    name, version = _parsed(body["model"], "#/model")
    if body.get("version") is None:
        return name, version
    own_name, own_version = _version_of(body["version"], name)
    if own_name != name or (version is not None and own_version not in (None, version)):
        detail = f"version {str(body['version'])[:40]!r} contradicts model {str(body['model'])[:40]!r}; name it once"
        raise InvalidInputError.at("#/version", detail)
    return name, own_version or version


def _version_of(value: Any, name: str) -> tuple[str, str | None]:
    """Return what `version` says beside a `model` of this name."""
    if type(value) is int:
        value = str(value)
    found, version = _parsed(value, "#/version")
    if version is None and found != name:
        return name, found
    return found, version


def _parsed(reference: Any, pointer: str) -> tuple[str, str | None]:
    if not isinstance(reference, str) or not reference:
        raise InvalidInputError.at(pointer, _EXPECTED)
    name, _, version = reference.removeprefix(f"{OWNER}/").partition(":")
    return name, version or None
