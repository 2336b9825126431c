"""The feed reads every three seconds at most, whoever asks, and has something to count rates from."""

import pytest

from api.load_feed import EVERY_S, FIRST_S, OVER_S, LoadFeed
from ferry.errors import QueueUnavailableError
from ferry.queue.load import Load

pytestmark = pytest.mark.anyio


class Book:
    """Redis and time in one."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.reads = 0
        self.is_away = False

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def read(self) -> Load:
        if self.is_away:
            raise QueueUnavailableError("away")
        self.reads += 1
        return Load(int(self.now_s * 1e6), (), 0, 0)


def feed_of(book: Book) -> LoadFeed:
    return LoadFeed(book, clock=book.clock, sleep=book.sleep)


async def test_now_when_many_ask_at_once_then_one_reading_for_all() -> None:
    book = Book()
    feed = feed_of(book)
    for _ in range(3):
        for _ in range(10):
            await feed.now()
        book.now_s += EVERY_S
    assert book.reads == 3


async def test_with_rates_when_nobody_asked_before_then_a_moment_later_with_two_readings() -> None:
    book = Book()
    pace = await feed_of(book).with_rates()
    assert pace.before is not None
    assert pace.now.time_us - pace.before.time_us == FIRST_S * 1e6
    assert book.reads == 2


async def test_now_when_followed_then_rates_reach_back_a_few_seconds() -> None:
    book = Book()
    feed = feed_of(book)
    reached = []
    for _ in range(20):
        pace = await feed.now()
        reached.append((pace.now.time_us - pace.before.time_us) / 1e6 if pace.before else None)
        book.now_s += EVERY_S
    assert reached[:3] == [None, EVERY_S, 2 * EVERY_S]
    assert set(reached[10:]) == {OVER_S}


async def test_now_when_nobody_asked_for_a_while_then_no_rate_of_long_ago() -> None:
    book = Book()
    feed = feed_of(book)
    await feed.now()
    book.now_s += 60
    assert (await feed.now()).before is None


async def test_now_when_redis_is_away_then_said_and_the_next_reading_is_made() -> None:
    book = Book()
    feed = feed_of(book)
    await feed.now()
    book.now_s += EVERY_S
    book.is_away = True
    with pytest.raises(QueueUnavailableError):
        await feed.now()
    book.is_away = False
    assert (await feed.now()).before is not None
