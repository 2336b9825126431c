"""High-priority jobs beside a backlog: `python -m benchmarks.priority`, or `make bench-priority`.

One worker. First high-priority jobs of one row each come at a fixed rate to an idle queue; then the same rate meets a
backlog of tiny jobs of the normal class. Latency counts from the intended time (open loop). The drain rate counts the
settled jobs of the backlog, so it is measured beside the high-priority jobs. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import redis
import uvloop

from benchmarks.digits import digits, rows
from benchmarks.ferry_system import PATH, WAITING, body, stack
from benchmarks.http_client import HttpClient
from benchmarks.places import MODEL as MODEL_FILE
from benchmarks.places import WORK
from benchmarks.processes import cpu_by_part
from ferry.jobs import JobClass, Submission, Verdict, new_job_id
from ferry.local.data_dir import RunInfo
from ferry.manifest import read_manifest
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.producer import Limits, Producer
from ferry.tensors import TensorCodec

MODEL, VERSION = "mnist", "1"
BACKLOG = 200_000
A_GROUP = 256
EVERY_S = 0.025
IDLE_S = 8.0
WARM_UP = 40
NO_LIMIT = 10**9
HIGH = (*WAITING, ("Priority", "u=0"))


def _payload() -> bytes:
    """Return the input of one blank digit."""
    manifest = read_manifest(MODEL_FILE.parent)
    return TensorCodec(manifest.inputs).pack([rows(1) * 0])


async def _load(info: RunInfo, n_jobs: int) -> None:
    """Submit the backlog: jobs of one row whose input packs well, as a client with small inputs sends."""
    limits = Limits(NO_LIMIT, 10**12, NO_LIMIT, 10**12, deadline_s=3600, result_ttl_s=60)
    client = connect_async(info.redis_url, info.namespace)
    producer, payload = Producer(client, limits), _payload()
    for start in range(0, n_jobs, A_GROUP):
        size = min(A_GROUP, n_jobs - start)
        receipts = await producer.submit(
            [Submission(new_job_id(), MODEL, VERSION, 1, payload, job_class=JobClass.NORMAL) for _ in range(size)]
        )
        if refused := {receipt.verdict for receipt in receipts} - {Verdict.ACCEPTED}:
            raise RuntimeError(f"the queue refused jobs of the backlog: {refused}")
    await client.redis.aclose()


async def _latencies_ms(client: HttpClient, request: bytes, goes_on: Callable[[int], bool]) -> list[float]:
    """Send the request at a fixed rate while `goes_on(number sent)`; returns each latency from its intended time."""
    loop = asyncio.get_running_loop()
    found: list[float] = []

    async def one(intended_s: float) -> None:
        answer = await client.send(request)
        if answer.status not in (200, 201) or b'"succeeded"' not in answer.body:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
        found.append((loop.time() - intended_s) * 1000)

    started_s, sent = loop.time(), 0
    async with asyncio.TaskGroup() as group:
        while goes_on(sent):
            intended_s = started_s + sent * EVERY_S
            await asyncio.sleep(max(0.0, intended_s - loop.time()))
            group.create_task(one(intended_s))
            sent += 1
    return found


def _summary(latencies_ms: list[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(latencies_ms, n=100, method="inclusive")
    return {
        "jobs": len(latencies_ms), "p50_ms": round(hundredths[49], 2), "p99_ms": round(hundredths[98], 2),
        "max_ms": round(max(latencies_ms), 2),
    }  # fmt: skip


async def _measure(info: RunInfo, n_jobs: int) -> dict[str, Any]:
    http = HttpClient(info.api_url)
    ((pixels, _),) = digits(1)
    request = http.request("POST", PATH, orjson.dumps(body(pixels)), HIGH)
    await _latencies_ms(http, request, lambda sent: sent < WARM_UP)
    idle = await _latencies_ms(http, request, lambda sent: sent * EVERY_S < IDLE_S)

    client = connect(info.redis_url, info.namespace)
    admin = Admin(client)
    admin.pause(MODEL, VERSION)
    await _load(info, n_jobs)
    counts, waiting = client.keys.counts + f"{MODEL}:{VERSION}", f"{client.keys.waiting}{MODEL}:{VERSION}:normal"
    before, cpu = int(client.redis.hget(counts, "succeeded") or 0), cpu_by_part(info.pid)
    admin.resume(MODEL, VERSION)
    started_s = time.monotonic()
    # One look in twenty is enough, and costs this process little.
    during = await _latencies_ms(http, request, lambda sent: sent % 20 > 0 or client.redis.xlen(waiting) > 0)
    wall_s, cpu_after = time.monotonic() - started_s, cpu_by_part(info.pid)
    done = int(client.redis.hget(counts, "succeeded") or 0) - before - len(during)
    http.close()
    return {
        "idle": _summary(idle), "during": _summary(during), "backlog": n_jobs, "done": done, "wall_s": round(wall_s, 2),
        "drain_per_s": round(done / wall_s),
        "cpu_us_a_job": {part: round((cpu_after.get(part, 0) - cpu[part]) / done * 1e6, 1) for part in cpu},
    }  # fmt: skip


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.priority", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=BACKLOG, help="jobs of the backlog")
    parser.add_argument("--setting", action="append", default=[], help="NAME=VALUE, a FERRY_ setting in lower case")
    arguments = parser.parse_args()
    settings = dict(each.split("=", 1) for each in arguments.setting)
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as folder, stack(Path(folder), **settings) as info:
        try:
            print(json.dumps(uvloop.run(_measure(info, arguments.jobs))), flush=True)
        except redis.RedisError as error:
            print(f"Redis: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
