from types import SimpleNamespace

import pytest

from ferry.errors import ModelRefusedError
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS
from worker.broken_models import REPEAT_S, BrokenReporter, refuse_without_a_model

pytestmark = pytest.mark.anyio
BROKEN = {("bad", "1"): "model.onnx is missing"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_report_when_a_model_breaks_and_is_mended_then_the_queue_hears_of_both_and_is_left_alone_else() -> None:
    queue, shelf = MemoryQueue(LIMITS), SimpleNamespace(broken={})
    reporter = BrokenReporter(queue, shelf)
    reporter.report()
    assert queue.broken_by == {}  # nothing to say, nothing said
    shelf.broken = BROKEN
    reporter.report()
    assert [(each.key, each.reason) for each in await queue.broken()] == list(BROKEN.items())
    shelf.broken = {}
    reporter.report()
    assert await queue.broken() == []
    queue.broken_by.clear()
    reporter.report()
    assert queue.broken_by == {}


async def test_report_when_a_model_stays_broken_then_repeated_seldom_and_a_new_reason_at_once() -> None:
    queue, shelf, times = MemoryQueue(LIMITS), SimpleNamespace(broken=BROKEN), iter([0.0, 1.0, REPEAT_S, REPEAT_S + 1])
    reporter = BrokenReporter(queue, shelf, clock=lambda: next(times))

    def says() -> int:
        queue.broken_by.clear()
        reporter.report()
        return len(queue.broken_by)

    assert [says() for _ in range(3)] == [1, 0, 1]
    shelf.broken = {("bad", "1"): "it is no model"}
    assert says() == 1


@pytest.mark.parametrize("is_down", [False, True])
def test_refuse_without_a_model_when_all_are_broken_then_on_one_line_even_without_redis(is_down: bool) -> None:
    queue = MemoryQueue(LIMITS)
    queue.is_down = is_down
    shelf = SimpleNamespace(broken=BROKEN | {("worse", "2"): "no"}, has_nothing_left=True)
    with pytest.raises(ModelRefusedError) as caught:
        refuse_without_a_model(shelf, BrokenReporter(queue, shelf))
    assert caught.value.detail == (
        "every model is broken, so there is nothing to serve: bad:1: model.onnx is missing; worse:2: no"
    )
    assert bool(queue.broken_by) is not is_down


def test_refuse_without_a_model_when_one_is_left_then_it_starts() -> None:
    shelf = SimpleNamespace(broken=BROKEN, has_nothing_left=False)
    refuse_without_a_model(shelf, BrokenReporter(MemoryQueue(LIMITS), shelf))
