"""INT96 timestamps of Parquet (Spark, Impala): the unit in which a file's values keep all their digits.

They count nanoseconds of any year. An int64 of nanoseconds holds the years 1677 to 2262 only, and pyarrow wraps the
others without an error; an int64 of microseconds holds every year, and loses three digits. pyarrow reads all of a
file's INT96 columns in one unit. Their statistics cannot be trusted, so the values decide. Knows nothing of models.
"""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from ferry.bulk.formats.joined_text import is_list
from ferry.errors import InvalidInputError

_NS_PER_US = 1000
_BATCH_ROWS = 8192
# Microseconds whose nanoseconds, up to 999 more, are an int64.
_FIRST_US, _LAST_US = -(2**63 // _NS_PER_US), 2**63 // _NS_PER_US - 1


def open_parquet(file: BinaryIO, unit: str | None = None, **more: Any) -> Any:
    """Return the file, opened at its start; `unit`: of INT96 timestamps, "ns" or "us"."""
    file.seek(0)
    return pq.ParquetFile(file, pre_buffer=False, coerce_int96_timestamp_unit=unit, **more)


def unit_of_int96(file: BinaryIO, names: Sequence[str]) -> str | None:
    """Return the unit in which some columns keep all digits and years; None where none of them is INT96.

    Raises:
        InvalidInputError: there is none, as there are digits below the microsecond, and years beyond nanoseconds.
        pyarrow.ArrowException: the file is damaged.
    """
    in_ns = open_parquet(file)
    if not any(in_ns.schema.column(place).physical_type == "INT96" for place in range(len(in_ns.schema.names))):
        return None
    in_us = open_parquet(file, "us")
    # Only the type of an INT96 column depends on the unit.
    found = [name for name in names if in_ns.schema_arrow.field(name).type != in_us.schema_arrow.field(name).type]
    if not found:
        return None
    far, fine = set[str](), set[str]()
    for name in found:
        for ns, us in zip(_counts(in_ns, name), _counts(in_us, name), strict=True):
            if ((us < _FIRST_US) | (us > _LAST_US)).any():
                far.add(name)
            if (ns != us * _NS_PER_US).any():  # both wrap in the same way
                fine.add(name)
    if far and fine:
        raise InvalidInputError(
            f"column {min(far)[:40]!r} holds INT96 timestamps outside of the years 1677 to 2262, and column "
            f"{min(fine)[:40]!r} some with digits below the microsecond; no unit holds both, write them as "
            "timestamps in microseconds (in Spark: spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS)"
        )
    return "us" if far else "ns"


def _counts(source: Any, name: str) -> Iterator[Any]:
    """Yield the int64 counts of one column's timestamps, 0 for nulls, batch by batch."""
    for batch in source.iter_batches(_BATCH_ROWS, columns=[name], use_threads=False):
        for leaf in _leaves(batch.column(name)):
            yield np.asarray(leaf.cast(pa.int64()).fill_null(0))


def _leaves(array: Any) -> Iterator[Any]:
    """Yield the timestamps of an array, also those inside of lists, maps and structs."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        yield array
    elif pa.types.is_map(kind):
        yield from _leaves(pa.concat_arrays([array.keys]))
        yield from _leaves(pa.concat_arrays([array.items]))
    elif is_list(kind):
        yield from _leaves(array.flatten())
    elif pa.types.is_struct(kind):
        for part in array.flatten():
            yield from _leaves(part)
