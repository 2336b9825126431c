import asyncio

import numpy as np
import orjson
import pytest

from api.large_answers import BYTES_AT_ONCE, NUMBERS_AT_ONCE, EncodedItems, in_pieces

pytestmark = pytest.mark.anyio


class Turns:
    """Counts the turns that others have from now on."""

    def __init__(self) -> None:
        self._n = 0
        self._task = asyncio.create_task(self._count())

    def stop(self) -> int:
        """Return how many there were."""
        self._task.cancel()
        return self._n

    async def _count(self) -> None:
        while True:
            self._n += 1
            await asyncio.sleep(0)


def dumped(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.mark.parametrize("shape", [(3,), (250_001,), (1000, 784), (1, 300_000), (2, 3, 150_001), (250_000, 1, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
async def test_in_pieces_when_an_array_is_large_then_the_bytes_of_one_call(shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(1).random(shape).astype(dtype)
    if dtype is np.float32:
        array.flat[0] = np.nan
    content = {"output": {"y": array}, "labels": ["a"], "other": None}
    assert dumped(await in_pieces(content)) == dumped(content)


async def test_in_pieces_when_an_array_is_large_then_others_have_their_turn_between_the_pieces() -> None:
    turns = Turns()
    await in_pieces({"y": np.zeros(NUMBERS_AT_ONCE * 10)})
    assert turns.stop() >= 10


async def test_encoded_items_when_all_are_large_together_then_others_have_their_turn_and_the_bytes_are_the_same() -> (
    None
):
    turns = Turns()
    contents = [{"y": np.random.default_rng(n).random(10_000), "id": str(n)} for n in range(50)]
    items = EncodedItems()
    for content in contents:
        await items.add(content)
    assert turns.stop() >= 50 * 10_000 * 17 // BYTES_AT_ONCE
    assert dumped(items.items) == dumped(contents)


async def test_in_pieces_when_nothing_is_large_then_the_same_objects() -> None:
    array = np.zeros(10)
    assert (await in_pieces({"y": array}))["y"] is array
