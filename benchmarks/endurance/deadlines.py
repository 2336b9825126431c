"""Jobs with 200 ms behind a worker that is busy for 2 s: how long after its deadline is each terminal?"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np

from benchmarks.endurance.stand_in_stack import stand_in_stack
from benchmarks.fleet import LIMITS
from benchmarks.stand_in_model import MAX_ROWS, NAME
from ferry.jobs import JobRecord, Submission, new_job_id
from ferry.queue.connection import connect_async
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE

RUN_S = 2.0
DEADLINE_S = 0.2
N_TRIES = 100
GIVE_UP_S = 300.0
PAYLOAD = np.zeros((1, 1), np.float32).tobytes()


def measure(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return milliseconds from deadline to terminal state over N_TRIES, and how many were claimed after it."""
    with stand_in_stack(folder, run_s=RUN_S) as stack:
        return asyncio.run(_measure(stack.api_url, stack.redis_url, say))


async def _measure(api_url: str, redis_url: str, say: Callable[[str], None]) -> dict[str, Any]:
    client = connect_async(redis_url, NAMESPACE)
    producer = Producer(client, LIMITS)
    chance = random.Random(1)
    busy = asyncio.create_task(_keep_busy(producer))
    headers = {"Cancel-After": f"{DEADLINE_S * 1000:g}ms", "Prefer": "wait=10"}
    try:
        async with httpx.AsyncClient(base_url=api_url, timeout=30) as client:
            await asyncio.sleep(RUN_S)  # the first batch is under way

            async def attempt() -> tuple[dict[str, Any], float]:
                sent = time.perf_counter()
                body = {"version": NAME, "input": {"x": [[1.0]]}}
                answer = await client.post("/v1/predictions", json=body, headers=headers)
                return answer.json(), time.perf_counter() - sent

            tries = []
            for _ in range(N_TRIES):
                tries.append(asyncio.create_task(attempt()))
                await asyncio.sleep(chance.uniform(0.1, 0.4))
            answers = await asyncio.wait_for(asyncio.gather(*tries), GIVE_UP_S)
    finally:
        busy.cancel()
    found = await producer.read_many([answer["id"] for answer, _ in answers])
    await client.redis.aclose(close_connection_pool=True)
    records = [record for record in found if record is not None]
    # A job that came while the worker was between two batches may have been run in time.
    overdue = [record for record in records if record.error_code == "deadline_exceeded"]
    late_ms = sorted((record.completed_us - record.deadline_us) / 1000 for record in overdue if record.completed_us)
    heard_ms = sorted(
        (heard_s - DEADLINE_S) * 1000 for answer, heard_s in answers if answer["error_code"] == "deadline_exceeded"
    )
    p50_ms, max_ms = median(late_ms), late_ms[-1]
    say(f"{len(overdue)} of {len(records)} overdue, terminal after p50 {p50_ms:.1f} ms, max {max_ms:.1f} ms")
    return {
        "tries": N_TRIES, "in_time": len(records) - len(overdue), "overdue": len(overdue),
        "late_ms": {"p50": p50_ms, "max": max_ms},
        "client_heard_ms": {"p50": median(heard_ms), "max": heard_ms[-1]},
        "rows_claimed_after_expiry": sum(_claimed_late(record) for record in records),
    }  # fmt: skip


def _claimed_late(record: JobRecord) -> int:
    return record.rows if record.started_us is not None and record.started_us > record.deadline_us else 0


async def _keep_busy(producer: Producer) -> None:
    """Keep full batches of the higher class before everyone else."""
    while True:
        jobs = [Submission(new_job_id(), NAME, "1", 1, PAYLOAD) for _ in range(2 * MAX_ROWS)]
        await producer.submit(jobs)
        while True:
            records = await producer.read_many([job.id for job in jobs[MAX_ROWS:]])
            if any(record is None or record.attempts for record in records):
                break
            await asyncio.sleep(0.05)
