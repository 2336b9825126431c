import asyncio
import json

import celery
import numpy as np
import pytest

from ferry.inspection import INSPECT_TASK
from ferry.jobs import State
from ferry.queue.tickets import RUN_TASK, ticket_template
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.sessions import FakeSession
from tests.manifests import LIMITS, manifest, submission
from worker.models import Model
from worker.pulse import Pulse
from worker.tasks import register_tasks
from worker.tickets import TicketRunner


@pytest.fixture
def queue() -> MemoryQueue:
    queue = MemoryQueue(LIMITS)
    asyncio.run(queue.register(manifest()))
    return queue


@pytest.fixture
def inspected() -> list[tuple[object, ...]]:
    return []


@pytest.fixture
def app(queue: MemoryQueue, inspected: list[tuple[object, ...]]) -> celery.Celery:
    """A Celery application with the worker's tasks."""
    model = Model(manifest(), FakeSession(lambda x: [x[:, :2]]))
    leases = Pulse(queue, lambda: [model], lease_s=5, max_run_s=5)
    runner = TicketRunner(queue, leases, lambda *_: model, give_up_s=1)
    app = celery.Celery("test", broker="memory://", set_as_current=False)
    register_tasks(app, runner, lambda *arguments: inspected.append(arguments))
    return app


def test_register_tasks_when_called_then_the_two_tasks_by_their_agreed_names(app: celery.Celery) -> None:
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {RUN_TASK, INSPECT_TASK}


def test_run_batches_when_a_ticket_comes_then_its_id_names_the_batch(app: celery.Celery, queue: MemoryQueue) -> None:
    model = Model(manifest(), None)
    job = submission(payload=model.inputs.pack([np.ones((1, 3), np.float32)]))
    asyncio.run(queue.submit([job]))
    result = app.tasks[RUN_TASK].apply(args=("toy", "1"), task_id="ticket-7").result
    record = queue.jobs[job.id].record
    assert (record.state, record.batch_id) == (State.SUCCEEDED, "ticket-7.1")
    assert (result["jobs"], result["rows"]) == (1, 1)
    json.dumps(result)  # what Flower shows


def test_run_batches_when_a_ticket_is_made_then_it_calls_this_task_with_the_models_name() -> None:
    headers = json.loads(ticket_template("toy", "1"))["headers"]
    assert (headers["task"], headers["argsrepr"]) == (RUN_TASK, "('toy', '1')")


def test_inspect_model_when_asked_then_all_it_was_told_goes_to_the_inspection(
    app: celery.Celery, inspected: list[tuple[object, ...]]
) -> None:
    arguments = (".incoming-1/model.onnx", "toy", "2", ["no", "yes"], {"fixed": ["sr=1"]}, "{ferry}:reply:1")
    app.tasks[INSPECT_TASK].apply(args=arguments)
    assert inspected == [arguments]
