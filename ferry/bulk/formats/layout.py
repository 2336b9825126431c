"""How a delimited text is read: its delimiter, decimal sign and header, recognised in its first rows.

Every way to read them is tried. One that reads all that the others read wins; where two read the same rows differently,
the file is refused, and the error names the option that settles it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ferry.bulk.formats.base import Rules
from ferry.bulk.formats.cells import cell_reader
from ferry.bulk.formats.columns import InputColumns, index_names, map_columns
from ferry.bulk.formats.decimal_signs import find_open_sign
from ferry.bulk.formats.first_lines import (
    are_counted,
    are_elements,
    are_names,
    column_names,
    extra_field,
    first_record,
    first_records,
    is_without_values,
    place_names,
    rows_begin_quoted,
    shown_line,
)
from ferry.bulk.formats.layout_messages import ask_header, delimiter_option, layout_notes, shown_delimiter
from ferry.bulk.formats.table_layout import Layout, own_names
from ferry.bulk.formats.thousands import SignEvidence
from ferry.errors import InvalidInputError

DELIMITERS = (",", ";", "\t", "|")
_MAY_BE_ROW = "; say --header no if the first line is a row without values"
_MAY_BE_BOTH = "may name the columns, or be a row"


class Recognised(NamedTuple):
    """How a text is read, what its sender should know of that, and the decimal sign if its first rows leave it open."""

    layout: Layout
    notes: tuple[str, ...]
    open_sign: SignEvidence | None


def recognise_layout(sample: str, rules: Rules, default: str, *, is_whole: bool) -> Recognised:
    """Return how a text that begins with `sample` is read.

    default: the delimiter that the file's name stands for. is_whole: whether the text ends with the sample.

    Raises:
        InvalidInputError: no way to read it fits the model, or two do.
    """
    search = _Search(rules, default)
    others = [each for each in DELIMITERS if each != default]
    for delimiter in [rules.reading.delimiter] if rules.reading.delimiter else [default, *others]:
        if search.may_be(delimiter, first_record(sample, delimiter)):
            search.are_quoted = rows_begin_quoted(sample, delimiter)
            search.look(first_records(sample, delimiter, is_whole=is_whole), delimiter)
    if not search.found and not rules.reading.delimiter:
        search.hint = _hint_blanks(sample, rules, is_whole=is_whole)
    reading = search.best(sample)
    _check_breaks(reading.layout, sample)
    open_sign = find_open_sign(reading.rows.values(), reading.layout, rules)
    return Recognised(reading.layout, layout_notes(reading.layout, default, rules, sample), open_sign)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read the sample. rows: by the number of their record. good: elements of those that can be run."""

    layout: Layout
    rows: Mapping[int, list[str]]
    good: dict[int, str] = field(default_factory=dict)

    def judge_rows(self) -> None:
        layout = self.layout
        place = {name: at for at, name in enumerate(layout.names)}
        readers = [
            (place[name], cell_reader(column, at, layout.decimal))
            for column in layout.columns
            for at, name in enumerate(column.names)
        ]
        for number, record in self.rows.items():
            row = layout.fitted(record or [""] if len(layout.names) == 1 else record)
            if row is not None:
                with suppress(InvalidInputError):
                    self.good[number] = repr([read(row[at]) for at, read in readers])

    def covers(self, other: "_Reading") -> bool:
        return all(self.good.get(number) == row for number, row in other.good.items())


