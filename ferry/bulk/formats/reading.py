"""How a text file is to be read where it does not say so itself: the options, their values and their names.

Knows metadata of batches; nothing of files. The API checks the options with it, the worker reads by them.
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from ferry.errors import InvalidInputError

Header = Literal["auto", "yes", "no"]
Decimal = Literal["", ".", ","]
# Options as metadata names them, and the formats that each is for.
OPTION_FORMATS: Mapping[str, tuple[str, ...]] = {
    "header": ("csv", "tsv"),
    "delimiter": ("csv", "tsv"),
    "decimal": ("csv", "tsv"),
    "encoding": ("csv", "tsv", "jsonl"),
}
_HEADERS = ("auto", "yes", "no")
_DELIMITER_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_DELIMITERS = frozenset("\t\x01\x1f !#$%&()*,/:;<=>?@[\\]^`{|}~")
_DECIMALS = {".": ".", ",": ",", "point": ".", "comma": ","}
# Codecs of Python that are no encodings of files.
_NO_ENCODINGS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined"})
_MAX_SHOWN_CHARS = 20


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is to be read. Empty, or `auto`: the file itself shows it.

    header: whether the first line names the columns. delimiter: one character. encoding: a name that Python knows.
    """

    header: Header = "auto"
    delimiter: str = ""
    decimal: Decimal = ""
    encoding: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the options that are set."""
        return tuple(name for name in OPTION_FORMATS if getattr(self, name) not in ("", "auto"))


AUTO = ReadOptions()


def read_options(metadata: Mapping[str, str]) -> ReadOptions:
    """Return the options that a batch's metadata sets.

    Raises:
        InvalidInputError: a value is not one of its option, with a pointer to it in the metadata.
    """
    header = metadata.get("header") or "auto"
    if header not in _HEADERS:
        raise _invalid("header", header, f"expected {', '.join(_HEADERS)}")
    delimiter = metadata.get("delimiter", "")
    delimiter = _DELIMITER_NAMES.get(delimiter.lower(), delimiter)
    if delimiter and delimiter not in _DELIMITERS:
        raise _invalid("delimiter", delimiter, "expected one character such as , ; | or the word tab")
    decimal = metadata.get("decimal", "")
    if decimal and decimal not in _DECIMALS:
        raise _invalid("decimal", decimal, "expected . or ,")
    decimal = _DECIMALS.get(decimal, "")
    if decimal and decimal == delimiter:
        raise _invalid("decimal", decimal, "the delimiter is the same character")
    return ReadOptions(cast(Header, header), delimiter, cast(Decimal, decimal), _encoding(metadata.get("encoding", "")))


def unused_option(options: ReadOptions, format_name: str) -> tuple[str, str] | None:
    """Return the first option that is set and not one of this format, and why; None where there is none."""
    for name in options.given:
        formats = OPTION_FORMATS[name]
        if format_name not in formats:
            return name, f"{name} is an option for {' and '.join(formats)}, the file is {format_name}; leave it out"
    return None


def _encoding(asked: str) -> str:
    """Return an encoding's name as Python spells it."""
    if not asked:
        return ""
    try:
        found = codecs.lookup(asked)
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding or found.name.replace("_", "-") in _NO_ENCODINGS:
        raise _invalid("encoding", asked, "expected the name of an encoding, such as utf-8, cp1252 or utf-16")
    return found.name


def _invalid(name: str, value: str, why: str) -> InvalidInputError:
    return InvalidInputError.at(f"#/metadata/{name}", f"{name} {value[:_MAX_SHOWN_CHARS]!r} cannot be used; {why}")
