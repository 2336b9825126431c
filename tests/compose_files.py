"""Compose files as Docker Compose reads them: variables filled in, one file merged over another. Starts no engine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
# ${NAME}, ${NAME:-default}, ${NAME:?message}; $$ is a dollar.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


class MissingVariableError(Exception):
    """A variable that must be set is not; the message is the file's own."""


def read_compose(name: str) -> Any:
    """Read a file of the repository's root, anchors and merge keys resolved, variables left as they are."""
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def variables(node: Any) -> dict[str, list[tuple[str, str]]]:
    """Return each variable's uses: `-`, `?` or nothing, and what follows it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for text in strings(node):
        for match in VARIABLE.finditer(text):
            if match["name"]:
                found.setdefault(match["name"], []).append((match["kind"] or "", match["rest"] or ""))
    return found


def strings(node: Any) -> list[str]:
    """Return every string in a document, keys included."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, Mapping):
        return [text for key, value in node.items() for text in (*strings(key), *strings(value))]
    return [text for each in node for text in strings(each)] if isinstance(node, list) else []


def filled_in(node: Any, env: Mapping[str, str]) -> Any:
    """Return a document with its variables filled in.

    Raises:
        MissingVariableError: with the message of the first that is missing.
    """
    if isinstance(node, Mapping):
        return {key: filled_in(value, env) for key, value in node.items()}
    if isinstance(node, list):
        return [filled_in(each, env) for each in node]
    return VARIABLE.sub(lambda match: _value(match, env), node) if isinstance(node, str) else node


def merged(below: Any, above: Any) -> Any:
    """Return one file over another: mappings are joined, anything else is replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: merged(below[key], value) if key in below else value for key, value in above.items()}}


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    if value := env.get(match["name"], ""):
        return value
    if match["kind"] == "?":
        raise MissingVariableError(match["rest"])
    return match["rest"] or ""
