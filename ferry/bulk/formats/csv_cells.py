"""Columns of an output as cells of CSV and TSV. Knows no file.

A spreadsheet runs a cell of text as a formula if it begins with one of = + - @, a tab or a carriage return. Where it
is asked for, such a cell gets an apostrophe in front, which spreadsheets do not show.
"""

from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from ferry.bulk.formats.joined_text import is_text, to_cells

_FORMULA = r"^[=+\-@\t\r]"
# A text that is a number, such as -5 or +1.5e3, is no formula.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_MARK = "'"


def as_cells(table: Any, *, escape_formulas: bool) -> Any:
    """Return a table whose columns, and their names, are cells."""
    columns, names = [], table.column_names
    for column in table.columns:
        cells = to_cells(column)
        columns.append(_escaped(cells) if escape_formulas and is_text(column.type) else cells)
    if escape_formulas:
        names = _escaped(pa.array(names, pa.string())).to_pylist()
    return pa.table(columns, names=names)


def _escaped(texts: Any) -> Any:
    """Return texts, with the mark before those that a spreadsheet would run."""
    is_formula = pc.and_(pc.match_substring_regex(texts, _FORMULA), pc.invert(pc.match_substring_regex(texts, _NUMBER)))
    if not pc.any(is_formula).as_py():
        return texts
    return pc.if_else(
        is_formula, pc.binary_join_element_wise(pa.scalar(_MARK, texts.type), texts, pa.scalar("", texts.type)), texts
    )