class _Search:
    """The ways to read a sample that were found so far, and why others are none."""

    def __init__(self, rules: Rules, default: str) -> None:
        self._rules = rules
        self._asked = rules.reading
        self._default = default
        self.hint = ""  # what to add where no way is found
        self.are_quoted = False  # whether each row of the records that are looked at begins with a quote
        self.found: list[_Reading] = []
        self._doubts: list[InvalidInputError] = []  # a line that is as well a header as a row
        self._mixed: list[InvalidInputError] = []  # a line that is neither
        self._errors: list[tuple[int, InvalidInputError]] = []  # by how many fields there are

    def may_be(self, delimiter: str, first: Sequence[str]) -> bool:
        """Say whether records may be split at a delimiter, by the first one.

        Any that is not in a line reads it as one column, whatever it holds: it counts where the line holds no other
        either, for rows that have the usual one in them, such as a decimal comma.
        """
        if len(first) > 1 or not self._is_guess(delimiter):
            return True
        return not any(each in cell for cell in first for each in DELIMITERS)

    def _is_guess(self, delimiter: str) -> bool:
        return delimiter not in (self._default, self._asked.delimiter)

    def look(self, records: Sequence[list[str]], delimiter: str) -> None:
        """Take the ways to read records that are split at one delimiter."""
        if not records:
            return
        before = len(self.found) + len(self._doubts) + len(self._mixed)
        errors: list[InvalidInputError] = []
        for header, look in (("yes", self._look_with_header), ("no", self._look_without_header)):
            if self._asked.header in ("auto", header):
                try:
                    look(records, delimiter)
                except InvalidInputError as error:
                    is_row = header == "yes" and self._asked.header == "auto" and is_without_values(records[0])
                    errors.append(InvalidInputError(error.detail + _MAY_BE_ROW) if is_row else error)
        if errors and before == len(self.found) + len(self._doubts) + len(self._mixed):
            # A line that is no names is a row: what is wrong with it as a header says nothing.
            self._errors.append((len(records[0]), errors[0 if are_names(records[0]) else -1]))

    def best(self, sample: str) -> _Reading:
        """Return the way that reads all rows that the others read, as they do.

        Raises:
            InvalidInputError: there is none; it names the option that settles it.
        """
        named = [each for each in self.found if not each.layout.is_by_place]
        if self._doubts and not named:
            raise self._doubts[0]
        readings = named or self.found
        if not readings:
            if self._mixed:
                raise self._mixed[0]
            if not self._errors:
                raise InvalidInputError("no header")
            raise InvalidInputError(max(self._errors, key=lambda each: each[0])[1].detail + self.hint)
        if len(readings) > 1 or (self._mixed and not named):
            for reading in readings:
                reading.judge_rows()
        if self._mixed and not named and not any(reading.good for reading in readings):
            raise self._mixed[0]
        return _covering(readings, sample)

    def _look_with_header(self, records: Sequence[list[str]], delimiter: str) -> None:
        first = records[0]
        extra = extra_field(records, may_be_words=self.are_quoted or self._are_all_numbers(first))
        names = column_names(first, extra)
        columns = tuple(map_columns(own_names(names, extra), self._rules, has_lists=False))
        rows = dict(enumerate(records[1:], 1))
        filled = [row for row in records[1:] if row]
        layout = Layout(names, columns, delimiter, ".", has_header=True, extra=extra)
        n_fitting = sum(layout.fitted(row) is not None for row in filled)
        if self._is_guess(delimiter) and 2 * n_fitting < len(filled):
            how_many = f"{n_fitting} of {len(filled)} rows have the {len(names)} fields of the first line"
            raise InvalidInputError(f"{how_many} at {shown_delimiter(delimiter)}; say --delimiter if it is that")
        readings = [
            _Reading(replace(layout, decimal=decimal), rows) for decimal in self._decimals(rows, names, columns)
        ]
        if not readings[0].layout.is_by_place:
            self.found += readings
            return
        if not self._asked.delimiter and any(each in cell for cell in first for each in DELIMITERS):
            # Another delimiter in a name: it may as well be a row that is split at the wrong one.
            for reading in readings:
                reading.judge_rows()
            readings = [reading for reading in readings if reading.good]
            if not readings:
                raise InvalidInputError(
                    f"no row fits the first line ({shown_line(first)}) at {shown_delimiter(delimiter)}"
                )
        if self._asked.header != "auto" or self._is_header(first, names, columns):
            self.found += readings

    def _are_all_numbers(self, first: list[str]) -> bool:
        """Say whether every column that a line names is an input of numbers, so that none holds a text."""
        names = column_names(first)
        try:
            columns = map_columns(names, self._rules, has_lists=False)
        except InvalidInputError:
            return False
        used = {name for column in columns if not column.spec.is_string for name in column.names}
        return used.issuperset(names)

    def _is_header(self, first: list[str], names: Sequence[str], columns: Sequence[InputColumns]) -> bool:
        """Say whether a line without an input's name is a header; where it may be, there is a doubt more."""
        used = {name for column in columns for name in column.names}
        cells = [cell for cell, name in zip(first, names, strict=False) if name in used]
        if self._rules.join and not self._rules.joins_all:
            return True  # it names the columns to join; without them it was refused
        if any(column.spec.is_string for column in columns):
            self._doubts.append(ask_header(first, _MAY_BE_BOTH))
        elif are_elements(first, names, columns, ".,"):
            if len(cells) == len(first):
                return False  # it is a row, or a doubt of that way to read it
            if are_counted(cells) and names[0] in index_names(names, self._rules):
                return True  # as pandas writes an array
            self._doubts.append(ask_header(first, _MAY_BE_BOTH))
        elif not are_names(cells):
            self._mixed.append(ask_header(first, "is neither all names nor all numbers"))
        else:
            return True
        return False

    def _look_without_header(self, records: Sequence[list[str]], delimiter: str) -> None:
        first = records[0]
        names = place_names(len(first))
        columns = tuple(map_columns(names, self._rules, has_lists=False, has_names=False))
        rows = dict(enumerate(records))
        is_auto = self._asked.header == "auto"
        if is_auto and any(column.spec.is_string for column in columns):
            self._doubts.append(ask_header(first, _MAY_BE_BOTH))
            return
        if is_auto and are_counted(first):
            self._doubts.append(ask_header(first, "counts the columns, or is a row of whole numbers"))
            return
        self.found += [
            _Reading(Layout(names, columns, delimiter, decimal, has_header=False), rows)
            for decimal in self._decimals(rows, names, columns)
            if not is_auto or are_elements(first, names, columns, decimal)
        ]

    def _decimals(
        self, rows: Mapping[int, list[str]], names: Sequence[str], columns: Sequence[InputColumns]
    ) -> Iterator[str]:
        """Yield the decimal signs that the cells of floats may have."""
        if self._asked.decimal:
            yield self._asked.decimal
            return
        yield "."
        floats = {name for each in columns if each.is_float for name in each.names}
        places = [place for place, name in enumerate(names) if name in floats]
        commas = [row for row in rows.values() if "," in "".join(row)]
        if any("," in row[place] for row in commas for place in places if place < len(row)):
            yield ","


