"""W8: where the processor time of a small job goes: by process under load, and by step inside API and worker."""

import os
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from api import wire
from api.access import ANYBODY
from api.catalog import Entry
from api.json_parsing import parse_json
from benchmarks.digits import digits
from benchmarks.ferry_system import FERRY, body
from benchmarks.places import MODELS
from benchmarks.plan import WARM_UP_CLIENTS, Plan
from benchmarks.processes import cpu_by_part
from benchmarks.turns import fresh_folder
from benchmarks.w1_waiting import Say
from benchmarks.w6_limits import bare_session
from benchmarks.wrk import load
from ferry.jobs import JobRecord, State, new_job_id
from ferry.json_tensors import read_inputs
from ferry.manifest import read_manifest
from ferry.queue.compression import compress, decompress

CLIENTS = 64
BATCH = 64
CALLS, REPEATS = 500, 7


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return microseconds a job by process, repeated, and by step, the best of repeats."""
    by_part: dict[str, list[float]] = {}
    for _ in range(plan.other_repeats):
        folder = fresh_folder("w8")
        with FERRY.run(folder) as base_url:
            post = FERRY.post(base_url, digits(1)[0][0])
            load(post, clients=WARM_UP_CLIENTS, seconds=plan.warm_up_s, folder=folder)
            before = cpu_by_part(os.getpid())
            seen = load(post, clients=CLIENTS, seconds=plan.seconds, folder=folder)
            for part, seconds in cpu_by_part(os.getpid()).items():
                used_us = (seconds - before.get(part, 0.0)) / max(1, seen.requests) * 1e6
                by_part.setdefault(part, []).append(round(used_us, 1))
    steps = {name: round(_best_us(step) / jobs, 2) for name, (step, jobs) in _steps().items()}
    say(f"W8 {by_part}")
    return {"clients": CLIENTS, "processes": by_part, "steps": steps}


def _best_us(step: Callable[[], object]) -> float:
    step()
    return min(timeit.repeat(step, number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def _steps() -> dict[str, tuple[Callable[[], object], int]]:
    """Return each step with the number of jobs it is for."""
    manifest = read_manifest(MODELS / "mnist" / "1")
    entry = Entry(manifest)
    raw = orjson.dumps(body(digits(1)[0][0]))
    asked = parse_json(raw)
    rows = read_inputs(manifest, asked["input"])
    payload = entry.inputs.pack(rows.arrays)
    stored = compress(payload)
    scores = np.full((BATCH, 10), 0.1, np.float32)
    (output,) = entry.outputs.pack_apart([scores[:1]], [1])
    now_us = 1_800_000_000_000_000
    record = JobRecord(
        new_job_id(), "mnist", "1", State.SUCCEEDED, rows=1, single=False, created_us=now_us,
        deadline_us=now_us + 10**9, attempts=1, started_us=now_us + 900, completed_us=now_us + 1800, run_us=150,
        batch_id="0123456789abcdef0123456789abcdef-1.1", batch_rows=64, batch_jobs=64, output=output,
    )  # fmt: skip
    session = bare_session()
    together = np.concatenate(entry.inputs.unpack_together([payload] * BATCH) or [])
    return {
        "API: parse the JSON (784 numbers into numpy)": (lambda: parse_json(raw), 1),
        "API: check shape, dtype and range": (lambda: read_inputs(manifest, asked["input"]), 1),
        "API: pack the row": (lambda: entry.inputs.pack(rows.arrays), 1),
        "API: compress it": (lambda: compress(payload), 1),
        "API: a job id": (new_job_id, 1),
        "API: the answer as JSON": (
            lambda: wire.JSONAnswer(
                wire.prediction(
                    record, entry, calls=ANYBODY.calls, base_url="http://h:8000", flower_url="http://h:5555"
                )
            ),
            1,
        ),
        "worker: decompress": (lambda: decompress(stored), 1),
        "worker: 64 rows into one array": (lambda: entry.inputs.unpack_together([payload] * BATCH), BATCH),
        "worker: session.run of 64 rows": (lambda: session.run(None, {"x": together}), BATCH),
        "worker: 64 results apart": (lambda: entry.outputs.pack_apart([scores], [1] * BATCH), BATCH),
    }
