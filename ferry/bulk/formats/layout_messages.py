"""What a sender reads about how a delimited text is read: notes of a batch, and parts of refusals."""

from collections.abc import Sequence

from ferry.bulk.formats.base import Rules
from ferry.bulk.formats.columns import column_notes
from ferry.bulk.formats.first_lines import shown_line
from ferry.bulk.formats.table_layout import ENDINGS, Layout
from ferry.errors import InvalidInputError

_SHOWN_CHARS = 40
_NAMES = {"\t": "tab", " ": "space"}


def ask_header(first: Sequence[str], why: str) -> InvalidInputError:
    """Return the error for a first line that may be a header or a row; why: what makes it so."""
    return InvalidInputError(f"the first line ({shown_line(first)}) {why}; say which with --header yes or --header no")


def ask_decimal(cell: str, sign: str) -> InvalidInputError:
    """Return the error for a cell in which a sign may be decimal or stand between thousands."""
    name = "comma" if sign == "," else "point"
    return InvalidInputError(
        f"{cell[:_SHOWN_CHARS]!r} may have a decimal {name}, or a {name} between thousands; say --decimal {sign} for "
        f"the first, and write the numbers without {name}s for the second"
    )


def delimiter_option(delimiter: str) -> str:
    """Return a delimiter as --delimiter takes it in a shell."""
    return _NAMES.get(delimiter, f"'{delimiter}'")


def shown_delimiter(delimiter: str) -> str:
    """Return a delimiter for a message."""
    return _NAMES.get(delimiter, repr(delimiter))


def layout_notes(layout: Layout, default: str, rules: Rules, sample: str) -> tuple[str, ...]:
    """Return what a batch says of how its file is read; sample: the text's begin."""
    notes = []
    if not layout.has_header and rules.reading.header == "auto":
        notes.append(
            "the first line is numbers alone, so it is a row: the file has no header (--header yes: it has one)"
        )
    if layout.extra == "first":
        notes.append("every row has a field more than the header: the first one is left out, as R's row names")
    elif layout.extra in ENDINGS:
        notes.append("rows end with a delimiter; the empty column behind it is left out")
    if layout.delimiter not in sample and default in sample and not rules.reading.delimiter:
        notes.append(f"every line is one field: {shown_delimiter(default)} is in it, but is no delimiter")
    elif layout.delimiter not in (default, rules.reading.delimiter):
        notes.append(f"the delimiter is {shown_delimiter(layout.delimiter)}")
    if layout.decimal == "," and not rules.reading.decimal:
        notes.append("the decimal sign is a comma")
    names = layout.names[1:] if layout.extra == "first" else layout.own_names
    return (*notes, *column_notes(names, layout.columns, rules))
