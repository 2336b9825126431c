import pytest

from ferry.queue.clock import ADOPT_S, STEP_S, ClockReference, cautious_us, steady_us
from ferry.queue.keys import AHEAD_US

START_US = 1_800_000_000_000_000
SECOND = 10**6


class Turned:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def known(clock: Turned) -> ClockReference:
    reference = ClockReference(clock)
    assert reference.now_us() is None
    assert reference.step_us(START_US, 0, sent_at=clock.now) == 0
    return reference


def test_now_when_time_goes_on_then_it_follows_the_own_clock(known: ClockReference, clock: Turned) -> None:
    clock.now += 7
    assert known.now_us() == START_US + 7 * SECOND


@pytest.mark.parametrize("step_s", [90_000, -90_000, 1, -1])
def test_step_when_redis_clock_jumps_then_its_size_and_the_own_time_stays(
    known: ClockReference, clock: Turned, step_s: int
) -> None:
    clock.now += 1
    assert known.step_us(START_US + (1 + step_s) * SECOND, 0, sent_at=clock.now) == step_s * SECOND
    assert known.now_us() == START_US + SECOND


def test_step_when_the_reply_was_slow_then_none(known: ClockReference, clock: Turned) -> None:
    sent_at = clock.now
    clock.now += 3
    assert known.step_us(START_US + 2 * SECOND, 0, sent_at=sent_at) == 0
    assert known.now_us() == START_US + 2 * SECOND


def test_step_when_the_reply_before_was_slow_then_none(clock: Turned) -> None:
    reference = ClockReference(clock)
    clock.now += 3  # of the first reply: Redis read its clock as soon as it was asked
    assert reference.step_us(START_US, 0, sent_at=clock.now - 3) == 0
    clock.now += 1
    assert reference.step_us(START_US + 4 * SECOND, 0, sent_at=clock.now) == 0
    clock.now += 1
    assert reference.step_us(START_US + 4 * SECOND, 0, sent_at=clock.now) == -SECOND


def test_step_when_clocks_drift_then_none_and_redis_is_followed(known: ClockReference, clock: Turned) -> None:
    for n in range(1, 100):
        clock.now += 1
        assert known.step_us(START_US + int(n * 1.2 * SECOND), 0, sent_at=clock.now) == 0
    assert known.now_us() == START_US + int(99 * 1.2 * SECOND)
    assert STEP_S > 0.2


def test_step_when_new_and_redis_is_behind_what_a_leader_saw_then_it_went_back(clock: Turned) -> None:
    reference = ClockReference(clock)
    assert reference.step_us(START_US - 5 * SECOND, START_US, sent_at=clock.now) == -5 * SECOND
    assert reference.now_us() == START_US


def test_follow_when_the_times_differ_for_long_then_the_others_is_taken(known: ClockReference, clock: Turned) -> None:
    hour = 3600 * SECOND
    assert known.step_us(START_US + hour, 0, sent_at=clock.now) == hour
    known.follow(START_US + hour)
    assert known.now_us() == START_US
    clock.now += ADOPT_S
    known.follow(START_US + hour)
    assert known.now_us() == START_US + hour


def test_steady_when_steps_are_known_then_redis_time_without_them() -> None:
    assert steady_us((100, 5), None) == 100 * SECOND + 5
    assert steady_us((100, 5), b"40000000 1") == 60 * SECOND + 5
    assert steady_us((100, 5), b"0 160000000") == 160 * SECOND, "a step back that no leader has seen yet"


def test_cautious_when_no_leader_has_seen_the_time_then_little_beyond_what_it_saw() -> None:
    assert cautious_us((90_000, 0), b"0 10000000") == 10 * SECOND + AHEAD_US
    assert cautious_us((11, 0), b"0 10000000") == 11 * SECOND
    assert cautious_us((90_000, 0), None) == 90_000 * SECOND
