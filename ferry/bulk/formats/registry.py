"""Formats by name; each is imported when it is asked for, so that nobody loads pyarrow or Pillow to name one."""

from importlib import import_module

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


def default_output(input_format: str) -> str:
    """Return the format of the output where none is asked for: the input's; JSONL for images."""
    return "jsonl" if input_format == "images" else input_format
