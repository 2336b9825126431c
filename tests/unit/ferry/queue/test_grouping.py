import asyncio
from typing import Any

import pytest

from ferry.errors import QueueUnavailableError
from ferry.queue.grouping import CALL_TIMEOUT_S, MAX_WAIT_S, Grouping
from tests.fakes.skipping_loop import SkippingLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": SkippingLoop}


def slow(seconds: float) -> "Grouping[int, int]":
    """Return a grouping whose calls take one item each, and this long."""

    async def call(items: list[int]) -> list[int]:
        await asyncio.sleep(seconds)
        return items

    return Grouping(call, max_items=1)


async def test_ask_when_the_line_is_long_and_calls_are_answered_then_none_is_refused() -> None:
    grouping = slow(CALL_TIMEOUT_S / 2)
    assert await asyncio.gather(*map(grouping.ask, range(20))) == list(range(20))


async def test_ask_when_the_line_is_longer_than_anyone_waits_then_redis_is_not_blamed() -> None:
    grouping = slow(1.0)
    answers = await asyncio.gather(*map(grouping.ask, range(int(MAX_WAIT_S) + 5)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, QueueUnavailableError)]
    assert 0 < len(refused) <= 6
    assert all("too many requests wait in this process" in each.detail for each in refused)


async def test_ask_when_calls_stop_being_answered_then_known_one_time_limit_after_the_last_answer() -> None:
    async def call(items: list[int]) -> list[int]:
        await asyncio.sleep(0.5 if items == [0] else 3600)
        return items

    grouping: Grouping[int, int] = Grouping(call, max_items=1)
    first, second = asyncio.create_task(grouping.ask(0)), asyncio.create_task(grouping.ask(1))
    assert await first == 0
    with pytest.raises(QueueUnavailableError, match="did not answer in time"):
        await second
    assert asyncio.get_running_loop().time() == pytest.approx(0.5 + CALL_TIMEOUT_S)
