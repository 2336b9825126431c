"""JSON schemas of files that others read: Compose, GitHub and Dependabot. Those that check-jsonschema brings."""

import json
from importlib.resources import files
from typing import Any

from jsonschema.validators import validator_for


def schema_errors(name: str, document: Any) -> list[str]:
    """Return what is wrong with a document by a schema such as `compose-spec`, each with where."""
    text = (files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    errors = validator_for(schema)(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]