def _covering(readings: Sequence[_Reading], sample: str) -> _Reading:
    for reading in readings:
        if all(reading.covers(other) for other in readings):
            return reading
    one = max(readings, key=lambda each: len(each.good))
    other = next(each for each in readings if not one.covers(each))
    if one.layout.delimiter == other.layout.delimiter:
        raise InvalidInputError("the decimal sign may be . or ,; say which with --decimal . or --decimal ,")
    absent, *more = sorted((one.layout.delimiter, other.layout.delimiter), key=sample.count)
    if absent not in sample:
        raise InvalidInputError(
            f"{shown_delimiter(more[0])} may be the delimiter, or be in the fields of one column; say --delimiter "
            f"{delimiter_option(more[0])} for the first, and --delimiter {delimiter_option(absent)} for the second"
        )
    two = " or ".join(shown_delimiter(each.layout.delimiter) for each in (one, other))
    raise InvalidInputError(f"the delimiter may be {two}; say which with --delimiter")


def _check_breaks(layout: Layout, sample: str) -> None:
    r"""Refuse one column whose lines all end with \r\r\n: each break would be a row without a value more."""
    if len(layout.names) == 1 and 0 < sample.count("\n") == sample.count("\r\r\n"):
        raise InvalidInputError(
            "every line ends with \\r\\r\\n, which is two breaks; write the file with \\n or \\r\\n "
            "(Python: open it with newline='')"
        )


def _hint_blanks(sample: str, rules: Rules, *, is_whole: bool) -> str:
    """Return what to add to an error where blanks as delimiter give rows, as R's write.table writes them."""
    search = _Search(rules, " ")
    search.are_quoted = rows_begin_quoted(sample, " ")
    records = first_records(sample, " ", is_whole=is_whole)
    if records and len(records[0]) > 1:
        search.look(records, " ")
    return '; blanks may be the delimiter: say --delimiter " " if they are' if search.found else ""
