import itertools
import logging
import threading

import pytest
import redis

from ferry.errors import QueueUnavailableError
from ferry.queue import keeper
from ferry.queue.keeper import (
    EXPIRE_EVERY_S,
    LAPSE_EVERY_S,
    MAX_EXPIRED_A_CALL,
    MAX_LAPSED_A_CALL,
    NOT_LEADING,
    RECOUNT_EVERY_S,
    RECOUNT_SLICE_EVERY_S,
    STAND_EVERY_S,
    Keeper,
    KeeperRules,
    KeeperThread,
)
from ferry.queue.scripts import script
from tests.namespaces import KEYS, client_of

RULES = KeeperRules(lease_s=3.0, max_attempts=4, dead_ttl_s=60.0)


class ScriptedRedis:
    """Takes scripts and answers each call with what the test says."""

    def __init__(self, **replies: object) -> None:
        self.replies = {script(name, KEYS): reply for name, reply in replies.items()}
        self.texts = {script(name, KEYS): name for name in ("expire", "lapse", "clock_step", "recount")}
        self.calls: list[tuple[str, list[str | int]]] = []

    def register_script(self, text: str):
        def call(keys: list[str], args: list[str | int]) -> object:
            assert keys == [KEYS.nothing]
            name = self.texts[text]
            self.calls.append((name, args))
            reply = self.replies[text]
            if isinstance(reply, Exception):
                raise reply
            return reply

        return call


class House:
    """A keeper that writes down what it was asked, at which second; it leads, unless told otherwise."""

    rules = RULES

    def __init__(self) -> None:
        self.now = 100.0
        self.leads = True
        self.is_down = False
        self.lapsed = 0
        self.expired_at: list[float] = []
        self.lapsed_at: list[tuple[float, bool]] = []
        self.outages = 0
        self.slices = 1
        self.recounted_at: list[float] = []

    def clock(self) -> float:
        return self.now

    def _check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so")

    def expire(self) -> int | None:
        self._check()
        self.expired_at.append(self.now)
        return 0 if self.leads else None

    def lapse(self, *, after_outage: bool = False, is_new: bool = False) -> tuple[int, int] | None:
        self._check()
        assert not (after_outage and is_new)
        self.lapsed_at.append((self.now, after_outage or is_new))
        self.outages += after_outage
        return self.lapsed, 0

    def recount(self) -> bool:
        self._check()
        self.recounted_at.append(self.now)
        return len(self.recounted_at) < self.slices

    @property
    def graces(self) -> list[bool]:
        return [after_outage for _, after_outage in self.lapsed_at]


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def keep(house: House):
    """Let rounds follow each other as the thread would, for some seconds of the house's clock."""
    thread = KeeperThread(house, clock=house.clock)

    def keep(seconds: float) -> list[float]:
        end, pauses = house.now + seconds, []
        while house.now < end:
            pauses.append(thread.round())
            house.now += pauses[-1]
        return pauses

    return keep


# --- the two calls


def test_expire_when_leading_then_the_number_of_jobs_ended() -> None:
    client = ScriptedRedis(expire=[7, 0, 0])
    assert Keeper(client_of(client), RULES).expire() == 7
    ((name, (_, most, expected, _)),) = client.calls
    assert (name, most, expected) == ("expire", MAX_EXPIRED_A_CALL, "")


def test_expire_when_another_leads_then_none() -> None:
    assert Keeper(client_of(ScriptedRedis(expire=[NOT_LEADING, 0, 0])), RULES).expire() is None


def test_lapse_when_leading_then_claims_and_tickets() -> None:
    client = ScriptedRedis(lapse=[2, 5])
    assert Keeper(client_of(client), RULES).lapse() == (2, 5)
    ((_, (_, _, attempts, most, grace_ms, dead_ttl_ms, is_free, _)),) = client.calls
    assert (attempts, most, grace_ms, dead_ttl_ms, is_free) == (4, MAX_LAPSED_A_CALL, 0, 60_000, 0)


def test_lapse_when_after_an_outage_then_no_lease_ends_before_a_whole_one_from_now() -> None:
    client = ScriptedRedis(lapse=[0, 0])
    Keeper(client_of(client), RULES).lapse(after_outage=True)
    Keeper(client_of(client), RULES).lapse(is_new=True)
    assert [args[-4] for _, args in client.calls] == [3000, 3000]
    assert [args[-2] for _, args in client.calls] == [1, 0]


def test_lapse_when_another_leads_then_none() -> None:
    assert Keeper(client_of(ScriptedRedis(lapse=NOT_LEADING)), RULES).lapse() is None


def test_keeper_when_it_calls_then_always_as_the_same_holder_and_no_other_keeper_is_it() -> None:
    client = ScriptedRedis(expire=[0, 0, 0], lapse=[0, 0])
    one, other = Keeper(client_of(client), RULES), Keeper(client_of(client), RULES)
    one.expire(), one.lapse(), other.expire()
    first, second, third = (args[0] for _, args in client.calls)
    assert first == second != third


def test_keeper_when_redis_is_away_then_unavailable() -> None:
    away = redis.ConnectionError("refused")
    alone = Keeper(client_of(ScriptedRedis(expire=away, lapse=away)), RULES)
    with pytest.raises(QueueUnavailableError):
        alone.expire()
    with pytest.raises(QueueUnavailableError):
        alone.lapse()


