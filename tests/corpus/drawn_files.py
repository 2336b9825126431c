"""Tables drawn at random, written by pandas, polars and pyarrow, and read back as rows of a batch.

    python -m tests.corpus.drawn_files [--files N] [--seed S]

Each file is recognised, checked and read as a batch's would be. A file must be refused before any row runs, or each of
its rows must be the one that was drawn: the same values in the model's dtype, or a fault where a value is missing or
does not fit. Joined columns must come back as they were. Prints counts by writer and format, reasons of refusals with
their number, and each file whose rows changed; the exit status is 1 where one did. pandas and polars are used where
they are installed (`pip install pandas polars`); no test needs them.
"""

import argparse
import io
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pq

from ferry.bulk.formats.base import ChunkRows, Rules
from ferry.bulk.formats.recognition import HEAD_BYTES, TEXT_FORMATS, recognise
from ferry.bulk.formats.registry import format_named
from ferry.bulk.formats.text_encoding import UTF8, encoding_of, transcoded
from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec
from tests.manifests import manifest, spec

NULL_SHARE = 0.08
MAX_SHOWN = 20
_WORDS = ("a cat", "größer", "Kraków", "x;y", "1,5", 'said "no"', "two\nlines", "NA", "007", " led by a blank", "=1+1")
# What a tool writes for a text that is missing, which is a text in these files.
_NO_TEXT = ("", "NA", "NaN")
_NAMES = ("age", "height", "Größe", "income (EUR)", "a b", "v1", "weight.kg")


class RefusedError(Exception):
    """The file was refused before a row ran; the argument says why."""


@dataclass
class Drawn:
    """A table for a model. wanted: the columns of each input, by its name."""

    inputs: tuple[TensorSpec, ...]
    columns: dict[str, pa.Array]
    wanted: dict[str, tuple[str, ...]]
    joined: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        """Return how many rows the table has."""
        return len(next(iter(self.columns.values())))

    def row(self, at: int, *, is_text: bool) -> dict[str, np.ndarray] | None:
        """Return a row's arrays by input, None where it must fail. `is_text`: the file is text, which has no null for
        text, and in which a float32 number has the digits that it needs.
        """
        row = {}
        for each in self.inputs:
            cells = [self.columns[name][at] for name in self.wanted[each.name]]
            values = [_in_text(cell) if is_text else cell.as_py() for cell in cells]
            if any(value is None for value in values):
                return None
            if each.dtype == "int64" and any(not -(2**63) <= value < 2**63 for value in values):
                return None
            with np.errstate(over="ignore"):
                row[each.name] = np.array(values, dtype=object if each.is_string else each.dtype)
            if not each.is_string and not np.isfinite(row[each.name]).all():
                return None
        return row


def _in_text(cell: pa.Scalar) -> Any:
    if pa.types.is_string(cell.type):
        return cell.as_py() or ""
    return float(str(np.float32(cell.as_py()))) if cell.is_valid and cell.type == pa.float32() else cell.as_py()


@dataclass
class Written:
    """A file as a tool wrote it, and how its reader was told to read it."""

    tool: str
    name: str
    data: bytes
    has_text_nulls: bool = True


@dataclass
class Tally:
    """What came of all files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    changed: list[str] = field(default_factory=list)


# --- tables


def draw(random: Random) -> Drawn:
    """Draw a model's inputs and a table of rows for it."""
    n_rows = random.choice((1, 2, 3, 7, 20, 60))
    kind = random.choice(("floats", "floats", "wholes", "text", "several"))
    if kind == "several":
        inputs = tuple(
            spec(name, dtype, 1)
            for name, dtype in zip(
                random.sample(_NAMES, 3), random.choices(("float32", "float64", "int64", "string"), k=3), strict=True
            )
        )
        wanted = {each.name: (each.name,) for each in inputs}
    else:
        dtype = {"floats": random.choice(("float32", "float64")), "wholes": "int64", "text": "string"}[kind]
        width = random.choice((1, 2, 3, 5))
        inputs = (spec("x", dtype, width),)
        wanted = {"x": _names_of(random, width)}
    columns: dict[str, pa.Array] = {}
    for each in inputs:
        for name in wanted[each.name]:
            columns[name] = _values(random, each.dtype, n_rows)
    joined = ()
    if random.random() < 0.4:
        joined = ("key",)
        columns["key"] = _values(random, random.choice(("int64", "string", "float64")), n_rows)
    order = list(columns)
    if random.random() < 0.3:
        random.shuffle(order)
    if inputs[0].name == "x" and not {"x", "x_0"} & set(wanted["x"]):
        order = [name for name in columns if name != "key"] + list(joined)
    return Drawn(inputs, {name: columns[name] for name in order}, wanted, joined)


def _names_of(random: Random, width: int) -> tuple[str, ...]:
    if width == 1 and random.random() < 0.5:
        return ("x",)
    if random.random() < 0.5:
        return tuple(f"x_{number}" for number in range(width))
    return tuple(random.sample(_NAMES, width))


