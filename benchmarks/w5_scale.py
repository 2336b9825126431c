"""W5: do more workers serve more, and does a lone job start at once beside a busy worker?

The device is a stand-in that takes a fixed time a batch and no CPU, so that 16 of them fit on 2 cores.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.fleet import LIMITS, fleet
from benchmarks.plan import Plan
from benchmarks.stand_in_model import MAX_ROWS
from benchmarks.turns import fresh_folder
from benchmarks.w1_waiting import Say
from ferry.queue.connection import connect_async
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE

RUN_S = 0.02
DEVICE_PER_S = MAX_ROWS / RUN_S  # jobs of one row one device can do in a second
FIRST_S = 1.0  # counted by itself, from the last worker's first heartbeat: are all busy within a second?
# Sixteen workers come up within seconds of each other and eat from the backlog meanwhile.
START_S = 10.0
JOINING, JOINED_BACKLOG = 7, 2000
JOINED_RUN_S = 0.2  # a backlog of six seconds for all, so that a worker is seen busy
LONG_RUN_S = 2.0
PICK_UP_S = 0.5  # by then the busy worker has its job


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return jobs/s by number of workers, and the start delays of lone jobs."""
    found: dict[str, Any] = {"device_jobs_per_s": DEVICE_PER_S, "workers": {}, "lone_job": {}}
    for n_workers in plan.workers:
        found["workers"][str(n_workers)] = run = _backlog(n_workers, plan.window_s)
        say(f"W5 {n_workers} workers: {run['per_s']:,.0f} jobs/s of {n_workers * DEVICE_PER_S:,.0f}")
    found["joining"] = {"all_busy_ms": [_joining() for _ in range(plan.other_repeats)]}
    say(f"W5 seven workers join one with a backlog: all busy after {found['joining']['all_busy_ms']} ms")
    delays_ms = asyncio.run(_lone_jobs(plan.lone_jobs))
    found["lone_job"] = {"delays_ms": delays_ms}
    say(f"W5 lone job beside a busy worker: {min(delays_ms):.1f} to {max(delays_ms):.1f} ms")
    return found


def _backlog(n_workers: int, window_s: float) -> dict[str, Any]:
    """Fill the queue, start all workers, count what is settled in a window in which all of them serve."""
    n_jobs = int(n_workers * DEVICE_PER_S * (START_S + FIRST_S + window_s))
    with fleet(fresh_folder("fleet"), n_workers, run_s=RUN_S) as workers:
        asyncio.run(workers.submit(n_jobs))
        workers.open_gate()
        workers.wait_until_live()
        first_second = _rate(workers.n_settled, FIRST_S)
        per_s = _rate(workers.n_settled, window_s)
        left = workers.n_waiting()
    if not left:
        raise RuntimeError(f"{n_jobs} jobs were too few for {n_workers} workers: the backlog ran out")
    return {"per_s": round(per_s, 1), "first_second_per_s": round(first_second, 1), "n_jobs": n_jobs, "left": left}


def _joining() -> float:
    """Return the ms from the last heartbeat of eight until all are busy: 2,000 jobs came while one worker lived."""
    with fleet(fresh_folder("joining"), 1 + JOINING, run_s=JOINED_RUN_S, n_early=1) as workers:
        workers.wait_until_live(1)
        workers.wait_at_gate()
        asyncio.run(workers.submit(JOINED_BACKLOG))
        workers.open_gate()
        workers.wait_until_live()
        return round(workers.wait_until_busy() * 1000, 1)


def _rate(count: Callable[[], int], seconds: float) -> float:
    before, started_s = count(), time.perf_counter()
    time.sleep(seconds)
    return (count() - before) / (time.perf_counter() - started_s)


async def _lone_jobs(n_jobs: int) -> list[float]:
    """Return in ms how long each lone job waited for its claim while one of two workers was busy for 2 s."""
    delays_ms = []
    with fleet(fresh_folder("lone"), 2, run_s=LONG_RUN_S) as workers:
        await asyncio.to_thread(workers.open_gate)
        await asyncio.to_thread(workers.wait_until_live)
        client = connect_async(workers.url, NAMESPACE)
        producer = Producer(client, LIMITS)
        try:
            for _ in range(n_jobs):
                await workers.submit(1)
                await asyncio.sleep(PICK_UP_S + random.random() * 0.3)
                (lone,) = await workers.submit(1)
                await asyncio.sleep(LONG_RUN_S * 2)
                record = await producer.read(lone)
                if record is None or record.started_us is None:
                    delays_ms.append(LONG_RUN_S * 2000)  # not started by now
                else:
                    delays_ms.append((record.started_us - record.created_us) / 1000)
        finally:
            await client.redis.aclose(close_connection_pool=True)
    return delays_ms
