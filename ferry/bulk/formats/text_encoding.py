"""Encodings of text files: found by the byte order mark, decoded strictly, and written again as UTF-8.

No byte is ever replaced by a guess: what is not in the encoding is an error that names the byte and its offset.
"""

import codecs
from collections.abc import Iterable, Iterator

from ferry.errors import InvalidInputError

UTF8 = "utf-8"
# Marks and the names that an encoding may have with it. UTF-32 first: its mark begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, ("utf-32", "utf-32-le")),
    (codecs.BOM_UTF32_BE, ("utf-32", "utf-32-be")),
    (codecs.BOM_UTF16_LE, ("utf-16", "utf-16-le")),
    (codecs.BOM_UTF16_BE, ("utf-16", "utf-16-be")),
    (codecs.BOM_UTF8, (UTF8, "utf-8-sig")),
)
_MARK = "\ufeff"
# Encodings whose decoder takes the mark away.
_WITHOUT_MARK = frozenset({"utf-16", "utf-32", "utf-8-sig"})
_MIN_WIDE_BYTES = 4
# ASCII's control characters but those that texts have: separators of Hive and DOS, tabs, breaks, escape.
_BINARY = frozenset(range(32)) - frozenset(b"\x01\x02\x03\t\n\x0b\f\r\x1a\x1b\x1c\x1d\x1e\x1f")


class EncodingError(InvalidInputError):
    """A byte is not in a file's encoding. offset: where it is; None where that is not known."""

    offset: int | None = None


def encoding_of(head: bytes, asked: str = "") -> str:
    """Return the encoding of a text that begins with `head`: what was asked for, else what its mark says, else UTF-8.

    Raises:
        EncodingError: the mark says something else than was asked for, or it looks like UTF-16 without a mark.
    """
    for mark, names in _MARKS:
        if head.startswith(mark):
            if asked and asked not in names:
                detail = (
                    f"the file begins with the byte order mark of {names[0]}, --encoding says {asked}; leave it out"
                )
                raise EncodingError.at("encoding", detail)
            return names[0]
    if asked:
        return asked
    if wide := looks_wide(head):
        detail = f"the file looks like {wide} without a byte order mark; say so with --encoding {wide}"
        raise EncodingError.at("encoding", detail)
    return UTF8


def looks_like_text(head: bytes) -> bool:
    """Say whether bytes may be a text's first ones, in some encoding: none is a control character of binary files."""
    if any(head.startswith(mark) for mark, _ in _MARKS) or looks_wide(head):
        return True
    return not _BINARY.intersection(head)


def is_text_with_zeros(head: bytes) -> bool:
    """Say whether bytes are the first ones of a UTF-8 text in which a few are binary, as a zero that a tool left."""
    if 4 * sum(byte in _BINARY for byte in head) >= len(head):
        return False
    try:
        codecs.getincrementaldecoder(UTF8)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def looks_wide(head: bytes) -> str | None:
    """Return `utf-16-le` or `utf-16-be` for bytes of which every other one is mostly zero; else None."""
    if len(head) < _MIN_WIDE_BYTES or head.startswith(b"\0\0"):
        return None
    for name, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if 2 * zeros.count(0) >= len(zeros) and not others.count(0):
            return name
    return None


def transcoded(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a text's blocks as UTF-8 without its byte order mark.

    Only the first U+FEFF of a file is a mark. A text that begins with another one gets a mark in front, so that its
    reader drops that.

    Raises:
        EncodingError: a byte is not in the encoding.
    """
    decoder = Decoder(encoding)
    has_mark = encoding not in _WITHOUT_MARK
    is_first = True
    for block in _ended(blocks):
        text = decoder.decode(block, final=not block)
        if has_mark and text:
            text, has_mark = text.removeprefix(_MARK), False
        if is_first and text:
            text, is_first = _MARK + text if text.startswith(_MARK) else text, False
        if text:
            yield text.encode(UTF8)


def _ended(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from (block for block in blocks if block)
    yield b""


class Decoder:
    """Decodes a text block by block and knows the offset of a byte that does not fit."""

    def __init__(self, encoding: str, offset: int = 0) -> None:
        """Begin at an offset of the file."""
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._offset = offset

    def decode(self, block: bytes, *, final: bool = False) -> str:
        """Return the next block's text; a character that its end cuts in two comes with the next one.

        Raises:
            EncodingError: a byte is not in the encoding.
        """
        try:
            text: str = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            raise self._error(error, block) from None
        except UnicodeError as error:  # UTF-16 without a mark where there must be one, say
            raise EncodingError.at("encoding", f"the file is not {self._encoding}: {error}") from None
        self._offset += len(block)
        return text

    def check(self, block: bytes, *, final: bool = False) -> None:
        """Check a block as `decode` does; one of ASCII costs next to nothing."""
        if self._encoding == UTF8 and block.isascii() and not final and not self._pending:
            self._offset += len(block)
            return
        self.decode(block, final=final)

    @property
    def _pending(self) -> bool:
        return bool(self._decoder.getstate()[0])

    def _error(self, error: UnicodeDecodeError, block: bytes) -> EncodingError:
        held = len(error.object) - len(block)  # bytes kept of the block before
        offset = self._offset - held + error.start
        byte = error.object[error.start : error.start + 1].hex().upper()
        remedy = "name the right encoding with --encoding"
        if self._encoding == UTF8:
            remedy = "name the encoding with --encoding, such as cp1252 (Windows) or latin-1"
        found = EncodingError.at("encoding", f"byte 0x{byte} at offset {offset} is not {self._encoding}; {remedy}")
        found.offset = offset
        return found
