"""What is known of how a delimited text is read, and how a row fits its columns. Decides nothing; `layout` does."""

from dataclasses import dataclass

from ferry.bulk.formats.columns import InputColumns

ENDINGS = ("last", "empty")  # of `Layout.extra`: an empty column behind a last delimiter


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a table are read.

    names: of all columns; those without one are called `Unnamed: 0`, by their place. has_header: whether the first
    record names them. extra: which field of a row the header has no name for, if any: `first` is R's row name, `last`
    is nothing behind a last delimiter, `empty` the same where the header ends with a delimiter too.
    """

    names: tuple[str, ...]
    columns: tuple[InputColumns, ...]
    delimiter: str
    decimal: str
    has_header: bool
    extra: str = ""

    @property
    def input_names(self) -> list[str]:
        """The columns of all inputs, in the manifest's order."""
        return [name for column in self.columns for name in column.names]

    @property
    def float_names(self) -> list[str]:
        """The columns of the inputs of floats, in the manifest's order."""
        return [name for column in self.columns if column.is_float for name in column.names]

    @property
    def own_names(self) -> tuple[str, ...]:
        """The names without that of an empty column behind a last delimiter."""
        return own_names(self.names, self.extra)

    def fitted(self, row: list[str]) -> list[str] | None:
        """Return a row with a field for each column; None where it has more or fewer that are filled."""
        width = len(self.names)
        if self.extra in ENDINGS:
            if len(row) == width - 1:
                return [*row, ""]
            if len(row) == width and row[-1].strip():
                return None
        return row if len(row) == width else None

    @property
    def is_by_place(self) -> bool:
        """Whether no column has a name of an input."""
        return any(column.by_place for column in self.columns)


def own_names(names: tuple[str, ...], extra: str) -> tuple[str, ...]:
    """Return the names of columns without the one that is no column; extra: as in `Layout`."""
    return names[:-1] if extra in ENDINGS else names
