"""api.connections: how many there may be, who makes room, and one log line about those that were cut off."""

import logging

import pytest

from api import connections
from api.connections import (
    MAX_OVER_LIMIT,
    MAX_TICK_S,
    REPORT_S,
    Connections,
    allowed_connections,
    default_max_connections,
)

pytestmark = pytest.mark.anyio


class Fake:
    def __init__(self, *, is_idle: bool = False, has_served: bool = True, silent_s: float = 0.0) -> None:
        self._is_idle = is_idle
        self.has_served = has_served
        self.silent_s = silent_s
        self.ticked: list[float] = []
        self.is_cut = False
        self.n_looks = 0

    def is_idle(self) -> bool:
        self.n_looks += 1
        return self._is_idle

    def tick(self, seconds: float) -> None:
        self.ticked.append(seconds)

    def cut(self) -> None:
        self.is_cut = True


def test_admit_when_full_then_silent_newcomers_go_before_kept_ones_and_the_longest_silent_first() -> None:
    ours = Connections(max_open=4)
    busy = Fake()
    kept = Fake(is_idle=True, silent_s=70)
    newcomer = Fake(is_idle=True, has_served=False, silent_s=1)
    older = Fake(is_idle=True, has_served=False, silent_s=5)
    for each in (busy, kept, newcomer, older):
        assert ours.admit(each)
    gone = []
    for _ in range(3):
        assert ours.admit(Fake())
        gone += [each for each in (busy, kept, newcomer, older) if each.is_cut and each not in gone]
    assert gone == [older, newcomer, kept]
    assert not ours.admit(Fake())
    assert not busy.is_cut


async def test_admit_when_none_can_make_room_then_searched_once_a_tick() -> None:
    ours = Connections(max_open=10)
    busy = [Fake() for _ in range(10)]
    for each in busy:
        ours.admit(each)
    for _ in range(20):
        assert not ours.admit(Fake())
    assert {each.n_looks for each in busy} == {1}
    await ours.tick(1)
    ours.admit(Fake())
    assert {each.n_looks for each in busy} == {2}


def test_admit_when_far_over_the_limit_then_cut() -> None:
    ours, newest = Connections(max_open=1), Fake()
    for _ in range(1 + MAX_OVER_LIMIT):
        ours.admit(Fake())
    assert not ours.admit(newest)
    assert newest.is_cut
    assert ours.n_open == 1 + MAX_OVER_LIMIT


async def test_tick_when_there_are_many_then_each_is_ticked_once() -> None:
    ours = Connections(max_open=10_000)
    many = [Fake() for _ in range(3000)]
    for each in many:
        ours.admit(each)
    await ours.tick(1.5)
    assert all(each.ticked == [1.5] for each in many)


async def test_tick_when_one_connection_raises_then_it_is_cut_off_and_the_others_have_their_deadlines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Fake):
        def tick(self, seconds: float) -> None:
            raise RuntimeError("a bug in tick")

        def cut(self) -> None:
            super().cut()
            raise RuntimeError("a bug in cut")

    counted: list[str] = []
    ours = Connections(max_open=1000, count=counted.append)
    sound, broken = [Fake() for _ in range(600)], [Broken() for _ in range(2)]
    for each in (*sound[:300], *broken, *sound[300:]):
        ours.admit(each)
    with caplog.at_level(logging.ERROR):
        await ours.tick(1)
        await ours.tick(1)
    assert all(each.ticked == [1, 1] for each in sound)
    assert all(each.is_cut for each in broken)
    assert (ours.n_open, counted) == (600, ["internal"] * 2)
    traces = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(error) for error in traces] == ["a bug in tick"] * 2


async def test_watch_when_the_loop_was_busy_then_the_late_tick_counts_little() -> None:
    ours, each, times = Connections(max_open=10), Fake(), iter([0.0, 1.0, 41.0, 42.0])

    class OverError(Exception):
        pass

    def clock() -> float:
        try:
            return next(times)
        except StopIteration:
            raise OverError from None

    async def sleep(seconds: float) -> None:
        pass

    ours.admit(each)
    with pytest.raises(OverError):
        await ours.watch(clock=clock, sleep=sleep)
    assert each.ticked == [1.0, MAX_TICK_S, 1.0]


async def test_log_when_many_are_cut_off_then_one_line_with_the_numbers(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    ours = Connections(max_open=10, count=counted.append)
    for reason in ("head_timeout", "bad_http", "head_timeout"):
        ours.note(reason)
    with caplog.at_level(logging.WARNING):
        await ours.tick(1)
        ours.note("bad_http")
        await ours.tick(REPORT_S - 1)
        assert [record.getMessage() for record in caplog.records] == [
            "connections refused or cut off: 1 bad_http, 2 head_timeout; 0 of 10 are open"
        ]
        await ours.tick(1)
        await ours.tick(REPORT_S)
    assert len(caplog.records) == 2
    assert counted == ["head_timeout", "bad_http", "head_timeout", "bad_http"]


@pytest.mark.parametrize(("limit", "expected"), [(1024, 768), (100, 1), (10**6, 10_000)])
def test_default_when_files_are_limited_then_some_are_kept_for_others(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    monkeypatch.setattr(connections, "open_files_limit", lambda: limit)
    assert default_max_connections() == Connections().max_open == expected


@pytest.mark.parametrize(("setting", "allowed", "is_said"), [(0, 0, False), (700, 700, False), (5000, 768, True)])
def test_allowed_when_the_setting_is_more_than_files_may_be_open_then_less_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, setting: int, allowed: int, *, is_said: bool
) -> None:
    monkeypatch.setattr(connections, "open_files_limit", lambda: 1024)
    assert allowed_connections(setting) == allowed
    assert ("too_few_open_files" in caplog.text) is is_said
