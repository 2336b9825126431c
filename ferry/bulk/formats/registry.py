"""Formats by name; each is imported when it is asked for, so that nobody loads pyarrow or Pillow to name one."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from ferry.bulk.formats.base import Format
from ferry.errors import InvalidInputError

_CLASSES = {
    "jsonl": ("jsonl", "Jsonl"),
    "csv": ("delimited", "csv_format"),
    "tsv": ("delimited", "tsv_format"),
    "parquet": ("parquet", "Parquet"),
    "arrow": ("arrow", "Arrow"),
    "npy": ("npy", "Npy"),
    "npz": ("npz", "Npz"),
    "images": ("images", "Images"),
}
OUTPUT_FORMATS = tuple(name for name in _CLASSES if name != "images")


def format_named(name: str) -> Format:
    """Return the format.

    Raises:
        InvalidInputError: when there is none of that name.
    """
    if name not in _CLASSES:
        raise InvalidInputError(f"no format {name[:40]!r}; there are {', '.join(_CLASSES)}")
    module, class_name = _CLASSES[name]
    made: Format = getattr(import_module(f"ferry.bulk.formats.{module}"), class_name)()
    return made


def check_joined(types: Mapping[str, Any], output_format: str) -> None:
    """Refuse joined columns of an Arrow type that the output cannot hold; `types` by column.

    Raises:
        InvalidInputError: naming the column, its type, and formats that hold it.
    """
    if types:
        import_module("ferry.bulk.formats.joined_types").check_joined(types, output_format)


def default_output(input_format: str, dtypes: Sequence[str] = ()) -> str:
    """Return the format of the output where none is asked for; `dtypes`: of the model's outputs, where they are known.

    It is the input's. JSONL for images. NPZ for NPY where one array of floats cannot hold the output: the model has
    several outputs, or one without NaN for rows that failed.
    """
    if input_format == "npy" and (len(dtypes) > 1 or not all(dtype.startswith("float") for dtype in dtypes)):
        return "npz"
    return "jsonl" if input_format == "images" else input_format
