import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import redis

from ferry.errors import QueueUnavailableError
from ferry.queue.safety import FRESH_S, LOOK_EVERY_S, RedisSafety, SafetyReader, log_faults
from tests.namespaces import client_of

pytestmark = pytest.mark.anyio

MEMORY, PERSISTENCE = {"maxmemory_policy": "noeviction"}, {"aof_enabled": 0}


class Told:
    """Answers INFO and CONFIG GET as the test says; an exception is raised."""

    def __init__(
        self,
        memory: Mapping[str, Any] | Exception = MEMORY,
        persistence: Mapping[str, Any] | Exception = PERSISTENCE,
        save: str | Exception | None = "",
    ) -> None:
        self._sections = {"memory": memory, "persistence": persistence}
        self._save = save
        self.calls = 0

    async def info(self, section: str) -> Mapping[str, Any]:
        self.calls += 1
        told = self._sections[section]
        if isinstance(told, Exception):
            raise told
        return told

    async def config_get(self, name: str) -> dict[str, str]:
        assert name == "save"
        if isinstance(self._save, Exception):
            raise self._save
        return {} if self._save is None else {"save": self._save}


async def read(**told: Any) -> RedisSafety:
    return await SafetyReader(client_of(Told(**told))).read()


FORBIDDEN = redis.exceptions.NoPermissionError("this user has no permissions to run the 'config|get' command")
UNKNOWN_COMMAND = redis.ResponseError("unknown command 'CONFIG'")
UNAVAILABLE = redis.ResponseError("Command is not available: 'CONFIG'. See the documentation of this service")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"persistence": {"aof_enabled": 1}}, RedisSafety("noeviction", "aof")),
        ({"save": "3600 1 300 100"}, RedisSafety("noeviction", "rdb")),
        ({"save": ""}, RedisSafety("noeviction", "none")),
        ({"save": FORBIDDEN}, RedisSafety("noeviction", "unknown")),
        ({"save": UNKNOWN_COMMAND}, RedisSafety("noeviction", "unknown")),
        ({"save": UNAVAILABLE}, RedisSafety("noeviction", "unknown")),
        ({"memory": UNAVAILABLE, "persistence": UNAVAILABLE, "save": ""}, RedisSafety("unknown", "unknown")),
        ({"save": None}, RedisSafety("noeviction", "unknown")),
        ({"memory": {"maxmemory_policy": "allkeys-lru"}}, RedisSafety("allkeys-lru", "none")),
        ({"memory": {}, "persistence": {}}, RedisSafety("unknown", "unknown")),
        ({"memory": FORBIDDEN, "persistence": FORBIDDEN, "save": FORBIDDEN}, RedisSafety("unknown", "unknown")),
    ],
)
async def test_read_when_redis_tells_then_what_it_keeps(told: dict[str, Any], expected: RedisSafety) -> None:
    assert await read(**told) == expected


@pytest.mark.parametrize(
    ("safety", "words"),
    [
        (RedisSafety("noeviction", "aof"), []),
        (RedisSafety("unknown", "unknown"), []),
        (RedisSafety("allkeys-lru", "rdb"), ["allkeys-lru"]),
        (RedisSafety("volatile-ttl", "none"), ["volatile-ttl", "appendonly yes"]),
    ],
)
def test_faults_when_jobs_may_be_lost_then_each_with_its_remedy(safety: RedisSafety, words: list[str]) -> None:
    assert len(safety.faults) == len(words)
    assert all(word in fault for word, fault in zip(words, safety.faults, strict=True))


async def test_read_when_asked_again_soon_then_redis_is_not_asked() -> None:
    now, told = [0.0], Told(persistence={"aof_enabled": 1})
    reader = SafetyReader(client_of(told), clock=lambda: now[0])
    for _ in range(5):
        await reader.read()
    assert told.calls == 2
    now[0] = FRESH_S
    await reader.read()
    assert told.calls == 4


async def test_read_when_redis_is_away_then_unavailable() -> None:
    with pytest.raises(QueueUnavailableError):
        await read(memory=redis.ConnectionError("refused"))


async def test_read_when_redis_fails_for_another_reason_then_not_taken_for_forbidden() -> None:
    with pytest.raises(QueueUnavailableError):
        await read(memory=redis.ResponseError("LOADING Redis is loading the dataset in memory"))


class Pauses:
    """Stands in for asyncio.sleep: writes down each pause, and ends the task after so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if len(self.seconds) == self._most:
            raise asyncio.CancelledError


async def test_log_faults_when_a_reply_cannot_be_read_then_it_is_logged_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses(2)
    monkeypatch.setattr(asyncio, "sleep", pauses)
    replies: list[RedisSafety | Exception] = [ValueError("no number"), RedisSafety("allkeys-lru", "aof")]

    class Reader(SafetyReader):
        async def read(self) -> RedisSafety:
            reply = replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            return reply

    with caplog.at_level(logging.WARNING), pytest.raises(asyncio.CancelledError):
        await log_faults(Reader(client_of(Told())))
    assert pauses.seconds == [LOOK_EVERY_S, LOOK_EVERY_S]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "no number" in caplog.text
    assert "allkeys-lru" in caplog.text
