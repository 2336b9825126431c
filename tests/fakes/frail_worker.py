"""Start a real worker, except that a marked row ends the process as a crash in native code would: at once, in mid-run.

`python -m tests.fakes.frail_worker`. Everything but that is the product's: Celery, the queue, leases, the model file.
"""

import os
import signal
import sys

from ferry.tensors import Array
from worker.models import Model

DEADLY = 666.0


def make_frail() -> None:
    """Have every model of this process die of DEADLY in its first input."""
    run = Model.run

    def run_or_die(model: Model, arrays: list[Array]) -> list[Array]:
        if (arrays[0] == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return run(model, arrays)

    Model.run = run_or_die


if __name__ == "__main__":
    from worker.__main__ import main  # reads the environment, which a test that wants DEADLY need not have

    make_frail()
    sys.exit(main())
