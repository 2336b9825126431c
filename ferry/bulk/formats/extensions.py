"""Arrow's extension types as usual types with the same values. Knows Arrow's own ones, and nothing of models.

A tensor of a fixed shape becomes nested lists in its logical order: what lies in memory may be permuted.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]


def plain_type(kind: Any) -> Any:
    """Return the type that `plain_extension` gives; None where it is not known what the values mean."""
    if isinstance(kind, pa.FixedShapeTensorType):
        plain = kind.value_type
        for size in reversed(logical_shape(kind)):
            plain = pa.list_(plain, size)
        return plain
    if isinstance(kind, pa.JsonType):
        return kind.storage_type
    return pa.bool_() if isinstance(kind, pa.Bool8Type) else pa.string() if isinstance(kind, pa.UuidType) else None


def plain_extension(array: Any) -> Any:
    """Return an array of an extension type as one of its `plain_type`; of one that is not known its storage."""
    kind = array.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _nested(array)
    if isinstance(kind, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    return array.storage.cast(pa.bool_()) if isinstance(kind, pa.Bool8Type) else array.storage


def logical_shape(kind: Any) -> tuple[int, ...]:
    """Return the shape of the tensors of a type as its writer meant them."""
    places = kind.permutation or range(len(kind.shape))
    return tuple(kind.shape[place] for place in places)


def is_ambiguous(kind: Any) -> bool:
    """Say whether tools read the permutation of tensors in two ways: as it is, or its inverse, as pyarrow writes it."""
    places = kind.permutation or range(len(kind.shape))
    return any(places[other] != place for place, other in enumerate(places))


def _nested(array: Any) -> Any:
    """Return tensors as nested lists of fixed sizes."""
    kind, storage = array.type, array.storage
    size = math.prod(kind.shape)
    flat = storage.values.slice(storage.offset * size, len(storage) * size)
    if kind.permutation:
        within = np.arange(size).reshape(kind.shape).transpose(kind.permutation).reshape(1, size)
        flat = flat.take(pa.array((np.arange(len(storage)).reshape(-1, 1) * size + within).reshape(-1)))
    for each in reversed(logical_shape(kind)[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, each)
    mask = storage.is_null() if storage.null_count else None
    return pa.FixedSizeListArray.from_arrays(flat, logical_shape(kind)[0], mask=mask)


def empty_table(schema: Any) -> Any:
    """Return a table of a schema without rows; pyarrow makes none of permuted tensors."""
    try:
        return schema.empty_table()
    except NotImplementedError:
        return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)
