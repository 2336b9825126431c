"""What every format of a bulk file shares: its rules, its index of chunks, a chunk's rows and a chunk's outcome.

Knows the manifest and arrays; nothing of storage, of the queue or of a model's run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

import numpy as np

from ferry.bulk.formats.reading import AUTO, ReadOptions
from ferry.bulk.formats.sequences import NumberNames, Repeated
from ferry.errors import InvalidInputError
from ferry.manifest import Manifest, TensorSpec
from ferry.tensors import Array

if TYPE_CHECKING:  # pyarrow is loaded only where a file needs it
    import pyarrow as pa  # type: ignore[import-untyped]

Opener = Callable[[], BinaryIO]
MIB = 1024 * 1024
# Refusals of a row by endpoint, as the synchronous call answers them.
INPUT_STATUS = {"infer": 400, "predictions": 422}
INVALID_INPUT = "invalid_input"
JOIN_ALL = ("input",)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file and its parts may be.

    max_row_bytes: one line or one archived image. max_bytes: the whole file, uncompressed. max_pixels: one image.
    """

    max_row_bytes: int = 8 * MIB
    max_rows: int = 10_000_000
    max_bytes: int = 8 * 1024 * MIB
    max_pixels: int = 40_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What a file is checked against and how it is cut.

    url: what every line of JSONL must name; empty leaves it unchecked. chunk_rows, chunk_bytes: a chunk closes at
    whichever it reaches first. join: input columns echoed beside the outputs; of a table, JOIN_ALL for every column
    that is no input of the model. batch_id: part of the ids of output lines. escape_formulas: text cells of CSV and
    TSV that a spreadsheet would run as a formula get an apostrophe in front. errors_inline: rows that failed keep
    their place in the output. reading: how a text file is to be read.
    """

    manifest: Manifest
    endpoint: Literal["infer", "predictions"] = "infer"
    url: str = ""
    limits: Limits = Limits()
    chunk_rows: int = 1024
    chunk_bytes: int = 16 * MIB
    join: tuple[str, ...] = ()
    max_faults: int = 100
    batch_id: str = ""
    escape_formulas: bool = False
    errors_inline: bool = False
    reading: ReadOptions = AUTO

    @property
    def joins_all(self) -> bool:
        """Whether every column that is no input of the model is echoed."""
        return self.join == JOIN_ALL

    @property
    def has_batch_axis(self) -> bool:
        """Whether an input has a batch axis. Where none has, a row is all that the model takes; so is its answer."""
        return self.manifest.is_batched or any(spec.batch_axis is not None for spec in self.manifest.inputs)

    def row_shape(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """Return the shape of an output for one row that came without a batch axis."""
        return spec.inner_shape if self.has_batch_axis else spec.shape


@dataclass(frozen=True, slots=True)
class FileFault:
    """One thing wrong with a file, for which the whole batch fails. line: 1-based line or row, where there is one."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of rows that is read and worked through in one go.

    first: the first row's place among all rows, from 0. where: what the format needs to find it; JSON types only.
    """

    first: int
    rows: int
    where: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"first": self.first, "rows": self.rows, "where": dict(self.where)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Chunk":
        """Return what `to_dict` gave."""
        return cls(value["first"], value["rows"], value["where"])


@dataclass(frozen=True, slots=True)
class Index:
    """A file's rows, cut. Where there are faults the batch fails and chunks are not to be read.

    joined: the Arrow type of each joined column; empty where all of them are text, which every output holds.
    notes: what the client should know of a file that runs, one sentence each, such as columns or files left out.
    """

    rows: int
    chunks: tuple[Chunk, ...]
    faults: tuple[FileFault, ...] = ()
    notes: tuple[str, ...] = ()
    joined: "Mapping[str, pa.DataType]" = field(default_factory=dict)

    @classmethod
    def failed(cls, code: str, message: str, line: int | None = None, param: str | None = None) -> "Index":
        """Return the index of a file that has one fault as a whole."""
        return cls(0, (), (FileFault(code, message, line, param),))


@dataclass(frozen=True, slots=True)
class RowFault:
    """Why one row has no output.

    position: in its chunk, from 0. status: what the synchronous call would have answered; None when the row was never
    run (cancelled, expired). count: how many rows of the model it has, as far as that is known.
    """

    position: int
    code: str
    message: str
    param: str | None = None
    status: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What one line of the infer protocol wanted back: its id, and (index, as raw bytes) of each output."""

    id: str
    outputs: tuple[tuple[int, bool], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one chunk whose arrays share their inner shapes.

    Shape: each array (sum of counts, *inner), in the manifest's order of inputs. Of a model that runs whole jobs each
    entry along the first axis is one job: a row without its batch axis where `singles` says so, else the job's whole
    array; all of a group alike, and every count is 1. positions: whose rows, a range where
    they are consecutive. counts: how many rows of the model each has (a line of JSONL may hold several). singles:
    whether the batch axis was left out. asked: per position, where the infer protocol said something.
    """

    positions: Sequence[int]
    arrays: list[Array]
    counts: Sequence[int]
    singles: Sequence[bool]
    asked: Sequence[Asked | None]

    @classmethod
    def plain(cls, positions: Sequence[int], arrays: list[Array], *, is_single: bool = True) -> "Group":
        """Return the group of rows that are one row of the model each; `is_single`: the batch axis was left out."""
        n = len(positions)
        return cls(positions, arrays, Repeated(1, n), Repeated(is_single, n), Repeated(None, n))


@dataclass(frozen=True, slots=True)
class Retried:
    """Where rows that are run again stand: places among all rows of the file, and how many failed rows come before.

    Shape: places int64 (rows), from 0, ascending.
    """

    places: Array
    n_before: int


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """A chunk, read: rows for the model in groups, and a fault for each row that does not fit it.

    numbers: each row's line or row in the file, from 1; unit says which. joined: echoed columns, a value per row, in
    the file's own type, which is the same in every chunk of a file. retried: of a batch that runs failed rows again.
    """

    ids: Sequence[str]
    numbers: Sequence[int]
    groups: tuple[Group, ...]
    faults: tuple[RowFault, ...] = ()
    joined: "Mapping[str, pa.Array | pa.ChunkedArray]" = field(default_factory=dict)
    unit: Literal["line", "row"] = "row"
    retried: Retried | None = None


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a chunk.

    Shape: `outputs` has an entry per group, with one array (rows of the group, *inner) per output of the manifest; none
    at all where no row of the chunk was run. faults: rows that failed in the run; their rows of `outputs` are there but
    mean nothing.
    """

    rows: ChunkRows
    outputs: Sequence[Sequence[Array]]
    faults: tuple[RowFault, ...] = ()

    def all_faults(self) -> list[RowFault]:
        """Return the faults of reading and of running, a row's first one, by position."""
        first: dict[int, RowFault] = {}
        for fault in (*self.rows.faults, *self.faults):
            first.setdefault(fault.position, fault)
        return [first[position] for position in sorted(first)]


class Format(Protocol):
    """One format of files, in and out."""

    name: str
    media_type: str
    suffix: str

    def index(self, file: BinaryIO, rules: Rules) -> Index:
        """Check a file as a whole and cut it, in one pass that does not hold it in memory."""
        ...

    def read(self, file: BinaryIO, chunk: Chunk, rules: Rules) -> ChunkRows:
        """Read one chunk.

        Raises:
            InvalidInputError: when the file is no longer what was indexed.
        """
        ...

    def check_output(self, rules: Rules) -> None:
        """Refuse what this format cannot hold as output.

        Raises:
            InvalidInputError: naming the remedy.
        """
        ...

    def write_part(self, out: BinaryIO, result: PartResult, rules: Rules) -> int:
        """Write the outputs of one chunk, in input order; return how many rows are written."""
        ...

    def assemble(self, parts: Sequence[Opener], out: BinaryIO) -> None:
        """Write one file of all parts (at least one), in their order; each is opened, read in pieces and closed."""
        ...


class Cutter:
    """Collects rows into chunks by the rules' targets."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._chunks: list[Chunk] = []
        self._where: dict[str, Any] = {}
        self._first = self._rows = self._bytes = 0
        self._least_bytes = decoded_bytes(rules.manifest)

    @property
    def is_open(self) -> bool:
        """Whether a chunk has rows and is not yet closed."""
        return self._rows > 0

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self._first + self._rows

    def add(self, n_bytes: int, where: Callable[[], dict[str, Any]], end: Callable[[], dict[str, Any]]) -> None:
        """Take one row; `where` is asked when it opens a chunk, `end` when it closes one."""
        if not self._rows:
            self._where = where()
        self._rows += 1
        self._bytes += max(n_bytes, self._least_bytes)
        if self._rows >= self._rules.chunk_rows or self._bytes >= self._rules.chunk_bytes:
            self.close(end())

    def close(self, end: Mapping[str, Any]) -> None:
        """Close the open chunk, if there is one."""
        if self._rows:
            self._chunks.append(Chunk(self._first, self._rows, self._where | dict(end)))
            self._first += self._rows
            self._rows = self._bytes = 0

    def done(self) -> tuple[Chunk, ...]:
        """Return the closed chunks."""
        return tuple(self._chunks)


def rows_per_chunk(row_bytes: int, rules: Rules) -> int:
    """Return how many rows of one size a chunk takes."""
    return max(1, min(rules.chunk_rows, rules.chunk_bytes // max(1, row_bytes, decoded_bytes(rules.manifest))))


def decoded_bytes(manifest: Manifest) -> int:
    """Return the bytes of a row as the model gets it, which in the file may be far fewer; free axes count as one."""
    return sum(
        math.prod(size or 1 for size in spec.inner_shape) * (1 if spec.is_string else spec.numpy_dtype.itemsize)
        for spec in manifest.inputs
    )


def cut_evenly(n_rows: int, row_bytes: int, rules: Rules) -> tuple[Chunk, ...]:
    """Return the chunks of rows that all have one size."""
    step = rows_per_chunk(row_bytes, rules)
    return tuple(Chunk(first, min(step, n_rows - first)) for first in range(0, n_rows, step))


def rows_fault(n_rows: int, rules: Rules, what: str = "rows") -> Index | None:
    """Return a failed index for a file without rows or with too many."""
    if n_rows == 0:
        return Index.failed("empty_file", f"the file holds no {what}; a batch needs at least one")
    if n_rows > rules.limits.max_rows:
        detail = f"the file holds {n_rows} {what}, the limit is {rules.limits.max_rows}; send several batches"
        return Index.failed("too_many_lines", detail)
    return None


def no_join_fault(rules: Rules, name: str) -> Index | None:
    """Return a failed index where columns are to be echoed from a format without columns."""
    if not rules.join:
        return None
    return Index.failed("wrong_columns", f"{name} {no_columns(rules)}; leave `join` out", param="join")


def no_columns(rules: Rules) -> str:
    """Return what is wrong where columns are to be joined and there are none, for a message."""
    return "has no columns to join" + ("" if rules.joins_all else f", such as {rules.join[0][:40]!r}")


def numbered(first: int, n_rows: int) -> tuple[Sequence[str], Sequence[int]]:
    """Return ids and numbers of rows that have no names: their numbers from 1."""
    numbers = range(first + 1, first + n_rows + 1)
    return NumberNames(numbers), numbers


def unrun_faults(rows: ChunkRows, code: str, message: str) -> tuple[RowFault, ...]:
    """Return a fault for each row of a chunk that has none yet and was never run."""
    faulty = {fault.position for fault in rows.faults}
    counts = counts_of(rows.groups)
    return tuple(
        RowFault(position, code, message, count=counts.get(position, 1))
        for position in range(len(rows.ids))
        if position not in faulty
    )


def counts_of(groups: Sequence[Group]) -> dict[int, int]:
    """Return how many rows of the model each position has, of groups in which that is not always one."""
    return {
        position: count
        for group in groups
        if not (isinstance(group.counts, Repeated) and group.counts.value == 1)
        for position, count in zip(group.positions, group.counts, strict=True)
    }


def input_fault(position: int, error: InvalidInputError, rules: Rules) -> RowFault:
    """Return the fault of a row that does not fit the model."""
    param = error.faults[0].pointer if error.faults else None
    return RowFault(position, INVALID_INPUT, error.detail, param or None, INPUT_STATUS[rules.endpoint])


def good_rows(
    arrays: list[Array], bad: Mapping[int, tuple[str, str]], rules: Rules, *, first: int = 0
) -> tuple[Group, list[RowFault]]:
    """Part rows that fit from rows that do not; `bad` has (name of the input, why) by row, the first at `first`."""
    n_rows = len(arrays[0])
    faults = [
        RowFault(first + position, INVALID_INPUT, why, name or None, INPUT_STATUS[rules.endpoint])
        for position, (name, why) in sorted(bad.items())
    ]
    is_single = rules.has_batch_axis
    if not bad:
        return Group.plain(range(first, first + n_rows), arrays, is_single=is_single), faults
    keep = np.setdiff1d(np.arange(n_rows), np.fromiter(bad, np.int64))
    positions = tuple((first + keep).tolist())
    return Group.plain(positions, [array[keep] for array in arrays], is_single=is_single), faults


def read_exactly(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`.

    Raises:
        InvalidInputError: when the file ends before.
    """
    file.seek(offset)
    parts, left = [], size
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    if left:
        raise InvalidInputError(f"the file ends {left} bytes before the end of what was indexed; was it replaced?")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def size_of(file: BinaryIO) -> int:
    """Return a seekable file's size in bytes."""
    return file.seek(0, 2)


def copy_bytes(source: BinaryIO, out: BinaryIO) -> int:
    """Copy the rest of `source` in pieces; return the number of bytes."""
    n_bytes = 0
    while piece := source.read(MIB):
        out.write(piece)
        n_bytes += len(piece)
    return n_bytes
