"""The Celery tasks, thin: what comes in goes to the ticket runner or the inspection."""

from collections.abc import Callable
from typing import Any

from celery import Celery

from ferry.inspection import INSPECT_TASK
from ferry.queue.tickets import RUN_TASK
from worker.messages import CheckArgs, has_types
from worker.tickets import TicketRunner

# How the arguments of each task must be.
TASK_ARGS: dict[str, CheckArgs] = {
    RUN_TASK: has_types(str, str),
    INSPECT_TASK: has_types(str, str, str, list, dict, str),
}


def register_tasks(app: Celery, tickets: TicketRunner, inspect: Callable[..., None]) -> None:
    """Bind the tasks to this process's runner and inspection, on this application alone."""

    @app.task(name=RUN_TASK, bind=True, shared=False)
    def run_batches(task: Any, name: str, version: str) -> dict[str, Any]:
        """Serve one ticket."""
        return tickets.serve(task.request.id, name, version)

    @app.task(name=INSPECT_TASK, shared=False)
    def inspect_model(
        staged: str, name: str, version: str, labels: list[str], options: dict[str, Any], reply_key: str
    ) -> None:
        """Inspect a staged model file for a command line without onnxruntime."""
        inspect(staged, name, version, labels, options, reply_key)