def _values(random: Random, dtype: str, n_rows: int) -> pa.Array:
    null_share = random.choice((0.0, 0.0, NULL_SHARE, 0.5))
    if dtype == "string":
        kind, one = pa.string(), partial(random.choice, _WORDS)
    elif dtype == "int64":
        low, high = random.choice(((-128, 127), (-(2**31), 2**31), (-(2**63), 2**63 - 1), (0, 2**64 - 1)))
        kind, one = pa.int64() if low else pa.uint64(), partial(random.randint, low, high)
    else:
        scale = random.choice((1.0, 1e-6, 1e6, 1e30))
        kind, one = random.choice((pa.float64(), pa.float32())), lambda: random.gauss(0, 1) * scale
    values = [None if random.random() < null_share else one() for _ in range(n_rows)]
    if pa.types.is_integer(kind):
        values = [
            None if value is None else max(min(value, 2**63 - 1), -(2**63)) if kind == pa.int64() else value
            for value in values
        ]
    return pa.array(values, kind)


# --- files


def write(random: Random, drawn: Drawn) -> Written:
    """Write a table with a tool and a format that are drawn."""
    # Without a header columns are taken by their place, so a file has none only where that is the model's order.
    wanted = [name for each in drawn.inputs for name in drawn.wanted[each.name]]
    table = pa.table(drawn.columns).replace_schema_metadata({"in order": str(list(drawn.columns) == wanted)})
    tools: list[Callable[[Random, pa.Table], Written]] = [_by_pyarrow]
    if find_spec("pandas"):
        tools.append(_by_pandas)
    if find_spec("polars"):
        tools.append(_by_polars)
    return random.choice(tools)(random, table)


def _is_in_order(table: pa.Table) -> bool:
    return bool(table.schema.metadata[b"in order"] == b"True")


def _by_pyarrow(random: Random, table: pa.Table) -> Written:
    out = io.BytesIO()
    match random.choice(("csv", "tsv", "parquet", "arrow")):
        case "parquet":
            pq.write_table(table, out, row_group_size=random.choice((1, 5, 1000)))
            return Written("pyarrow", "t.parquet", out.getvalue())
        case "arrow":
            pa_feather.write_feather(table, out, compression=random.choice(("lz4", "zstd", "uncompressed")))
            return Written("pyarrow", "t.arrow", out.getvalue())
        case kind:
            options = pa_csv.WriteOptions(
                delimiter="," if kind == "csv" else "\t", quoting_style=random.choice(("needed", "all_valid"))
            )
            pa_csv.write_csv(table, out, options)
            return Written("pyarrow", f"t.{kind}", out.getvalue(), has_text_nulls=False)


def _by_pandas(random: Random, table: pa.Table) -> Written:
    import pandas as pd  # noqa: PLC0415  not installed with Ferry

    # Columns of whole numbers with nulls would become floats.
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}.get)
    out = io.BytesIO()
    match random.choice(("csv", "csv", "csv", "tsv", "parquet", "arrow")):
        case "parquet":
            for name in table.column_names:
                if pa.types.is_string(table.schema.field(name).type) and random.random() < 0.3:
                    frame[name] = frame[name].astype("category")
            frame.to_parquet(out, index=random.choice((True, False, None)))
            return Written("pandas", "t.parquet", out.getvalue())
        case "arrow":
            frame.to_feather(out)
            return Written("pandas", "t.feather", out.getvalue())
        case kind:
            delimiter, decimal = ("\t", ".") if kind == "tsv" else random.choice(((",", "."), (";", "."), (";", ",")))
            encoding = random.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
            try:
                text = frame.to_csv(
                    sep=delimiter, decimal=decimal, index=random.choice((True, False)),
                    header=random.choice((True, True, True, not _is_in_order(table))),
                    na_rep=random.choice(("", "", "NA", "NaN")),
                    quoting=random.choice((0, 1, 2)), lineterminator=random.choice(("\n", "\r\n")),
                ).encode(encoding)  # fmt: skip
            except UnicodeEncodeError:
                return _by_pandas(random, table)
            return Written("pandas", f"t.{kind}", text, has_text_nulls=False)


def _by_polars(random: Random, table: pa.Table) -> Written:
    import polars as pl  # noqa: PLC0415  not installed with Ferry

    frame: Any = pl.from_arrow(table)
    out = io.BytesIO()
    match random.choice(("csv", "csv", "parquet", "arrow")):
        case "parquet":
            frame.write_parquet(out)
            return Written("polars", "t.parquet", out.getvalue())
        case "arrow":
            frame.write_ipc(out, compat_level=random.choice((None, pl.CompatLevel.oldest())))
            return Written("polars", "t.arrow", out.getvalue())
        case kind:
            frame.write_csv(
                out, separator=random.choice((",", ";", "\t", "|")), include_bom=random.random() < 0.3,
                include_header=not _is_in_order(table) or random.random() < 0.8,
                quote_style=random.choice(("necessary", "always", "non_numeric")),
            )  # fmt: skip
            return Written("polars", f"t.{kind}", out.getvalue(), has_text_nulls=False)


