"""Start a real worker whose batches wait at a gate: while a file is there, every batch that begins stays under way.

`TEST_GATE=<path> python -m tests.fakes.gated_worker`. The file `<path>.entered` says that a batch stands at the gate;
what a ticket came to is written to stdout. Everything else is the product's: Celery, queue, leases, the model file.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from ferry.tensors import Array
from worker.models import Model
from worker.tickets import TicketRunner

GATE = "TEST_GATE"
POLL_S = 0.01
# Of a gate that nobody opens; no test takes as long.
MAX_POLLS = 30_000


def entered(gate: Path) -> Path:
    """Return the file that says that a batch has come to the gate."""
    return gate.with_name(f"{gate.name}.entered")


def make_gated(gate: Path) -> None:
    """Have every model of this process wait while the gate is there, once the process serves tickets."""
    run, serve = Model.run, TicketRunner.serve
    serves = False

    def serve_at_the_gate(runner: TicketRunner, ticket_id: str, name: str, version: str) -> dict[str, Any]:
        nonlocal serves
        serves = True
        return serve(runner, ticket_id, name, version)

    def run_when_open(model: Model, arrays: list[Array]) -> list[Array]:
        if serves and gate.exists():  # a model's measurement and warm-up come before
            entered(gate).touch()
            for _ in range(MAX_POLLS):
                if not gate.exists():
                    break
                time.sleep(POLL_S)
        return run(model, arrays)

    Model.run = run_when_open
    TicketRunner.serve = serve_at_the_gate


def make_talkative() -> None:
    """Have this process say what each ticket came to, which otherwise only Flower shows."""
    serve = TicketRunner.serve

    def serve_and_tell(runner: TicketRunner, ticket_id: str, name: str, version: str) -> dict[str, Any]:
        summary = serve(runner, ticket_id, name, version)
        sys.stdout.write(f"{summary}\n")
        sys.stdout.flush()
        return summary

    TicketRunner.serve = serve_and_tell


if __name__ == "__main__":
    from worker.__main__ import main  # reads the environment, which a test that wants names only need not have

    make_gated(Path(os.environ[GATE]))
    make_talkative()
    sys.exit(main())
