"""What the first lines of a delimited text look like: numbers or names, counted columns, a field too many.

Knows lines and the inputs' elements; decides nothing. `layout` does.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice

from ferry.bulk.formats.cells import cell_reader
from ferry.bulk.formats.columns import InputColumns
from ferry.errors import InvalidInputError
from ferry.missing import NA_WORDS

# Rows that are looked at: many of a narrow table, few of a wide one.
MIN_SAMPLE_ROWS, MAX_SAMPLE_ROWS = 20, 1000
SAMPLE_CELLS = 10_000
# What a cell without a value may look like; it says neither that a line is a header nor that it is a row.
_NO_VALUES = frozenset(word.lower() for word in NA_WORDS)
_SHOWN_CELLS, _SHOWN_CHARS = 4, 20
# A cell is as long as a record may be; that is checked before.
csv.field_size_limit(2**31 - 1)


def first_record(sample: str, delimiter: str) -> list[str]:
    """Return the first record that is not empty; an empty one where there is none."""
    return next(filter(None, csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)), [])


def first_records(sample: str, delimiter: str, *, is_whole: bool) -> list[list[str]]:
    """Return the first records, from one that is not empty on; the last one of a sample may be cut, so it is left."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    n_cells = 0
    for record in islice(reader, MAX_SAMPLE_ROWS + 2):
        records.append(record)
        n_cells += len(record)
        if n_cells > SAMPLE_CELLS and len(records) > MIN_SAMPLE_ROWS:
            is_whole = False
            break
    if not is_whole and len(records) > 1:
        records.pop()
    while records and not records[0]:
        records.pop(0)
    return records


def column_names(first: Sequence[str], extra: str = "") -> tuple[str, ...]:
    """Return the columns' names by the fields of a header; extra: as in `Layout`."""
    names = [name.strip() for name in first]
    names = ["", *names] if extra == "first" else [*names, ""] if extra == "last" else names
    taken = set(names)
    for place, name in enumerate(names):
        if not name:
            names[place] = f"Unnamed: {place}"
            while names[place] in taken:  # pandas writes its index once more each time
                names[place] += ".1"
    return tuple(names)


def place_names(width: int) -> tuple[str, ...]:
    """Return the names of columns in a file without a header."""
    return tuple(f"column_{number}" for number in range(1, width + 1))


def extra_field(records: Sequence[list[str]], *, may_be_words: bool) -> str:
    """Say which field of the rows the header has no name for, as in `Layout.extra`.

    may_be_words: whether words in a first field can be R's row names, and not a part of a text with a delimiter.
    """
    width, rows = len(records[0]), [row for row in records[1:] if row]
    ends = [row[-1].strip() for row in rows if len(row) == width]
    if width > 1 and not records[0][-1].strip() and ends and not any(ends):
        return "empty"
    wide = [(number, row) for number, row in enumerate(rows, 1) if len(row) == width + 1]
    if not wide or 2 * len(wide) < len(rows):
        return ""
    n_empty = sum(not row[-1].strip() for _, row in wide)
    if n_empty == len(wide):
        return "last"
    if _are_row_names([(number, row[0].strip()) for number, row in wide], may_be_words=may_be_words):
        # Either rule may explain rows with a number in front and some with nothing behind.
        return "" if n_empty else "first"
    return "last" if 2 * n_empty >= len(wide) else ""


def _are_row_names(firsts: Sequence[tuple[int, str]], *, may_be_words: bool) -> bool:
    """Say of the numbers of rows and their first fields whether these are R's names of rows."""
    names = [name for _, name in firsts]
    if len(names) == 1 or len(set(names)) < len(names):
        return False  # a row by itself may as well be a faulty one
    if all(name == str(number) for number, name in firsts):
        return True
    return may_be_words and not any(is_float(name) for name in names)


def rows_begin_quoted(sample: str, delimiter: str) -> bool:
    """Say whether every record of a sample but the first begins with a quote."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(sample, newline=""):
            taken.append(line)
            yield line

    are_quoted = []
    for record in islice(csv.reader(lines(), delimiter=delimiter), MAX_SAMPLE_ROWS):
        if record:
            are_quoted.append(taken[0].startswith('"'))
        taken.clear()
    return len(are_quoted) > 1 and all(are_quoted[1:])


def is_float(cell: str) -> bool:
    """Say whether a cell is a number, with either decimal sign."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def is_without_values(cells: Sequence[str]) -> bool:
    """Say whether a line has cells and none holds a value, as NA."""
    return bool(cells) and all(cell.strip().lower() in _NO_VALUES for cell in cells)


def are_names(cells: Sequence[str]) -> bool:
    """Say whether cells are names: none is a number, or without a value."""
    return not any(cell.strip().lower() in _NO_VALUES or is_float(cell) for cell in cells)


def are_elements(
    first: Sequence[str], names: Sequence[str], columns: Sequence[InputColumns], decimals: Sequence[str]
) -> bool:
    """Say whether the cells of inputs in a line are elements of them; those without a value aside, but not all."""
    return any(_are_elements(dict(zip(names, first, strict=False)), columns, decimal) for decimal in decimals)


def _are_elements(cells: dict[str, str], columns: Sequence[InputColumns], decimal: str) -> bool:
    n_values = 0
    for column in columns:
        for place, name in enumerate(column.names):
            cell = cells.get(name, "")
            if cell.strip().lower() in _NO_VALUES:
                continue
            n_values += 1
            try:
                cell_reader(column, place, decimal)(cell)
            except InvalidInputError:
                return False
    return n_values > 0


def are_counted(cells: Sequence[str]) -> bool:
    """Say whether cells are exactly 0, 1, ... or 1, 2, ..., as tools number columns without names."""
    stripped = [cell.strip() for cell in cells]
    return any(stripped == [str(start + place) for place in range(len(stripped))] for start in (0, 1))


def shown_line(cells: Sequence[str]) -> str:
    """Return a line for a message."""
    shown = ", ".join(repr(cell[:_SHOWN_CHARS]) for cell in cells[:_SHOWN_CELLS])
    return shown + (", ..." if len(cells) > _SHOWN_CELLS else "")
