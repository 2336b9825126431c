"""Ten times more than the workers can do, for a minute: what is accepted, what is refused, and is Retry-After true?"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from api.refusals import EASED_SHARE
from benchmarks.endurance.stand_in_stack import StandInStack, stand_in_stack
from benchmarks.fleet import LIMITS
from benchmarks.http_client import HttpClient
from benchmarks.stand_in_model import MAX_ROWS, NAME
from ferry.jobs import JobRecord
from ferry.queue.connection import connect_async
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE

RUN_S = 0.08
CAPACITY = MAX_ROWS / RUN_S  # rows a second of the one worker
TIMES = 10
LOAD_S = 60.0
MAX_WAITING_ROWS = 500
TICK_S = 0.01
N_POLITE = 20
POLITE_TRIES = 200
EASE_TIMEOUT_S = 60.0


@dataclass
class Seen:
    """What the clients were told."""

    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    other: dict[int, int] = field(default_factory=dict)
    retry_after_s: list[int] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)
    polite_tries: list[int] = field(default_factory=list)


def measure(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return counts, latencies and memory; rates in rows a second, sizes in bytes."""
    settings = {"max_waiting_rows": str(MAX_WAITING_ROWS)}
    with stand_in_stack(folder, run_s=RUN_S, **settings) as stack:
        return asyncio.run(_measure(stack, say))


async def _measure(stack: StandInStack, say: Callable[[str], None]) -> dict[str, Any]:
    client = HttpClient(stack.api_url)
    body = orjson.dumps({"version": NAME, "input": {"x": [[1.0]]}})
    request = client.request("POST", "/v1/predictions", body, (("Content-Type", "application/json"),))
    # A light load first, so that everything is loaded when memory is looked at.
    warm = Seen()
    await _offer(client, request, CAPACITY / 2, 10.0, warm)
    before = stack.api_rss()
    seen, rss = Seen(), [before]
    watch = asyncio.create_task(_watch(stack, rss))
    polite = [asyncio.create_task(_polite(client, request, seen)) for _ in range(N_POLITE)]
    await _offer(client, request, CAPACITY * TIMES, LOAD_S, seen)
    watch.cancel()
    for task in polite:
        task.cancel()
    given_s = seen.retry_after_s[-1] if seen.retry_after_s else 0
    started = time.perf_counter()
    full = stack.waiting_rows()
    eased, give_up = (1 - EASED_SHARE) * full, started + EASE_TIMEOUT_S
    while stack.waiting_rows() > eased and time.perf_counter() < give_up:  # noqa: ASYNC110  Redis tells nobody
        await asyncio.sleep(0.02)
    eased_s = time.perf_counter() - started
    records = await _all_ended(stack, seen.accepted)
    client.close()
    late_ms = sorted((record.completed_us - record.created_us) / 1000 for record in records if record.completed_us)
    figures = {
        "capacity_rows_s": CAPACITY, "offered_rows_s": CAPACITY * TIMES, "seconds": LOAD_S,
        "offered": len(seen.accepted) + seen.refused + sum(seen.other.values()),
        "accepted": len(seen.accepted), "refused": seen.refused, "other_statuses": seen.other,
        "succeeded": sum(record.state.value == "succeeded" for record in records),
        "accepted_ms": {"p50": median(late_ms), "p99": late_ms[int(len(late_ms) * 0.99)], "max": late_ms[-1]},
        "answer_ms": {"p50": median(seen.answer_ms), "p99": sorted(seen.answer_ms)[int(len(seen.answer_ms) * 0.99)]},
        "api_rss": {"before": before, "max": max(rss), "after": stack.api_rss()},
        "retry_after_s": {"median": median(seen.retry_after_s), "last": given_s, "until_eased_s": eased_s},
        "polite_tries": {"median": median(seen.polite_tries or [0]), "max": max(seen.polite_tries or [0])},
    }  # fmt: skip
    say(f"accepted {len(seen.accepted)}, refused {seen.refused}, Retry-After {given_s} s, eased after {eased_s:.1f} s")
    return figures


async def _offer(client: HttpClient, request: bytes, per_s: float, seconds: float, seen: Seen) -> None:
    """Send at a steady rate, whatever comes back."""
    tasks: set[asyncio.Task[None]] = set()
    started, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(int(elapsed * per_s) - sent):
            task = asyncio.create_task(_once(client, request, seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*tasks)


async def _once(client: HttpClient, request: bytes, seen: Seen) -> int:
    """Send one; returns the seconds to wait when it was refused, else 0."""
    sent = time.perf_counter()
    answer = await client.send(request)
    seen.answer_ms.append((time.perf_counter() - sent) * 1000)
    if answer.status == 202:
        seen.accepted.append(orjson.loads(answer.body)["id"])
    elif answer.status == 503:
        seen.refused += 1
        seen.retry_after_s.append(int(answer.header(b"retry-after")))
        return seen.retry_after_s[-1]
    else:
        seen.other[answer.status] = seen.other.get(answer.status, 0) + 1
    return 0


async def _polite(client: HttpClient, request: bytes, seen: Seen) -> None:
    """Be a client that comes again when it was told to, beside all the others that do not care."""
    for _ in range(POLITE_TRIES):
        tries = 1
        while wait_s := await _once(client, request, seen):
            await asyncio.sleep(wait_s)
            tries += 1
        seen.polite_tries.append(tries)
        await asyncio.sleep(1)


async def _watch(stack: StandInStack, rss: list[int]) -> None:
    while True:
        await asyncio.sleep(1)
        rss.append(stack.api_rss())


async def _all_ended(stack: StandInStack, ids: list[str]) -> list[JobRecord]:
    client = connect_async(stack.redis_url, NAMESPACE)
    producer = Producer(client, LIMITS)
    try:
        while True:
            found = [await producer.read_many(ids[start : start + 1000]) for start in range(0, len(ids), 1000)]
            records = [record for part in found for record in part if record is not None]
            if all(record.state.is_terminal for record in records):
                assert len(records) == len(ids), "an accepted job is lost"
                return records
            await asyncio.sleep(0.5)
    finally:
        await client.redis.aclose(close_connection_pool=True)
