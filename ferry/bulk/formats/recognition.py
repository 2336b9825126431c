"""What format a file is, by its first bytes and then its name. Imports no format, so that the API may ask."""

from pathlib import PurePath

from ferry.errors import InvalidInputError

# Bytes of a file's start that `recognise` looks at; a zip's first member is named in them.
HEAD_BYTES = 4096
_MAGICS = (
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow", ".npy": "npy", ".npz": "npz",
    ".zip": "images",
}  # fmt: skip
# What the name of an output says of its format.
OUTPUT_SUFFIXES = {suffix: name for suffix, name in _SUFFIXES.items() if name != "images"}
FORMATS = ("jsonl", "csv", "tsv", "parquet", "arrow", "npy", "npz", "images")
_SERVED = "JSONL, CSV, TSV, Parquet, Arrow, NPY, NPZ or a ZIP of PNG and JPEG images"
_BOM = b"\xef\xbb\xbf"


def recognise(filename: str, head: bytes) -> str:
    """Return the format's name, one of FORMATS, from a file's name and its first HEAD_BYTES.

    Raises:
        InvalidInputError: empty, nothing that is served, or a name that says otherwise than the content.
    """
    if not head.strip(b" \t\r\n" + _BOM):
        raise InvalidInputError(f"the file is empty; expected rows as {_SERVED}")
    suffix = PurePath(filename).suffix.lower()
    named = _SUFFIXES.get(suffix)
    found = _by_content(head)
    if found == "zip":
        found = _zip_kind(head, named)
    if found == "text":
        if named in ("csv", "tsv", "jsonl"):
            # A line that is not JSON is found, with its number, when the file is indexed.
            return named
        if named is None and head.removeprefix(_BOM).lstrip()[:1] == b"{":
            return "jsonl"
        found = None
    if found is None:
        if named is None:
            raise InvalidInputError(f"{filename[:80]!r} is of no known format; expected {_SERVED}")
        raise InvalidInputError(f"{filename[:80]!r} is named {suffix}, its content is not {named}; is it damaged?")
    if named is not None and named != found:
        raise InvalidInputError(f"{filename[:80]!r} is named {suffix}, its content is {found}; name it as it is")
    return found


def _by_content(head: bytes) -> str | None:
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if b"\0" in head:
        return None
    try:
        # The last character may be cut in two.
        head.decode("utf-8") if len(head) < HEAD_BYTES else head[:-3].decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return None
    return "text"


def _zip_kind(head: bytes, named: str | None) -> str:
    if head.startswith(b"PK\x05\x06"):  # an archive without members
        return named if named in ("npz", "images") else "images"
    length = int.from_bytes(head[26:28], "little")
    return "npz" if head[30 : 30 + length].endswith(b".npy") else "images"
