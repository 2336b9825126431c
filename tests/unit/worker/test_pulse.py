import logging
import threading
from collections.abc import Iterable
from itertools import pairwise

import pytest

from ferry.errors import InvalidInputError, QueueUnavailableError
from ferry.manifest import Manifest
from ferry.profile import Profile, Tuning
from ferry.queue.keys import HEARTBEAT_S
from ferry.queue.records import Heartbeat
from tests.manifests import manifest, profile
from worker.models import Model
from worker.pulse import EXIT_HUNG, RENEWALS_A_LEASE, Pulse, try_to

LEASE_S = 4.0
MAX_RUN_S = 30.0
Key = tuple[str, str]


class Heart:
    """Writes down what the pulse did and when."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_down = False
        self.known: set[Key] = {("toy", "1")}
        self.beats: list[float] = []
        self.beaten: set[Key] = set()
        self.renewals: list[tuple[float, list[str]]] = []
        self.registered: list[Manifest] = []
        self.profiles: list[Profile | None] = []
        self.tuned: dict[Key, Tuning] = {}
        self.left: list[Key] = []
        self.other: frozenset[Key] = frozenset()
        self.switched: dict[Key, str] = {}
        self.told: list[tuple[Key, str, str]] = []

    def clock(self) -> float:
        return self.now

    def _check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so")

    def beat(self, models: Iterable[Key]) -> Heartbeat:
        self._check()
        self.beats.append(self.now)
        self.beaten = set(models)
        tuned = {key: self.tuned.get(key, Tuning()) for key in self.beaten}
        return Heartbeat(frozenset(self.beaten - self.known), tuned, frozenset(), self.other, dict(self.switched))

    def switch(self, model: str, version: str, *, digest: str, reason: str) -> bool:
        self._check()
        self.told.append(((model, version), digest, reason))
        return True

    def register(self, added: Manifest, profile: Profile | None = None) -> None:
        self._check()
        self.registered.append(added)
        self.profiles.append(profile)
        self.known.add((added.name, added.version))

    def renew(self, tokens: Iterable[str]) -> set[str]:
        self._check()
        self.renewals.append((self.now, list(tokens)))
        return set(tokens)

    def leave(self, models: Iterable[Key]) -> None:
        self._check()
        self.left += models


def loaded(name: str = "toy", version: str = "1") -> Model:
    return Model(manifest(name, version), None)


class Bench:
    """A pulse whose clock the test turns."""

    def __init__(self) -> None:
        self.heart = Heart()
        self.served = [loaded()]
        self.ended: list[int] = []
        self.alive: list[float] = []
        self.pulse = Pulse(
            self.heart, lambda: self.served, lease_s=LEASE_S, max_run_s=MAX_RUN_S, clock=self.heart.clock,
            end_process=self.ended.append, on_beat=lambda unloaded: self.alive.append(self.heart.now),
        )  # fmt: skip

    def turn(self, seconds: float, step_s: float = 0.25) -> None:
        for _ in range(round(seconds / step_s)):
            self.pulse.tick()
            self.heart.now += step_s


@pytest.fixture
def bench() -> Bench:
    return Bench()


def gaps(times: list[float]) -> set[float]:
    return {after - before for before, after in pairwise(times)}


# --- beats


def test_tick_when_time_passes_then_it_beats_each_second_with_what_is_served(bench: Bench) -> None:
    bench.served = [loaded(), loaded("other", "2")]
    bench.turn(10)
    assert bench.heart.beats[0] == 1000.0
    assert gaps(bench.heart.beats) == {HEARTBEAT_S}
    assert len(bench.heart.beats) == 10
    assert bench.heart.beaten == {("toy", "1"), ("other", "2")}


def test_tick_when_redis_forgot_a_model_then_registered_again_once(bench: Bench) -> None:
    bench.turn(2)
    assert bench.heart.registered == []
    bench.heart.known.clear()  # wiped
    bench.turn(5)
    assert bench.heart.registered == [manifest()]


def test_tick_when_what_is_served_changes_then_the_next_beat_says_so(bench: Bench) -> None:
    bench.turn(1)
    bench.served = [loaded(version="2")]
    bench.turn(1)
    assert bench.heart.beaten == {("toy", "2")}
    assert bench.heart.registered == [manifest(version="2")]


def test_tick_when_redis_forgot_a_measured_model_then_its_profile_is_told_too(bench: Bench) -> None:
    bench.served[0].adopt(profile())
    bench.heart.known.clear()
    bench.turn(1)
    assert bench.heart.profiles == [profile()]


def test_tick_when_a_model_is_tuned_and_reset_then_it_follows_with_the_next_beat(bench: Bench) -> None:
    (model,) = bench.served
    bench.turn(1)
    bench.heart.tuned = {("toy", "1"): Tuning(max_rows=2, max_wait_ms=5.0)}
    bench.turn(HEARTBEAT_S)
    assert (model.limits.max_rows, model.limits.max_wait_ms) == (2, 5.0)
    bench.heart.tuned = {}
    bench.turn(HEARTBEAT_S)
    assert (model.limits.max_rows, model.limits.max_wait_ms) == (8, 0.0)


def test_beat_when_called_by_hand_then_at_once(bench: Bench) -> None:
    bench.pulse.beat()
    assert bench.heart.beats == [1000.0]


# --- leases


def test_tick_when_claims_are_held_then_renewed_several_times_a_lease(bench: Bench) -> None:
    with bench.pulse.holding("one"), bench.pulse.holding("two"):
        bench.turn(LEASE_S)
    assert [sorted(tokens) for _, tokens in bench.heart.renewals] == [["one", "two"]] * RENEWALS_A_LEASE
    assert gaps([at for at, _ in bench.heart.renewals]) == {LEASE_S / RENEWALS_A_LEASE}


def test_tick_when_nothing_is_held_then_nothing_is_renewed(bench: Bench) -> None:
    with bench.pulse.holding("one"):
        pass
    bench.turn(10)
    assert bench.heart.renewals == []


def test_holding_when_the_work_raises_then_no_longer_held(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError), bench.pulse.holding("one"):
        raise ZeroDivisionError
    bench.turn(10)
    assert bench.heart.renewals == []


# --- a run that hangs


def test_tick_when_a_run_is_over_its_limit_then_the_process_is_ended(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.pulse.holding("one"):
        bench.turn(MAX_RUN_S)
        assert bench.ended == []
        bench.turn(0.5)
    assert bench.ended[0] == EXIT_HUNG
    assert "claim one has run for over 30 s" in caplog.text


def test_tick_when_runs_are_many_but_none_is_long_then_the_process_lives(bench: Bench) -> None:
    for number in range(5):
        with bench.pulse.holding(str(number)):
            bench.turn(MAX_RUN_S * 0.9)
    assert bench.ended == []


def test_tick_when_a_run_hangs_while_redis_is_away_then_the_process_is_ended_all_the_same(bench: Bench) -> None:
    bench.heart.is_down = True
    with bench.pulse.holding("one"):
        bench.turn(MAX_RUN_S + 1)
    assert EXIT_HUNG in bench.ended


# --- leaving


def test_leave_when_called_then_no_more_beats_but_leases_are_renewed_to_the_end(bench: Bench) -> None:
    bench.turn(2)
    beats = len(bench.heart.beats)
    with bench.pulse.holding("one"):
        bench.pulse.leave()
        bench.turn(10)
    assert bench.heart.left == [("toy", "1")]
    assert len(bench.heart.beats) == beats
    assert len(bench.heart.renewals) == 10


def test_leave_when_redis_is_away_then_said_and_no_more_beats(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.heart.is_down = True
    bench.pulse.leave()
    assert "could not say good-bye: Redis does not answer" in caplog.text
    bench.heart.is_down = False
    bench.turn(5)
    assert bench.heart.beats == []


# --- outages


def test_tick_when_redis_is_away_then_said_once_and_it_goes_on_afterwards(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with bench.pulse.holding("one"):
        bench.turn(1)
        bench.heart.is_down = True
        with caplog.at_level(logging.WARNING):
            bench.turn(10)
        assert len(caplog.records) == 1
        assert "no heartbeat: Redis does not answer" in caplog.text
        bench.heart.is_down = False
        bench.heart.beats.clear()
        bench.heart.renewals.clear()
        bench.turn(3)
    assert len(bench.heart.beats) == 3
    assert len(bench.heart.renewals) == 3


def test_tick_when_redis_goes_away_twice_then_said_twice(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        bench.heart.is_down = True
        bench.turn(3)
        bench.heart.is_down = False
        bench.turn(3)
    assert len(caplog.records) == 2


def test_tick_when_redis_goes_away_twice_while_leaving_then_said_twice(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.pulse.leave()
    with bench.pulse.holding("one"):
        for _ in range(2):
            bench.heart.is_down = True
            bench.turn(3)
            bench.heart.is_down = False
            bench.turn(3)
    assert len(caplog.records) == 2


# --- the thread


def test_run_when_started_then_it_ticks_until_it_is_stopped() -> None:
    heart = Heart()
    pulse = Pulse(heart, list, lease_s=0.01, max_run_s=MAX_RUN_S)
    beat, beaten = heart.beat, threading.Event()

    def beat_and_stop(models: Iterable[Key]) -> Heartbeat:
        beaten.set()
        pulse.stop()
        return beat(models)

    heart.beat = beat_and_stop
    pulse.start()
    pulse.join(timeout=10)
    assert beaten.is_set()
    assert not pulse.is_alive()


def test_run_when_a_tick_has_a_fault_of_ours_then_the_thread_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    heart = Heart()
    pulse = Pulse(heart, list, lease_s=0.01, max_run_s=MAX_RUN_S, clock=heart.clock)
    calls: list[int] = []

    def renew(_: Iterable[str]) -> set[str]:
        heart.now += 1
        calls.append(len(calls))
        if len(calls) > 1:
            pulse.stop()
            return set()
        raise ZeroDivisionError("a bug")

    heart.renew = renew
    with pulse.holding("one"):
        pulse.start()
        pulse.join(timeout=10)
    assert len(calls) == 2
    assert "a bug" in caplog.text


# --- try_to


def test_try_to_when_redis_is_away_then_said(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise QueueUnavailableError("away")

    try_to(fail, "could not do it")
    assert "could not do it: away" in caplog.text


def test_try_to_when_it_works_then_done_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    try_to(lambda: done.append(1), "could not do it")
    assert (done, caplog.records) == ([1], [])


def test_try_to_when_the_fault_is_ours_then_it_passes() -> None:
    def fail() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        try_to(fail, "could not do it")
    try_to(lambda: (_ for _ in ()).throw(InvalidInputError("of Ferry's own tree")), "could not do it")


def test_tick_when_a_heartbeat_reached_redis_then_its_health_is_told_and_not_while_redis_is_away(bench: Bench) -> None:
    bench.pulse.tick()
    assert bench.alive == bench.heart.beats
    bench.heart.is_down = True
    bench.heart.now += 10
    bench.pulse.tick()
    assert len(bench.alive) == 1


# --- switched to whole jobs


def test_beat_when_another_worker_switched_a_model_then_it_is_switched_here_too() -> None:
    bench = Bench()
    bench.heart.switched = {("toy", "1"): "job j moved"}
    bench.pulse.beat()
    (model,) = bench.served
    assert (model.switched, model.is_batched, model.limits.max_rows) == ("job j moved", False, 1)
    assert bench.heart.told == []


def test_beat_when_a_model_was_switched_here_and_redis_does_not_know_then_it_hears_of_it() -> None:
    bench = Bench()
    (model,) = bench.served
    model.switch_to_whole_jobs("found here")
    bench.pulse.beat()
    assert bench.heart.told == [(("toy", "1"), model.digest, "found here")]


def test_beat_when_the_switched_digest_is_another_then_this_model_stays_as_it_is() -> None:
    bench = Bench()
    bench.heart.switched = {("toy", "1"): "of other files"}
    bench.heart.other = frozenset({("toy", "1")})
    bench.pulse.beat()
    assert bench.served[0].is_batched
