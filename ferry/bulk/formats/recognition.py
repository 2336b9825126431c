"""What format a file is, by its first bytes and then its name. Imports no format, so that the API may ask."""

from collections.abc import Callable, Sequence
from pathlib import PurePath

from ferry.bulk.formats.text_encoding import is_text_with_zeros, looks_like_text
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
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet",
    ".pq": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow", ".npy": "npy",
    ".npz": "npz", ".zip": "images",
}  # fmt: skip
# What the name of an output says of its format.
OUTPUT_SUFFIXES = {suffix: name for suffix, name in _SUFFIXES.items() if name != "images"}
FORMATS = ("jsonl", "csv", "tsv", "parquet", "arrow", "npy", "npz", "images")
TEXT_FORMATS = ("jsonl", "csv", "tsv")
_SERVED = "JSONL, CSV, TSV, Parquet, Arrow, NPY, NPZ or a ZIP of PNG and JPEG images"
_BOM = b"\xef\xbb\xbf"
_SHEET = "save the sheet as CSV UTF-8, or write it as Parquet"
_FRAME = "write the table as Parquet or CSV"
_PACKED = "unpack it, and pack the table itself as .gz or .zst if at all"
_ARCHIVE = "unpack it and send the table in it, as it is or packed as .gz or .zst"
# Files that people have and Ferry does not read: what to do, by the end of the name and by the first bytes.
_UNREAD_SUFFIXES = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers", ".gsheet"), _SHEET),
    **dict.fromkeys((".orc", ".avro", ".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt"), _FRAME),
    **dict.fromkeys((".rds", ".rda", ".rdata", ".h5", ".hdf5", ".hdf", ".mat", ".db", ".sqlite"), _FRAME),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".pt", ".pth"), "a pickle may run code; " + _FRAME),
    **dict.fromkeys((".bz2", ".xz", ".lzma", ".lz4", ".br", ".sz", ".snappy", ".z"), _PACKED),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".json", ".geojson"), "write an object a line, and name it .jsonl"),
    **dict.fromkeys((".txt", ".dat", ".text"), "name it .csv, .tsv or .jsonl, as its content is"),
    **dict.fromkeys((".html", ".htm", ".xml", ".pdf", ".yaml", ".yml"), _FRAME),
}
_UNREAD_MAGICS = (
    (b"\xd0\xcf\x11\xe0", "an Excel 97 workbook", _SHEET),
    (b"FEA1", "Feather of version 1", "write it with a newer library (version 2), or as Parquet"),
    (b"ORC", "ORC", _FRAME),
    (b"Obj\x01", "Avro", _FRAME),
    (b"$FL", "an SPSS file", _FRAME),
    (b"\x89HDF", "HDF5", _FRAME),
    (b"SQLite format 3", "an SQLite database", _FRAME),
    (b"%PDF-", "a PDF", _FRAME),
    (b"BZh", "packed with bzip2", _PACKED),
    (b"\xfd7zXZ", "packed with xz", _PACKED),
    (b"7z\xbc\xaf", "a 7z archive", _ARCHIVE),
)
# Of these a file of JSON lines is read all the same.
_TEXTS = (".txt", ".dat", ".text", ".json")
_TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".parquet")
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif")
# Members, exactly of these names, that Excel and LibreOffice write.
_WORKBOOK = ("[Content_Types].xml", "xl/workbook.xml")
_OPEN_DOCUMENT = "mimetype"


def recognise(filename: str, head: bytes) -> str:
    """Return the format's name, one of FORMATS, from a file's name and its first HEAD_BYTES.

    Raises:
        InvalidInputError: empty, nothing that is served, or a name that says otherwise than the content.
    """
    if not head.strip(b" \t\r\n" + _BOM):
        raise InvalidInputError(f"the file is empty; expected rows as {_SERVED}")
    suffix = PurePath(filename).suffix.lower()
    _check_served(filename, suffix, head)
    named = _SUFFIXES.get(suffix)
    found = _by_content(head)
    if found == "zip":
        found = _zip_kind(filename, head, named)
    if found is None and named in TEXT_FORMATS and is_text_with_zeros(head):
        found = "text"  # its rows fail where the zeros are, as they do later in the file
    if found == "text":
        if named in TEXT_FORMATS:
            # A line that is not JSON, or a byte that is not UTF-8, is found when the file is indexed.
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


def check_images(names: Sequence[str], is_image: Callable[[str], bool]) -> None:
    """Refuse an archive that holds something else than images. One PNG or JPEG among its files makes it one of images.

    names: of its files, without folders and what systems add. is_image: looks into a file whose name has no suffix.

    Raises:
        InvalidInputError: a workbook, or a table or arrays without any image, with the remedy.
    """
    if any(name in _WORKBOOK for name in names):
        raise InvalidInputError(f"the file is a workbook of Excel; {_SHEET}")
    if any(name.lower().endswith(_IMAGE_SUFFIXES) for name in names):
        return
    others = [name for name in names if name.lower().endswith((*_TABLE_SUFFIXES, ".npy"))]
    if not others or any(not PurePath(name).suffix and is_image(name) for name in names):
        return
    remedy = "name it .npz" if others[0].lower().endswith(".npy") else _ARCHIVE
    raise InvalidInputError(f"the file is a ZIP of {others[0][:40]!r}, without an image; {remedy}")


def _by_content(head: bytes) -> str | None:
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    return "text" if looks_like_text(head) else None


def _check_served(filename: str, suffix: str, head: bytes) -> None:
    """Refuse a format that Ferry does not read, with what to do instead.

    Raises:
        InvalidInputError: its name or its first bytes say that it is one.
    """
    if suffix in _UNREAD_SUFFIXES and not (suffix in _TEXTS and head.removeprefix(_BOM).lstrip()[:1] == b"{"):
        remedy = _UNREAD_SUFFIXES[suffix]
        raise InvalidInputError(f"{filename[:80]!r} is a {suffix} file, which Ferry does not read; {remedy}")
    for magic, what, remedy in _UNREAD_MAGICS:
        # A text that is named as one may begin with these letters.
        if head.startswith(magic) and not (magic.isascii() and _SUFFIXES.get(suffix) in TEXT_FORMATS):
            raise InvalidInputError(f"{filename[:80]!r} is {what}, which Ferry does not read; {remedy}")


def _zip_kind(filename: str, head: bytes, named: str | None) -> str:
    if head.startswith(b"PK\x05\x06"):  # an archive without members
        return named if named in ("npz", "images") else "images"
    # What else is in the archive is known when it is indexed: see `check_images`.
    length = int.from_bytes(head[26:28], "little")
    member = head[30 : 30 + length].decode("utf-8", "replace")
    if member in (*_WORKBOOK, _OPEN_DOCUMENT):
        raise InvalidInputError(f"{filename[:80]!r} is a workbook of Excel or LibreOffice; {_SHEET}")
    if named not in (None, "npz", "images"):
        suffix = PurePath(filename).suffix
        detail = f"{filename[:80]!r} is named {suffix}, its content is a ZIP, as workbooks and packed files are"
        raise InvalidInputError(f"{detail}; of a workbook {_SHEET}; else {_ARCHIVE}")
    if named is None:
        return "npz" if member.endswith(".npy") else "images"
    return named
