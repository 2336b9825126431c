"""Lines of a large file, read in blocks and never held when they are too long. Knows nothing of what they say."""

from collections.abc import Iterator
from typing import BinaryIO

from ferry.bulk.formats.base import MIB


def iter_lines(file: BinaryIO, max_bytes: int, block_bytes: int = MIB) -> Iterator[tuple[int, int, bytes | None]]:
    r"""Yield (first byte, byte after its line break, line without \n) of each line; None for one over `max_bytes`."""
    file.seek(0)
    start = offset = held = 0
    rest: list[bytes] = []
    while block := file.read(block_bytes):
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            end = offset + len(piece) + 1
            held += len(piece)
            is_long = held > max_bytes
            yield start, end, None if is_long else (b"".join((*rest, piece)) if rest else piece)
            start = offset = end
            held, rest = 0, []
        offset += len(pieces[-1])
        held += len(pieces[-1])
        if held > max_bytes:
            rest = []
        elif pieces[-1]:
            rest.append(pieces[-1])
    if held:
        yield start, offset, None if held > max_bytes else b"".join(rest)
