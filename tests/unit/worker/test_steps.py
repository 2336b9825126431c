from pathlib import Path

import pytest

from ferry.errors import QueueUnavailableError
from ferry.manifest import Manifest
from ferry.queue.keys import TICKETS
from ferry.queue.records import Heartbeat
from ferry.repository import Repository
from tests import onnx_models
from tests.unit.worker.conftest import put_model
from worker.pulse import Pulse
from worker.serving import Shelf
from worker.steps import REFRESH_EVERY_S, follow_repository

GOOD = onnx_models.doubled().SerializeToString()


class Timer:
    """Celery's timer, which the test makes ring."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, object, tuple[object, ...]]] = []
        self.canceled = 0

    def call_repeatedly(self, seconds: float, function, args: tuple[object, ...]) -> "Timer":
        self.calls.append((seconds, function, args))
        return self

    def cancel(self) -> None:
        self.canceled += 1

    def ring(self) -> None:
        _, function, args = self.calls[-1]
        function(*args)


class Consumer:
    """Celery's consumer as the step sees it."""

    def __init__(self) -> None:
        self.timer = Timer()
        self.queues: list[str] = []

    def add_task_queue(self, name: str) -> None:
        self.queues.append(name)

    def cancel_task_queue(self, name: str) -> None:
        self.queues.remove(name)


class Heart:
    def __init__(self) -> None:
        self.beats: list[list[tuple[str, str]]] = []
        self.is_down = False

    def beat(self, models) -> Heartbeat:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so")
        self.beats.append(sorted(models))
        return Heartbeat(frozenset(), {})

    def register(self, added: Manifest, profile: object = None) -> None:
        raise AssertionError(added)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def shelf(root: Path) -> Shelf:
    return Shelf(Repository(root), threads=1)


@pytest.fixture
def heart() -> Heart:
    return Heart()


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def step(shelf: Shelf, heart: Heart, consumer: Consumer):
    pulse = Pulse(heart, shelf.models, lease_s=5, max_run_s=5)
    return follow_repository(shelf, pulse)(consumer)


def test_start_when_called_then_it_looks_each_second(step, consumer: Consumer) -> None:
    step.start(consumer)
    ((seconds, _, args),) = consumer.timer.calls
    assert (seconds, args) == (REFRESH_EVERY_S, (consumer,))


def test_stop_when_started_then_it_looks_no_more(step, consumer: Consumer) -> None:
    step.stop(consumer)
    step.start(consumer)
    step.stop(consumer)
    assert consumer.timer.canceled == 1


def test_refresh_when_versions_come_and_go_then_their_queues_do_and_the_next_beat_says_so_at_once(
    step, consumer: Consumer, heart: Heart, root: Path
) -> None:
    step.start(consumer)
    put_model(root, GOOD)
    consumer.timer.ring()
    assert consumer.queues == [TICKETS + "toy:1"]
    put_model(root, GOOD, version="2")
    (root / "toy" / "1").rename(root / ".outgoing-1")
    consumer.timer.ring()
    assert consumer.queues == [TICKETS + "toy:2"]
    assert heart.beats == [[("toy", "1")], [("toy", "2")]]


def test_refresh_when_other_files_are_registered_then_their_tickets_are_left_until_they_are_the_same(
    step, consumer: Consumer, shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step.start(consumer)
    put_model(root, GOOD)
    consumer.timer.ring()
    shelf.set_other(frozenset({("toy", "1"), ("elsewhere", "1")}))
    consumer.timer.ring()
    assert consumer.queues == []
    assert caplog.text.count("other_digest: toy:1 is registered with other files") == 1
    shelf.set_other(frozenset())
    consumer.timer.ring()
    assert consumer.queues == [TICKETS + "toy:1"]


def test_refresh_when_nothing_changed_then_nothing_is_said(
    step, consumer: Consumer, heart: Heart, shelf: Shelf, root: Path
) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    step.start(consumer)
    consumer.timer.ring()
    assert (consumer.queues, heart.beats) == ([], [])


def test_refresh_when_redis_is_away_then_the_queue_is_consumed_all_the_same(
    step, consumer: Consumer, heart: Heart, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heart.is_down = True
    step.start(consumer)
    put_model(root, GOOD)
    consumer.timer.ring()
    assert consumer.queues == [TICKETS + "toy:1"]
    assert "could not say what is served now" in caplog.text


def test_step_when_required_then_after_celerys_tasks(step) -> None:
    assert {str(each) for each in type(step).requires} == {"celery.worker.consumer.tasks:Tasks"}
