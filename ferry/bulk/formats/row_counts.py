"""How many rows a line of JSON holds that the model cannot take. Knows the forms of bodies, no errors and no arrays.

Arrays have a place for each row, so a line that failed takes as many places as it has rows.
"""

from collections.abc import Mapping
from typing import Any

from ferry.json_forms import is_column
from ferry.manifest import MAX_MAX_JOB_ROWS, Manifest, TensorSpec


def count_rows(body: Any, manifest: Manifest) -> int:
    """Return the rows in a line's body: 1 where it does not say, and MAX_MAX_JOB_ROWS at most."""
    if not manifest.is_batched or not isinstance(body, dict):
        return 1
    if isinstance(items := body.get("inputs"), list):
        counts = [_shaped(item, manifest) for item in items]
    else:
        counts = _named(body.get("input", body), manifest)
    return max(1, min(max(counts, default=1), MAX_MAX_JOB_ROWS))


def _named(value: Any, manifest: Manifest) -> list[int]:
    if isinstance(value, list) and value and any(isinstance(row, Mapping) for row in value):
        return [len(value)]
    if isinstance(value, Mapping):
        return [_rows(value.get(spec.name), spec) for spec in manifest.inputs]
    return [_rows(value, manifest.inputs[0])] if len(manifest.inputs) == 1 else []


def _rows(value: Any, spec: TensorSpec) -> int:
    """Return the length of the batch axis of nested lists; 1 where they have no such axis."""
    if spec.batch_axis is None or not isinstance(value, list):
        return 1
    wanted = len(spec.shape)
    depth = _depth(value, wanted)
    if depth == 1 and is_column(spec):
        return len(value)
    if depth < wanted:
        return 1
    for _ in range(spec.batch_axis):
        value = next((each for each in value if isinstance(each, list)), [])
    return len(value)


def _depth(value: Any, limit: int) -> int:
    """Return how deep lists are nested, `limit` at most; values that are no lists stand anywhere in a faulty line."""
    if not isinstance(value, list):
        return 0
    if limit <= 1:
        return 1
    deepest = 1
    for each in value:
        deepest = max(deepest, 1 + _depth(each, limit - 1))
        if deepest >= limit:
            break
    return deepest


def _shaped(item: Any, manifest: Manifest) -> int:
    """Return the rows in an input of the infer protocol; 1 where its shape has more rows than it has elements."""
    if not isinstance(item, dict):
        return 1
    spec = next((spec for spec in manifest.inputs if spec.name == item.get("name")), None)
    shape, axis = item.get("shape"), spec.batch_axis if spec else None
    if axis is None or not isinstance(shape, list) or len(shape) <= axis:
        return 1
    rows = shape[axis]
    return rows if type(rows) is int and 0 < rows <= _elements(item.get("data")) else 1


def _elements(value: Any) -> int:
    return sum(map(_elements, value)) if isinstance(value, list) else 1
