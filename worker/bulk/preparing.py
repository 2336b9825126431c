"""A batch's input made ready for its format: unpacked, and written as UTF-8, into the batch's own folder.

Done once, when the file is indexed; chunks are then read from the copy. Knows storage and bytes, no rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ferry.bulk.batch_records import prepared_key
from ferry.bulk.formats.packing import packing_of, unpacked_blocks, unpacked_head, unpacked_name
from ferry.bulk.formats.reading import ReadOptions, unused_option
from ferry.bulk.formats.recognition import HEAD_BYTES, TEXT_FORMATS, recognise
from ferry.bulk.formats.text_encoding import UTF8, encoding_of, transcoded
from ferry.bulk.storage import Storage
from ferry.errors import InvalidInputError
from worker.bulk.interludes import Interlude
from worker.bulk.polite_files import PoliteWriter

BLOCK_BYTES = 2**20


class OptionError(InvalidInputError):
    """An option that is not one of the file's format. pointer: its name."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a file is, and what is to be done before its format can read it. packing: None for a file as it is."""

    format_name: str
    packing: str | None = None
    encoding: str = UTF8

    @property
    def is_needed(self) -> bool:
        """Whether a copy is to be made."""
        return self.packing is not None or self.encoding != UTF8

    @property
    def notes(self) -> tuple[str, ...]:
        """What the file's sender should know of it."""
        return () if self.encoding == UTF8 else (f"the text is read as {self.encoding}",)


def preparation_of(file: BinaryIO, filename: str, options: ReadOptions) -> Preparation:
    """Return what a file is, by its first bytes and its name.

    Raises:
        OptionError: an option is set that its format does not have.
        InvalidInputError: it is none that is served, or its encoding is not what was said.
    """
    head = file.read(HEAD_BYTES)
    packing = packing_of(filename, head)
    if packing:
        filename, head = unpacked_name(filename), unpacked_head(file, packing, HEAD_BYTES)
    name = recognise(filename, head)
    if unused := unused_option(options, name):
        raise OptionError.at(*unused)
    return Preparation(name, packing, encoding_of(head, options.encoding) if name in TEXT_FORMATS else UTF8)


def prepare(
    file: BinaryIO, batch_id: str, work: Preparation, storage: Storage, interlude: Interlude, *, max_bytes: int
) -> None:
    """Write the copy of a batch's input.

    Raises:
        InvalidInputError: the file is damaged, grows too large, or a byte is not in its encoding.
        StorageError: the storage is full or away.
        StepEndedError: leave it.
    """
    file.seek(0)
    blocks = unpacked_blocks(file, work.packing) if work.packing else _blocks(file)
    if work.encoding != UTF8:
        blocks = transcoded(blocks, work.encoding)
    with storage.create(prepared_key(batch_id), is_lasting=False) as upload:
        writer = PoliteWriter(upload, interlude)
        n_bytes = 0
        for block in blocks:
            n_bytes += len(block)
            if n_bytes > max_bytes:
                raise InvalidInputError(f"the file unpacks to more than {max_bytes} bytes, which is the limit")
            writer.file.write(block)
        writer.finish()
        if interlude.ended:
            raise interlude.ended


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
