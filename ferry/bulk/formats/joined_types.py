"""Which types of joined columns each output format holds. What it cannot hold is refused before the first row runs.

Arrow and Parquet keep a column's type. JSONL and CSV hold the types that `joined_text` has a form for.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats.extensions import empty_table
from ferry.bulk.formats.joined_json import has_json
from ferry.bulk.formats.joined_text import has_text, is_text, one_array, plain_categories
from ferry.errors import InvalidInputError


def check_joined(types: Mapping[str, Any], output_format: str) -> None:
    """Refuse joined columns that the output cannot hold.

    Raises:
        InvalidInputError: naming the column, its type, and formats that hold it.
    """
    holds = _HOLDS.get(output_format)
    for name, kind in types.items():
        if holds is not None and not holds(kind):
            others = [other for other, also in _REMEDIES.items() if also(kind)]
            ask = f"ask for {' or '.join(others)}, or join other columns" if others else "join other columns"
            detail = f"column {name[:40]!r} holds {str(kind)[:80]}, which {output_format} cannot hold; {ask}"
            raise InvalidInputError(detail)


def in_parquet(kind: Any) -> bool:
    """Say whether Parquet gives the values of a type back as they are."""
    out = io.BytesIO()
    try:
        pq.write_table(as_parquet(empty_table(pa.schema([("c", kind)]))), out)
        found = pq.read_table(io.BytesIO(out.getvalue())).schema.field("c").type
    except (pa.ArrowException, ValueError, OSError):
        return False
    return bool(found == kind) or _is_same_value(kind, found)


def as_parquet(table: Any) -> Any:
    """Return the table with its categories as Parquet can hold them."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and pa.types.is_string_view(field.type.value_type):
            table = table.set_column(place, field.name, plain_categories(one_array(table.column(place))))
    return table


def _is_same_value(kind: Any, found: Any) -> bool:
    """Say whether a type that Parquet lacks comes back as one with the same values: finer units, category to value."""
    if pa.types.is_dictionary(kind):
        is_text_too = is_text(kind) and found == pa.dictionary(kind.index_type, pa.string(), kind.ordered)
        return bool(found == kind.value_type) or is_text_too
    if pa.types.is_date(kind):
        return bool(pa.types.is_date(found))
    if pa.types.is_timestamp(kind):
        return bool(kind.unit == "s" and found == pa.timestamp("ms", kind.tz))
    return bool(kind == pa.time32("s") and found == pa.time32("ms"))


def _in_arrow(kind: Any) -> bool:
    """Say whether an Arrow file holds a type. Inside of lists and structs its categories cannot be put together."""
    if isinstance(kind, pa.BaseExtensionType):
        return _in_arrow(kind.storage_type)
    return not any(_has_categories(kind.field(number).type) for number in range(kind.num_fields))


def _has_categories(kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind)) or not _in_arrow(kind)


_REMEDIES: dict[str, Callable[[Any], bool]] = {"jsonl": has_json, "parquet": in_parquet, "arrow": _in_arrow}
_HOLDS: dict[str, Callable[[Any], bool]] = _REMEDIES | {"csv": has_text, "tsv": has_text}
