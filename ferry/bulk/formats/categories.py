"""Dictionaries of category columns, put together over the parts of an output. An Arrow file has one for each column."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.joined_text import one_array
from ferry.errors import InvalidInputError


class Categories:
    """The dictionary of each category column: the categories of all parts, in the order in which they came."""

    def __init__(self, tables: Iterable[Any]) -> None:
        """Take the categories of all parts, one after the other."""
        self._known: dict[str, Any] = {}
        for table in tables:
            for place, field in enumerate(table.schema):
                if pa.types.is_dictionary(field.type):
                    self._add(field.name, one_array(table.column(place)).dictionary)

    def _add(self, name: str, found: Any) -> None:
        known = self._known.setdefault(name, found)
        if not known.equals(found):
            self._known[name] = pa.concat_arrays([known, found]).unique()

    def applied(self, table: Any) -> Any:
        """Return a part with all categories in each column.

        Raises:
            InvalidInputError: there are more categories than the column's index type can count.
        """
        for place, field in enumerate(table.schema):
            if not pa.types.is_dictionary(field.type):
                continue
            column, known = one_array(table.column(place)), self._known[field.name]
            if column.dictionary.equals(known):
                continue
            try:
                moved = _moved(column, known, field.type)
            except pa.ArrowException:
                detail = (
                    f"column {field.name[:40]!r} has {len(known)} categories in all, more than {field.type} can count; "
                    "ask for parquet"
                )
                raise InvalidInputError(detail) from None
            table = table.set_column(place, field, moved)
        return table


def _moved(column: Any, known: Any, kind: Any) -> Any:
    """Return a column with another dictionary, in which all of its categories are."""
    texts = pa.string() if pa.types.is_string_view(known.type) else known.type  # of views pyarrow finds none
    places = pc.index_in(column.dictionary.cast(texts), known.cast(texts))
    indices = places.take(column.indices).cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(indices, known, ordered=kind.ordered)
