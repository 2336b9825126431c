import asyncio
from typing import Any

import pytest
import redis

from ferry.queue.connection import CALL_TIMEOUT_S, CONNECT_TIMEOUT_S
from ferry.queue.pool import MAX_WAIT_S, SILENCE_S, FairPool, PoolExhaustedError
from tests.fakes.skipping_loop import SkippingLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": SkippingLoop}


class Wire:
    """A connection that opens at once, or raises what the test says."""

    fault: Exception | None = None

    def __init__(self, **_: object) -> None:
        self.is_connected = False

    async def connect(self) -> None:
        if self.fault:
            raise self.fault
        self.is_connected = True

    async def disconnect(self, **_: object) -> None:
        self.is_connected = False

    async def can_read(self) -> bool:
        return False

    async def re_auth(self) -> None:
        return

    def should_reconnect(self) -> bool:
        return False


def pool_of(size: int, wire: type[Wire] = Wire) -> FairPool:
    return FairPool(connection_class=wire, max_connections=size)


async def use(pool: FairPool, seconds: float, done: list[int], number: int) -> None:
    connection = await pool.get_connection()
    await asyncio.sleep(seconds)
    done.append(number)
    await pool.release(connection)


async def test_get_connection_when_many_ask_then_each_gets_one_in_order_of_asking() -> None:
    pool, done = pool_of(1), []
    await asyncio.gather(*(use(pool, 0.01, done, number) for number in range(200)))
    assert done == list(range(200))


async def test_get_connection_when_the_line_is_longer_than_a_silence_and_redis_answers_then_none_is_refused() -> None:
    pool, done = pool_of(2), []
    await asyncio.gather(*(use(pool, SILENCE_S / 2, done, number) for number in range(20)))
    assert len(done) == 20


async def test_get_connection_when_a_newcomer_asks_in_the_moment_of_a_release_then_the_first_in_line_has_it() -> None:
    pool, order = pool_of(1), []
    held = await pool.get_connection()
    first = asyncio.create_task(use(pool, 0, order, 1))
    await asyncio.sleep(0)
    await pool.release(held)
    await asyncio.gather(first, use(pool, 0, order, 2))
    assert order == [1, 2]


async def test_get_connection_when_nothing_is_answered_then_the_wait_ends_after_a_silence() -> None:
    pool = pool_of(1)
    await pool.get_connection()
    began = asyncio.get_running_loop().time()
    with pytest.raises(redis.ConnectionError, match="no answer for"):
        await pool.get_connection()
    assert asyncio.get_running_loop().time() - began == pytest.approx(SILENCE_S)


async def test_get_connection_when_redis_answers_others_for_too_long_then_the_pool_is_named() -> None:
    pool, done = pool_of(1), []
    line = [use(pool, SILENCE_S / 2, done, number) for number in range(int(3 * MAX_WAIT_S))]
    ends = await asyncio.gather(*line, return_exceptions=True)
    refused = [each for each in ends if each is not None]
    assert len(done) + len(refused) == len(line)
    assert refused
    assert all(
        isinstance(each, PoolExhaustedError) and "all 1 of this process are used" in str(each) for each in refused
    )


async def test_get_connection_when_the_caller_goes_away_then_its_place_goes_to_the_next() -> None:
    pool, done = pool_of(1), []
    held = await pool.get_connection()
    gone, next_one = asyncio.create_task(use(pool, 0, done, 1)), asyncio.create_task(use(pool, 0, done, 2))
    await asyncio.sleep(0)
    gone.cancel()
    await pool.release(held)
    gone.cancel()  # also when its turn has come in the same moment
    await next_one
    assert done == [2]
    assert await pool.get_connection()


async def test_get_connection_when_connecting_fails_then_the_place_is_free_again() -> None:
    class Dead(Wire):
        fault = redis.ConnectionError("refused")

    pool = pool_of(1, Dead)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError, match="refused"):
            await pool.get_connection()


async def test_release_when_done_twice_then_one_place_is_free() -> None:
    pool = pool_of(1)
    held = await pool.get_connection()
    await pool.release(held)
    await pool.release(held)
    await pool.get_connection()
    with pytest.raises(redis.ConnectionError):
        await pool.get_connection()


def test_bounds_when_redis_is_silent_then_known_within_two_seconds() -> None:
    assert SILENCE_S + max(CONNECT_TIMEOUT_S, CALL_TIMEOUT_S) < 2
