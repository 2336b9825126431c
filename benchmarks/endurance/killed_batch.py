"""Every process killed at 40 % of a batch of a minute, then started again: is each row there, what was done twice?"""

import io
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.endurance.stand_in_stack import TALLY, StandInStack, stand_in_stack
from benchmarks.processes import descendants
from benchmarks.stand_in_model import MAX_ROWS, NAME

RUN_S = 0.02
N_WORKERS = 2
BATCH_S = 60
N_ROWS = int(BATCH_S / RUN_S) * MAX_ROWS * N_WORKERS
# A row's value is its number from 1: what a worker warms up with are zeros.
ROWS = np.arange(1, N_ROWS + 1, dtype=np.float32)
KILL_AT = 0.4
# A chunk takes half a second.
MID_CHUNK_S = 0.25
POLL_S = 0.05
GIVE_UP_S = 300.0
TERMINAL = ("completed", "failed", "expired", "cancelled")


def measure(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return what became of the rows, and the time that the kill cost beside an undisturbed run of the same file."""
    say(f"{N_ROWS:,} rows undisturbed")
    with stand_in_stack(folder / "whole", run_s=RUN_S, n_workers=N_WORKERS) as stack:
        undisturbed = _watch(stack, _start(stack), lambda _: False)
    say("the same, killed")
    tally = folder / "tally"
    tally.mkdir(parents=True)
    os.environ[TALLY] = str(tally)  # the stack passes it on to the workers
    try:
        with stand_in_stack(folder / "killed", run_s=RUN_S, n_workers=N_WORKERS) as stack:
            batch_id = _start(stack)
            _watch(stack, batch_id, lambda batch: _done(batch) >= KILL_AT * N_ROWS)
            time.sleep(MID_CHUNK_S)  # what was seen was the end of a chunk
            n_killed = _kill_all(stack)
            killed_at = time.time()
        with stand_in_stack(folder / "killed", run_s=RUN_S, n_workers=N_WORKERS) as stack:
            restarted_at = time.time()
            batch = _watch(stack, batch_id, lambda _: False)
            outputs, errors = _outcome(stack, batch)
    finally:
        del os.environ[TALLY]
    runs = _tallied(tally)
    whole_s, killed_s = _run_s(undisturbed), _run_s(batch)
    down_s = restarted_at - killed_at
    return {
        "rows": N_ROWS,
        "processes_killed": n_killed,
        "status": batch["status"],
        "rows_in_output": len(outputs),
        "rows_in_errors": errors,
        "in_input_order": bool(np.array_equal(outputs, ROWS)),
        "duplicates_in_output": len(outputs) - len(np.unique(outputs)),
        "rows_computed_twice": int((runs > 1).sum()),
        "rows_never_computed": int((runs == 0).sum()),
        "undisturbed_s": round(whole_s, 2),
        "killed_s": round(killed_s, 2),
        "down_s": round(down_s, 2),
        "lost_beside_down_s": round(killed_s - whole_s - down_s, 2),
    }


def _start(stack: StandInStack) -> str:
    file = io.BytesIO()
    np.save(file, ROWS.reshape(-1, 1))
    with httpx.Client(base_url=stack.api_url, timeout=30) as client:
        made = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("rows.npy", file.getvalue())})
        made.raise_for_status()
        body = {
            "input_file_id": made.json()["id"], "endpoint": f"/v2/models/{NAME}/infer", "completion_window": "1h",
        }  # fmt: skip
        answer = client.post("/v1/batches", json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])


def _watch(stack: StandInStack, batch_id: str, is_enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    give_up = time.monotonic() + GIVE_UP_S
    with httpx.Client(base_url=stack.api_url, timeout=30) as client:
        while time.monotonic() < give_up:
            batch: dict[str, Any] = client.get(f"/v1/batches/{batch_id}").json()
            if batch["status"] in TERMINAL or is_enough(batch):
                return batch
            time.sleep(POLL_S)
    raise TimeoutError(f"{batch_id} is not done after {GIVE_UP_S:g} s: {json.dumps(batch)}")


def _done(batch: dict[str, Any]) -> int:
    return int(batch["request_counts"]["completed"])


def _run_s(batch: dict[str, Any]) -> float:
    return float(batch["timings"]["ended"]) - float(batch["timings"]["created"])


def _kill_all(stack: StandInStack) -> int:
    """End Redis, the API and the workers as a power cut would, but for what the kernel still writes."""
    pids = [stack.redis.info("server")["process_id"]]
    for process in (stack.api, *stack.workers):
        pids += [process.pid, *(pid for pid, _ in descendants(process.pid))]
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    return len(pids)


def _outcome(stack: StandInStack, batch: dict[str, Any]) -> tuple[np.ndarray, int]:
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        raw = client.get(f"/v1/files/{batch['output_file_id']}/content").content
        n_errors = 0
        if batch["error_file_id"]:
            n_errors = client.get(f"/v1/files/{batch['error_file_id']}/content").content.count(b"\n")
    return np.load(io.BytesIO(raw), allow_pickle=False).reshape(-1), n_errors


def _tallied(folder: Path) -> np.ndarray:
    """Return how often each row was run."""
    values = [np.fromfile(path, np.float32) for path in folder.iterdir()]
    return np.bincount(np.concatenate(values).astype(np.int64), minlength=N_ROWS + 1)[1:]
