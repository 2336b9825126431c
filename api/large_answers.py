"""Large arrays of an answer as JSON, a piece at a time, so that other requests have their turn between the pieces.

orjson takes 20 to 40 ns a number and holds the event loop for all of one call. Knows nothing of what the arrays mean.
"""

import asyncio
import math
from typing import Any

import numpy as np
import orjson

from ferry.tensors import Array

# Takes about 3 ms.
NUMBERS_AT_ONCE = 100_000
# A payload of fewer bytes than this has no array that is worth a look.
LARGE_BYTES = 100_000
# JSON of items that are encoded between two turns of everybody else; takes about 3 ms.
BYTES_AT_ONCE = 512 * 2**10


async def in_pieces(content: Any) -> Any:
    """Return JSON content for orjson in which every large array of numbers is encoded already."""
    if isinstance(content, dict):
        return {name: await in_pieces(member) for name, member in content.items()}
    if isinstance(content, np.ndarray) and content.size > NUMBERS_AT_ONCE:
        return orjson.Fragment(await _encoded(content))
    return content


async def _encoded(array: Array) -> bytes:
    """Return what orjson writes for an array of one axis or more, none of them empty."""
    n_each = math.prod(array.shape[1:])
    if n_each > NUMBERS_AT_ONCE:
        return b"[" + b",".join([await _encoded(item) for item in array]) + b"]"
    n_items, pieces = NUMBERS_AT_ONCE // n_each, []
    for start in range(0, array.shape[0], n_items):
        part = np.ascontiguousarray(array[start : start + n_items])
        pieces.append(orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
        await asyncio.sleep(0)
    return b"[" + b",".join(pieces) + b"]"


class EncodedItems:
    """The items of a list, each encoded by itself: many together may be large where none of them is."""

    def __init__(self) -> None:
        self.items: list[orjson.Fragment] = []
        self._n_bytes = 0

    async def add(self, content: Any) -> None:
        """Encode one more item; others have their turn after BYTES_AT_ONCE."""
        encoded = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
        self.items.append(orjson.Fragment(encoded))
        self._n_bytes += len(encoded)
        if self._n_bytes > BYTES_AT_ONCE:
            self._n_bytes = 0
            await asyncio.sleep(0)
