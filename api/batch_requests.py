"""A request for a bulk batch, read and checked: errors name the field, the limit and the remedy. Pure functions."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.registry import OUTPUT_FORMATS
from ferry.errors import InvalidInputError

PREDICTIONS = "/v1/predictions"
_INFER = re.compile(r"/v2/models/([A-Za-z0-9._-]{1,64})(?:/versions/([a-z0-9][a-z0-9._-]{0,31}))?/infer", re.ASCII)
_WINDOW = re.compile(r"(\d{1,9})\s*(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LEAST_WINDOW_S, MOST_WINDOW_S = 60, 30 * 86_400
MOST_PAIRS, MOST_KEY_CHARS, MOST_VALUE_CHARS = 16, 64, 512
LEAST_TTL_S, MOST_TTL_S = 3600, 2_592_000
_FIELDS = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after", "model")
_MOST_ID_CHARS = 64
# Where rows that failed are: in the error file alone, or at their place in the output too.
ERROR_PLACES = ("file", "inline")
_EXPIRES = 'expected {"anchor": "created_at", "seconds": N}'


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a client asks for. model: a name; version: None is the latest."""

    input_file_id: str
    endpoint: str
    model: str
    version: str | None
    window_s: int
    completion_window: str
    metadata: Mapping[str, str]
    output_ttl_s: float | None

    @property
    def fingerprint(self) -> str:
        """What is asked for, in short; the order of the metadata does not matter."""
        ordered = replace(self, metadata=dict(sorted(self.metadata.items())))
        return hashlib.sha256(repr(ordered).encode("utf-8")).hexdigest()[:32]


def read_batch_request(body: Mapping[str, Any], *, default_model: str) -> BatchRequest:
    """Return the request.

    Raises:
        InvalidInputError: with a pointer to the field at fault.
    """
    for name in body:
        if name not in _FIELDS:
            raise InvalidInputError.at(f"#/{name[:40]}", f"unknown field {name[:40]!r}; there are {', '.join(_FIELDS)}")
    metadata = _metadata(body.get("metadata"))
    endpoint = _text(body, "endpoint", f"{PREDICTIONS} or /v2/models/NAME/infer", 200)
    asked = body.get("model")
    if asked is None and endpoint == PREDICTIONS:  # clients whose calls have no such field can say it there
        asked = metadata.get("model")
    model, version = _model(endpoint, asked, default_model)
    window = _text(body, "completion_window", 'a time such as "24h"', 20, default="24h")
    return BatchRequest(
        _text(body, "input_file_id", "the id of a file (POST /v1/files)", _MOST_ID_CHARS),
        endpoint,
        model,
        version,
        _window_s(window),
        window,
        metadata,
        _ttl_s(body.get("output_expires_after")),
    )


def _text(body: Mapping[str, Any], name: str, what: str, most_chars: int, default: str | None = None) -> str:
    value = body.get(name, default)
    if value is None:
        raise InvalidInputError.at(f"#/{name}", f"{name} is missing; expected {what}")
    if not isinstance(value, str) or not 0 < len(value) <= most_chars:
        raise InvalidInputError.at(f"#/{name}", f"{name} must be {what}, a text of up to {most_chars} characters")
    return value


def _model(endpoint: str, asked: object, default_model: str) -> tuple[str, str | None]:
    """Return name and version of the model that an endpoint runs."""
    if asked is not None and not (isinstance(asked, str) and asked):
        raise InvalidInputError.at("#/model", 'model must be a name such as "mnist" or "mnist:1"')
    if endpoint == PREDICTIONS:
        name, _, version = (asked if isinstance(asked, str) else default_model).partition(":")
        return name, version or None
    match = _INFER.fullmatch(endpoint)
    if not match:
        detail = (
            f"endpoint {endpoint[:80]!r} is not one; expected {PREDICTIONS}, /v2/models/NAME/infer or "
            "/v2/models/NAME/versions/VERSION/infer"
        )
        raise InvalidInputError.at("#/endpoint", detail)
    if asked not in (None, match[1], f"{match[1]}:{match[2]}"):
        raise InvalidInputError.at("#/model", f"model goes with {PREDICTIONS}; this endpoint names {match[1]} itself")
    return match[1], match[2]


def _window_s(text: str) -> int:
    match = _WINDOW.fullmatch(text.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not LEAST_WINDOW_S <= seconds <= MOST_WINDOW_S:
        detail = (
            f"completion_window {text[:20]!r} is no time from 1m to 30d; expected one such as 24h, 90m, 3600s or 7d"
        )
        raise InvalidInputError.at("#/completion_window", detail)
    return seconds


def _metadata(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInputError.at("#/metadata", "metadata must be an object of texts")
    if len(value) > MOST_PAIRS:
        raise InvalidInputError.at("#/metadata", f"metadata has {len(value)} pairs, the limit is {MOST_PAIRS}")
    for key, text in value.items():
        pointer = f"#/metadata/{key[:MOST_KEY_CHARS]}"
        if not 0 < len(key) <= MOST_KEY_CHARS:
            raise InvalidInputError.at("#/metadata", f"a key of metadata has 1 to {MOST_KEY_CHARS} characters")
        if not isinstance(text, str) or len(text) > MOST_VALUE_CHARS:
            raise InvalidInputError.at(
                pointer, f"metadata {key!r} must be a text of up to {MOST_VALUE_CHARS} characters"
            )
    asked = value.get("output_format")
    if asked is not None and asked not in OUTPUT_FORMATS:
        detail = f"no output format {asked[:20]!r}; there are {', '.join(OUTPUT_FORMATS)}"
        raise InvalidInputError.at("#/metadata/output_format", detail)
    errors = value.get("errors")
    if errors not in (None, *ERROR_PLACES):
        raise InvalidInputError.at("#/metadata/errors", f"expected {' or '.join(ERROR_PLACES)}, got {errors[:20]!r}")
    escapes = value.get("csv_escape_formulas")
    if escapes not in (None, "true", "false"):
        raise InvalidInputError.at(
            "#/metadata/csv_escape_formulas", f'expected "true" or "false", got {escapes[:20]!r}'
        )
    read_options(value)
    return value


def _ttl_s(value: object) -> float | None:
    if value is None:
        return None
    pointer = "#/output_expires_after"
    if not isinstance(value, dict) or value.keys() != {"anchor", "seconds"}:
        raise InvalidInputError.at(pointer, _EXPIRES)
    anchor, seconds = value["anchor"], value["seconds"]
    if not isinstance(anchor, str) or anchor != "created_at":  # a large array would compare item by item
        raise InvalidInputError.at(pointer, _EXPIRES)
    if type(seconds) is not int or not LEAST_TTL_S <= seconds <= MOST_TTL_S:
        raise InvalidInputError.at(f"{pointer}/seconds", f"expected a whole number, {LEAST_TTL_S} to {MOST_TTL_S}")
    return float(seconds)
