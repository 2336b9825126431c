"""Inputs on their way through Redis: compressed where that clearly pays, else as they are.

What Redis holds it also writes to its log file and sends to a worker, so bytes cost more there than the microseconds
it takes to have fewer of them. Zeros, one-hot columns and token ids shrink to a fraction; photographs do not.
"""

import lz4.block
import lz4.frame

# Worth it when no more than this share of the bytes is left; photographs as floats keep 0.8 and cost most to compress.
_WORTH = 0.6
# Whether a large input shrinks is tried on its first bytes.
_SAMPLE_BYTES = 16 * 1024
# Every LZ4 frame begins so. No other input does: it begins with its number of rows, which has a limit far below.
_FRAME = (0x184D2204).to_bytes(4, "little")


def compress(raw: bytes) -> bytes:
    """Return `raw` as an LZ4 frame, or as it is where that would not pay."""
    if len(raw) > _SAMPLE_BYTES:
        sample = lz4.block.compress(memoryview(raw)[:_SAMPLE_BYTES], store_size=False)
        if len(sample) > _WORTH * _SAMPLE_BYTES:
            return raw
    frame: bytes = lz4.frame.compress(raw)
    return frame if len(frame) <= _WORTH * len(raw) else raw


def decompress(stored: bytes) -> bytes:
    """Return what `compress` was given.

    Raises:
        RuntimeError: a damaged frame.
    """
    if not stored.startswith(_FRAME):
        return stored
    raw: bytes = lz4.frame.decompress(stored)
    return raw
