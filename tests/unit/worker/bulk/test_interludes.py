"""Between two slices: who waits is served, the step keeps its share, and hears when it is to be left."""

import threading
from collections.abc import Callable, Iterable

import pytest

from ferry.bulk.batch_records import Place
from ferry.bulk.steps import Held, Meanwhile
from ferry.errors import QueueUnavailableError
from worker.bulk.interludes import (
    SLICE_S,
    Interlude,
    StepLostError,
    StepReleasedError,
    StepStoppedError,
)

TOY = ("toy", "1")
HELD = Held("token", "batch_x/3", *TOY, 1)
HERE = Place(8, 16, (2,))


class Ferry:
    """A queue that says what it is told to, a clock, and a pulse."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[tuple[tuple[str, str], ...]] = []
        self.is_held, self.is_ending, self.is_leaving, self.is_away = True, False, False, False
        self.told: list[tuple[str, Place]] = []
        self.served: list[tuple[str, str]] = []
        self.touched = 0
        self.serve_s = 0.001

    def _meanwhile(self, how: str, place: Place) -> Meanwhile:
        if self.is_away:
            raise QueueUnavailableError("away")
        self.told.append((how, place))
        return Meanwhile(self.is_held, self.is_ending, self.waiting.pop(0) if self.waiting else ())

    def between(self, held: Held, place: Place, served: Iterable[tuple[str, str]]) -> Meanwhile:
        meanwhile = self._meanwhile("between", place)
        return meanwhile if list(served) else Meanwhile(meanwhile.is_held, meanwhile.is_ending)

    def ask(self, held: Held, place: Place, served: Iterable[tuple[str, str]]) -> Callable[[], Meanwhile]:
        meanwhile = self._meanwhile("ask", place)
        return lambda: meanwhile

    def touch(self, token: str) -> None:
        assert token == HELD.token
        self.touched += 1

    def serve(self, key: tuple[str, str], until: float) -> None:
        self.served.append(key)
        self.now += self.serve_s

    def interlude(self, **more: bool) -> Interlude:
        return Interlude(HELD, self, self, serve=self.serve, served=lambda: [TOY], clock=lambda: self.now, **more)


@pytest.fixture
def ferry() -> Ferry:
    return Ferry()


def test_pause_when_nobody_waits_then_the_place_is_told_and_nothing_stands_still(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    interlude.pause(HERE)
    interlude.pause(HERE)
    assert ferry.told == [("ask", HERE), ("ask", HERE)]
    assert ferry.served == []


def test_pause_when_a_job_waited_during_the_slice_then_it_is_served_while_nothing_of_the_step_runs(
    ferry: Ferry,
) -> None:
    interlude = ferry.interlude()
    ferry.waiting = [(TOY,)]
    interlude.pause(HERE)
    assert ferry.served == []
    interlude.pause(HERE)
    assert ferry.served == [TOY]
    aside = Place(skipped=(2,))
    assert ferry.told == [("ask", HERE), ("between", aside), ("between", aside), ("ask", HERE)]


def test_pause_when_jobs_always_wait_then_the_step_keeps_a_twentieth_of_the_time(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    ferry.waiting = [(TOY,)] * 10_000
    interlude.pause(HERE)
    started = ferry.now = ferry.now + SLICE_S
    interlude.pause(HERE)
    assert ferry.now - started == pytest.approx(19 * SLICE_S, rel=0.05)


@pytest.mark.parametrize(
    ("flag", "more", "error"),
    [
        ({"is_held": False}, {}, StepLostError),
        ({"is_ending": True}, {"may_stop": True}, StepStoppedError),
        ({"is_leaving": True}, {"may_release": True}, StepReleasedError),
    ],
)
def test_pause_when_the_step_is_to_be_left_then_it_raises_and_remembers(
    ferry: Ferry, flag: dict[str, bool], more: dict[str, bool], error: type[Exception]
) -> None:
    interlude = ferry.interlude(**more)
    for name, value in flag.items():
        setattr(ferry, name, value)
    interlude.pause(HERE)
    with pytest.raises(error):
        interlude.pause(HERE)
    assert isinstance(interlude.ended, error)


def test_pause_when_a_chunk_is_not_needed_any_more_then_it_is_finished(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    ferry.is_ending = ferry.is_leaving = True
    interlude.pause(HERE)
    interlude.pause(HERE)
    assert interlude.ended is None


def test_pause_when_redis_is_away_then_the_step_goes_on(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    interlude.pause(HERE)
    ferry.is_away = True
    for _ in range(3):
        interlude.pause(HERE)
    ferry.is_away = False
    interlude.pause(HERE)
    assert ferry.told == [("ask", HERE), ("ask", HERE)]


def test_pause_if_due_when_on_another_thread_or_too_soon_then_nothing(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    interlude.pause_if_due()
    ferry.now += 1
    other = threading.Thread(target=interlude.pause_if_due)
    other.start()
    other.join()
    assert ferry.told == []
    interlude.pause_if_due()
    assert ferry.told == [("ask", Place(0, 0))]


def test_pause_when_heard_then_the_claim_gets_on(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    interlude.pause(HERE)
    interlude.pause(HERE)
    assert ferry.touched == 1


def test_pause_when_the_answer_does_not_come_then_the_step_goes_on_and_asks_anew(ferry: Ferry) -> None:
    interlude = ferry.interlude()

    def ask(*_: object) -> Callable[[], Meanwhile]:
        def answer() -> Meanwhile:
            raise QueueUnavailableError("away")

        return answer

    asked, ferry.ask = ferry.ask, ask  # type: ignore[method-assign,assignment]
    interlude.pause(HERE)
    ferry.ask = asked  # type: ignore[method-assign]
    interlude.pause(HERE)
    assert (ferry.told, interlude.ended) == ([("ask", HERE)], None)
    assert ferry.touched == 1, "it gets on, whether or not Redis hears of it"


def test_pause_when_redis_goes_while_others_are_served_then_the_step_goes_on(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    ferry.waiting = [(TOY,)] * 10
    interlude.pause(HERE)
    serve = ferry.serve

    def serve_and_lose_redis(key: tuple[str, str], until: float) -> None:
        serve(key, until)
        ferry.is_away = True

    interlude._serve = serve_and_lose_redis
    interlude.pause(HERE)
    assert (ferry.served, interlude.ended) == ([TOY], None)


def test_pause_when_several_models_wait_then_each_is_served_in_turn(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    other = ("other", "2")
    ferry.waiting = [(TOY, other), (), (other,), ()]
    interlude.pause(HERE)
    interlude.pause(HERE)
    assert ferry.served == [TOY, other, other]


def test_hear_when_an_answer_is_on_its_way_then_it_is_taken_once(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    ferry.waiting = [(TOY,)]
    interlude.pause(HERE)
    assert interlude.hear() == (TOY,)
    assert interlude.hear() == ()


def test_stand_at_when_the_step_is_anothers_then_nothing_of_it_runs(ferry: Ferry) -> None:
    interlude = ferry.interlude()
    interlude.stand_at(HERE)
    assert ferry.told == [("between", HERE)]
    ferry.is_held = False
    with pytest.raises(StepLostError):
        interlude.stand_at(HERE)
