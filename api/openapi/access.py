"""Which operations take an API key, and what they answer without."""

from typing import Any

from api.access import OF_ANY_KEY, scope_of
from api.openapi.parts import PROBLEM
from ferry.access import Scope


def with_access(schema: dict[str, Any]) -> dict[str, Any]:
    """Add to a whole OpenAPI document which operations take an API key, and what they answer without."""
    schema.setdefault("components", {})["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key (`ferry keys create`), where they are needed.",
        }
    }
    content = {"application/problem+json": {"schema": PROBLEM}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            scope = scope_of(method.upper(), path)
            if scope is None:
                continue
            is_for_any = path in OF_ANY_KEY
            needs = "any" if is_for_any else f"`{scope}`"
            operation["security"] = [{}, {"key": []}]
            operation["description"] = f"{operation.get('description', '')}\n\nScope of its API key: {needs}.".strip()
            answers = {"401": "No API key that is in force"}
            if not is_for_any:
                answers["403"] = f"The key has not the scope {scope}"
            if scope is Scope.SUBMIT:
                answers["429"] = "The key is over its limits; see Retry-After"
            for status, description in answers.items():
                operation["responses"].setdefault(status, {"description": description, "content": content})
    return schema