# --- reading


def read(written: Written, drawn: Drawn) -> Iterator[ChunkRows]:
    """Yield the chunks of a file.

    Raises:
        RefusedError: before any row.
    """
    model = manifest("drawn", inputs=drawn.inputs, outputs=(spec("y", "float32", 1),))
    rules = Rules(model, join=drawn.joined, chunk_rows=8)
    try:
        kind = format_named(recognise(written.name, written.data[:HEAD_BYTES]))
        data = written.data
        if kind.name in TEXT_FORMATS and (encoding := encoding_of(data[:HEAD_BYTES])) != UTF8:
            data = b"".join(transcoded([data], encoding))
        file = io.BytesIO(data)
        kind.check_output(rules)
        index = kind.index(file, rules)
    except InvalidInputError as error:
        raise RefusedError(error.detail) from None
    if index.faults:
        raise RefusedError(index.faults[0].message)
    for chunk in index.chunks:
        yield kind.read(file, chunk, rules)


def what_changed(written: Written, drawn: Drawn) -> str:
    """Return how the rows differ from those drawn; empty where they do not.

    Raises:
        RefusedError: before any row.
    """
    rows: list[dict[str, np.ndarray] | None] = []
    joined: list[Any] = []
    for chunk in read(written, drawn):
        found: list[dict[str, np.ndarray] | None] = [None] * len(chunk.ids)
        faulty = {fault.position for fault in chunk.faults}
        for group in chunk.groups:
            for place, position in enumerate(group.positions):
                if position not in faulty:
                    found[position] = {
                        each.name: array[place] for each, array in zip(drawn.inputs, group.arrays, strict=True)
                    }
        rows += found
        joined += list(chunk.joined[drawn.joined[0]]) if drawn.joined else []
    if len(rows) != drawn.n_rows:
        return f"{len(rows)} rows, {drawn.n_rows} were drawn"
    for number, got in enumerate(rows):
        if change := _difference(got, drawn.row(number, is_text=not written.has_text_nulls)):
            return f"row {number}: {change}"
    return _joined_difference(joined, drawn, written)


def _difference(got: dict[str, np.ndarray] | None, want: dict[str, np.ndarray] | None) -> str:
    if (got is None) != (want is None):
        return "it ran, and must fail" if want is None else "it failed, and must run"
    for name, array in (want or {}).items():
        right, found = array.reshape(-1).tolist(), np.asarray((got or {})[name]).reshape(-1).tolist()
        if any(one != other and not (one == "" and other in _NO_TEXT) for one, other in zip(right, found, strict=True)):
            return f"{name}: {right} became {found}"
    return ""


def _joined_difference(joined: list[Any], drawn: Drawn, written: Written) -> str:
    if not drawn.joined:
        return ""
    wanted = drawn.columns[drawn.joined[0]].to_pylist()
    found = [value.as_py() if isinstance(value, pa.Scalar) else value for value in joined]
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        if not _same_joined(one, other, is_text=not written.has_text_nulls):
            return f"joined value of row {number}: {one!r} became {other!r}"
    return ""


def _same_joined(want: Any, got: Any, *, is_text: bool) -> bool:
    if not is_text:
        return want == got or (want is None and isinstance(got, float) and math.isnan(got))
    if want is None:
        return got is None or got in _NO_TEXT
    if isinstance(want, str):
        return bool(want == got)
    if isinstance(want, int):
        return int(got) == want
    return float(np.float32(str(got).replace(",", "."))) == float(np.float32(want))


# --- the run


def run(n_files: int, seed: int) -> Tally:
    """Draw, write and read files."""
    tally = Tally()
    for number in range(n_files):
        random = Random(f"{seed}/{number}")
        drawn = draw(random)
        written = write(random, drawn)
        key = f"{written.tool} {written.name.partition('.')[2]}"
        try:
            change = what_changed(written, drawn)
        except RefusedError as refusal:
            tally.outcomes[f"{key}: refused"] += 1
            tally.refusals[re.sub(r"'[^']*'|\d+", "…", str(refusal))[:160]] += 1
            continue
        except Exception as error:  # noqa: BLE001  an internal error is a finding
            change = f"internal: {type(error).__name__}: {error}"
        tally.outcomes[f"{key}: {'changed' if change else 'same'}"] += 1
        if change:
            tally.changed.append(f"{number} {key}: {change} | {written.data[:120]!r}")
    return tally


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description="Tables drawn at random, as rows of a batch.")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tally = run(options.files, options.seed)
    for title, counts in (("outcomes", tally.outcomes), ("refusals", tally.refusals)):
        sys.stdout.write(
            f"{title}\n" + "".join(f"{n:7,} {text}\n" for text, n in sorted(counts.items(), key=lambda each: -each[1]))
        )
    sys.stdout.write(f"files whose rows changed: {len(tally.changed)} of {options.files}\n")
    sys.stdout.write("".join(f"  {line[:400]}\n" for line in tally.changed[:MAX_SHOWN]))
    return 1 if tally.changed else 0


if __name__ == "__main__":
    sys.exit(main())
