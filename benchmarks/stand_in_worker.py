"""A worker of the product with a stand-in for the device: each run takes a fixed time and no CPU.

    python -m benchmarks.stand_in_worker

Everything but the model is the product's own (`worker.__main__`). STAND_IN_RUN_S is the time of one run; with
STAND_IN_GATE the worker writes `<gate>.<pid>` when it has imported everything, and starts when the file `<gate>` is
there, so that sixteen of them start together. With STAND_IN_TALLY, a folder, every row that is run is noted there.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import worker.serving
from ferry.manifest import Manifest
from worker.__main__ import main
from worker.models import Model

DEFAULT_RUN_S = 0.02
GATE_TIMEOUT_S = 120.0
POLL_S = 0.01


class StandInSession:
    """In place of onnxruntime's session: sleeps, then returns its input."""

    def __init__(self, run_s: float) -> None:
        self._run_s = run_s
        folder = os.environ.get("STAND_IN_TALLY")
        # Unbuffered: what a killed process ran counts too.
        self._tally = (Path(folder) / f"{os.getpid()}").open("ab", buffering=0) if folder else None

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[np.ndarray]:
        """Take the time a device would."""
        del names
        time.sleep(self._run_s)
        if self._tally:
            for rows in feeds.values():
                self._tally.write(rows.tobytes())
        return list(feeds.values())


def load_stand_in(folder: Path, manifest: Manifest, *, threads: int, accelerator: object = None) -> Model:
    """Stand in for `worker.models.load_model`."""
    del folder, threads, accelerator
    return Model(manifest, StandInSession(float(os.environ.get("STAND_IN_RUN_S", DEFAULT_RUN_S))))


def wait_for_gate(gate: Path) -> None:
    """Say that this process is ready, then wait for the gate."""
    gate.with_name(f"{gate.name}.{os.getpid()}").touch()
    deadline_s = time.monotonic() + GATE_TIMEOUT_S
    while not gate.exists():
        if time.monotonic() > deadline_s:
            sys.exit(f"no gate {gate} after {GATE_TIMEOUT_S:g} s")
        time.sleep(POLL_S)


if __name__ == "__main__":
    worker.serving.load_model = load_stand_in
    if gate := os.environ.get("STAND_IN_GATE"):
        wait_for_gate(Path(gate))
    sys.exit(main())
