from collections.abc import Iterator

import pytest
from celery.exceptions import WorkerShutdown
from celery.worker import consumer as celery_consumer
from celery.worker import state

from ferry.errors import QueueUnavailableError
from worker.celery_consumer import LOOK_EVERY_S, connects_with_room


class Redis:
    """A Redis that is full until so many jobs were run."""

    def __init__(self, *jobs_a_pass: int, full_for: int) -> None:
        self._passes = iter(jobs_a_pass)
        self.full_for = full_for
        self.said: list[object] = []

    def is_full(self) -> bool:
        return self.full_for > 0

    def serve(self) -> int:
        jobs = next(self._passes)
        self.full_for -= jobs
        self.said.append(jobs)
        return jobs

    def sleep(self, seconds: float) -> None:
        self.said.append(f"{seconds} s")


def connect(redis: Redis) -> object:
    cls = connects_with_room(redis.is_full, redis.serve, checks={}, sleep=redis.sleep)
    return cls.connect(object.__new__(cls))


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(celery_consumer.Consumer, "connect", lambda self: "connected")
    yield
    state.should_stop = None


def test_connect_when_redis_has_room_then_nothing_is_served_before() -> None:
    redis = Redis(full_for=0)
    assert connect(redis) == "connected"
    assert redis.said == []


def test_connect_when_redis_is_full_then_what_waits_is_served_until_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis = Redis(64, 64, 64, full_for=150)
    assert connect(redis) == "connected"
    assert redis.said == [64, 64, 64]
    assert caplog.messages == ["not connected yet: Redis has no memory left, and what waits is served first"]


def test_connect_when_nothing_waits_then_it_looks_again_now_and_then() -> None:
    redis = Redis(0, 0, 1, full_for=1)
    assert connect(redis) == "connected"
    assert redis.said == [0, f"{LOOK_EVERY_S} s", 0, f"{LOOK_EVERY_S} s", 1]


def test_connect_when_told_to_stop_while_redis_is_full_then_the_worker_ends() -> None:
    redis = Redis(full_for=1)
    state.should_stop = 0
    with pytest.raises(WorkerShutdown):
        connect(redis)
    assert redis.said == []


def test_connect_when_redis_is_away_then_it_is_looked_for_at_an_even_pace_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    redis = Redis(full_for=0)
    away = iter([True] * 100 + [False])

    def is_full() -> bool:
        if next(away):
            raise QueueUnavailableError("Redis does not answer: the test says so")
        return False

    cls = connects_with_room(is_full, redis.serve, checks={}, sleep=redis.sleep)
    assert cls.connect(object.__new__(cls)) == "connected"
    assert redis.said == [f"{LOOK_EVERY_S} s"] * 100
    assert caplog.messages == ["not connected yet: Redis does not answer: the test says so"]


def test_connect_when_told_to_stop_while_redis_is_away_then_the_worker_ends() -> None:
    def is_full() -> bool:
        state.should_stop = 0
        raise QueueUnavailableError("Redis does not answer: the test says so")

    cls = connects_with_room(is_full, lambda: 0, checks={})
    with pytest.raises(WorkerShutdown):
        cls.connect(object.__new__(cls))
