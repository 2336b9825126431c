import signal

from ferry.local.restarts import (
    CRASHES_LIMIT,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    REFUSALS_LIMIT,
    SHORT_LIFE_S,
    SLOW_PAUSE_S,
    STEADY_LIFE_S,
    RestartRule,
)

KILLED = -signal.SIGSEGV
REFUSED = 1
RAN_TOO_LONG = 70  # how a worker ends itself over a batch that does not return


def pauses(*ends: tuple[float, int]) -> list[float]:
    """Return the pause after each of a part's ends, given as (ran_s, status)."""
    rule = RestartRule()
    return [rule.pause_after(ran_s=ran_s, status=status) for ran_s, status in ends]


def test_pause_when_ends_follow_each_other_doubles_up_to_a_bound() -> None:
    assert pauses(*[(1.0, KILLED)] * 7) == [0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_pause_when_the_part_ran_steadily_is_the_first_again() -> None:
    assert pauses((1.0, KILLED), (1.0, KILLED), (STEADY_LIFE_S, KILLED))[-1] == FIRST_PAUSE_S


def test_pause_when_the_part_ran_for_a_while_still_grows() -> None:
    assert pauses((1.0, KILLED), (STEADY_LIFE_S - 1, KILLED)) == [0.2, 0.4]


def test_restart_when_every_start_is_refused_is_tried_seldom_after_a_few() -> None:
    given = pauses(*[(1.0, REFUSED)] * REFUSALS_LIMIT)
    assert given.index(SLOW_PAUSE_S) == REFUSALS_LIMIT - 1


def test_restart_when_a_refusal_takes_some_seconds_is_tried_seldom_as_well() -> None:
    assert pauses(*[(SHORT_LIFE_S - 1, REFUSED)] * REFUSALS_LIMIT)[-1] == SLOW_PAUSE_S


def test_restart_when_refusals_have_a_crash_between_counts_them_anew() -> None:
    refused = [(1.0, REFUSED)] * (REFUSALS_LIMIT - 1)
    assert SLOW_PAUSE_S not in pauses(*refused, (1.0, KILLED), *refused)


def test_restart_when_jobs_kill_the_part_outlives_the_attempts_of_fourteen() -> None:
    together_then_each_alone_twice = 1 + 14 * 2
    assert SLOW_PAUSE_S not in pauses(*[(1.5, KILLED)] * together_then_each_alone_twice)


def test_restart_when_runs_last_too_long_counts_as_jobs_do() -> None:
    assert SLOW_PAUSE_S not in pauses(*[(3.0, RAN_TOO_LONG)] * (CRASHES_LIMIT - 1))


def test_restart_when_the_part_crashes_at_every_start_is_tried_seldom_in_the_end() -> None:
    rule = RestartRule()
    given = [rule.pause_after(ran_s=0.5, status=KILLED) for _ in range(CRASHES_LIMIT)]
    assert given.index(SLOW_PAUSE_S) == CRASHES_LIMIT - 1
    assert rule.n_short_lives == CRASHES_LIMIT


def test_restart_when_the_part_lived_longer_counts_anew() -> None:
    short = [(1.0, REFUSED)] * (REFUSALS_LIMIT - 1)
    assert SLOW_PAUSE_S not in pauses(*short, (SHORT_LIFE_S, REFUSED), *short)