# --- the rounds


def test_round_when_leading_then_expires_each_round_and_lapses_each_second(house: House, keep) -> None:
    pauses = keep(3.0)
    assert set(pauses) == {EXPIRE_EVERY_S}
    assert len(house.expired_at) == len(pauses) == pytest.approx(3.0 / EXPIRE_EVERY_S, abs=1)
    gaps = [after - before for (before, _), (after, _) in zip(house.lapsed_at, house.lapsed_at[1:], strict=False)]
    assert len(house.lapsed_at) == 3
    assert gaps == pytest.approx([LAPSE_EVERY_S] * 2, abs=EXPIRE_EVERY_S)


def test_round_when_more_jobs_may_be_overdue_then_the_next_round_comes_at_once(house: House) -> None:
    thread = KeeperThread(house, clock=house.clock)
    ended = [MAX_EXPIRED_A_CALL, MAX_EXPIRED_A_CALL, MAX_EXPIRED_A_CALL - 1]
    house.expire = lambda: ended.pop(0)
    assert [thread.round() for _ in range(3)] == [0, 0, EXPIRE_EVERY_S]
    assert len(house.lapsed_at) == 1  # what else is due is not put off


def test_round_when_another_leads_then_stands_rarely_and_lapses_nothing(house: House, keep) -> None:
    house.leads = False
    assert set(keep(5.0)) == {STAND_EVERY_S}
    assert house.lapsed_at == []


def test_round_when_the_lead_comes_over_then_it_keeps_house_at_once(house: House, keep) -> None:
    house.leads = False
    keep(10.0)
    house.leads = True
    taken_at = house.now
    keep(0.1)
    assert house.lapsed_at == [(taken_at, False)]  # it saw Redis answer for longer than a lease


def test_round_when_just_started_then_grace_exactly_once(house: House, keep) -> None:
    keep(10.0)
    assert house.graces[0] is True
    assert not any(house.graces[1:])
    assert house.outages == 0  # it has only just come: who died before that is charged


def test_round_when_redis_was_away_then_grace_exactly_once_more(house: House, keep) -> None:
    keep(10.0)
    house.is_down = True
    keep(60.0)
    house.is_down = False
    before = len(house.lapsed_at)
    keep(10.0)
    graces = house.graces[before:]
    assert graces[0] is True
    assert len(graces) >= 9
    assert house.outages == 1
    assert not any(graces[1:])


def test_round_when_redis_goes_away_in_the_grace_itself_then_it_is_given_again(house: House) -> None:
    thread = KeeperThread(house, clock=house.clock)
    inner, house.lapse = house.lapse, lambda **_: house._check()
    house.expire = lambda: 0
    house.is_down = True
    assert thread.round() == STAND_EVERY_S
    house.is_down, house.lapse = False, inner
    house.now += LAPSE_EVERY_S
    thread.round()
    assert house.graces == [True]


def test_round_when_redis_is_away_then_it_waits_and_says_so_once(
    house: House, keep, caplog: pytest.LogCaptureFixture
) -> None:
    keep(1.0)
    house.is_down = True
    assert set(keep(30.0)) == {STAND_EVERY_S}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Redis does not answer" in caplog.text


def test_round_when_claims_lapsed_then_it_says_how_many(house: House, keep, caplog: pytest.LogCaptureFixture) -> None:
    house.lapsed = 2
    with caplog.at_level(logging.WARNING):
        keep(EXPIRE_EVERY_S)
    assert "2 claims lapsed" in caplog.text


def test_round_when_the_lead_is_lost_between_the_two_calls_then_nothing_is_said(
    house: House, keep, caplog: pytest.LogCaptureFixture
) -> None:
    house.lapse = lambda **_: None
    assert keep(EXPIRE_EVERY_S) == [EXPIRE_EVERY_S]
    assert caplog.records == []


# --- the thread


def test_run_when_stopped_then_it_ends_within_a_round(house: House) -> None:
    thread = KeeperThread(house)
    thread.stop()
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(house.expired_at) == 1


def test_run_when_a_round_has_a_fault_of_ours_then_the_thread_lives_on(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "STAND_EVERY_S", 0)
    went_on = threading.Event()
    thread = KeeperThread(house)

    def expire() -> int:
        if house.expired_at:
            went_on.set()
            thread.stop()
            return 0
        house.expired_at.append(0)
        raise redis.ResponseError("WRONGTYPE: somebody wrote to our keys")

    house.expire = expire
    thread.start()
    thread.join(timeout=10)
    assert went_on.is_set()
    assert "WRONGTYPE" in caplog.text


def test_round_when_a_minute_is_over_then_counters_are_counted_again_slice_by_slice(house: House, keep) -> None:
    house.slices = 3
    keep(RECOUNT_EVERY_S + 5)
    gaps = [round(after - before, 1) for before, after in itertools.pairwise(house.recounted_at)]
    assert house.recounted_at[0] == pytest.approx(100 + RECOUNT_EVERY_S, abs=0.1)
    assert gaps == [RECOUNT_SLICE_EVERY_S] * 2
