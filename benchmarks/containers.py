"""`python -m benchmarks.containers`: the stack of docker-compose.yml as more workers join, and beside a flood.

Needs a Docker engine. Builds the images, runs two stacks one after the other, and puts the figures into the day's file.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import orjson

from benchmarks import machine
from benchmarks.fleet import CHUNK, KEY, LIMITS
from benchmarks.http_client import HttpClient
from benchmarks.places import RESULTS
from benchmarks.queue_keys import KEYS
from benchmarks.stand_in_model import MAX_ROWS, NAME, VERSION, write_repository
from ferry.jobs import Submission, new_job_id
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.keys import LIVE_MS
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from ferry.tensors import TensorCodec
from tests.compose.stack import ComposeStack, docker, eventually, why_not

WORKERS = (1, 2, 4)
DEVICE_PER_S = MAX_ROWS / 0.02  # as compose.stand-in.yml sets it
REPEATS = 3
WINDOW_S = 5.0
SETTLE_S = 1.0  # all are at work by then

FLOOD_CONNECTIONS = 32
FLOOD_RATE_PER_S = 50
NEIGHBOUR_PER_S = 50
LEAD_S, SPELL_S = 2.0, 10.0


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def measure_scale(stack: ComposeStack, models: Path) -> dict[str, Any]:
    """Return jobs/s by number of worker containers: medians of alternated repeats."""
    manifest = write_repository(models)
    payload = TensorCodec(manifest.inputs).pack([np.zeros((1, 1), np.float32)])
    rates: dict[int, list[float]] = {n: [] for n in WORKERS}
    queue = connect(stack.redis_url(), NAMESPACE)
    redis, admin = queue.redis, Admin(queue)

    def live() -> int:
        seconds, micros = redis.time()
        return int(redis.zcount(KEYS.live + KEY, seconds * 1000 + micros // 1000 - LIVE_MS, "+inf"))  # type: ignore[arg-type]

    def settled() -> int:
        return int(redis.hget(KEYS.counts + KEY, "succeeded") or 0)  # type: ignore[arg-type]

    for _ in range(REPEATS):
        for n_workers in WORKERS:
            stack.up(workers=n_workers)
            eventually(lambda n=n_workers: live() == n, f"{n_workers} workers serve")  # type: ignore[misc]
            asyncio.run(_submit(stack.redis_url(), payload, int(n_workers * DEVICE_PER_S * (SETTLE_S + WINDOW_S + 3))))
            time.sleep(SETTLE_S)
            before, started = settled(), time.perf_counter()
            time.sleep(WINDOW_S)
            rates[n_workers].append((settled() - before) / (time.perf_counter() - started))
            if not admin.purge(NAME, VERSION):
                raise RuntimeError("the backlog ran out")
            say(f"{n_workers} worker containers: {rates[n_workers][-1]:,.0f} jobs/s of {n_workers * DEVICE_PER_S:,.0f}")
    redis.close()
    return {
        "device_jobs_per_s": DEVICE_PER_S,
        "jobs_per_s": {str(n): round(median(found), 1) for n, found in rates.items()},
        "runs": {str(n): [round(each, 1) for each in found] for n, found in rates.items()},
    }


async def _submit(url: str, payload: bytes, n_jobs: int) -> None:
    client = connect_async(url, NAMESPACE)
    producer = Producer(client, LIMITS)
    try:
        for start in range(0, n_jobs, CHUNK):
            n = min(CHUNK, n_jobs - start)
            await producer.submit([Submission(new_job_id(), NAME, VERSION, 1, payload) for _ in range(n)])
    finally:
        await client.redis.aclose(close_connection_pool=True)


def measure_flood(stack: ComposeStack) -> dict[str, Any]:
    """Return a key's p99 alone, beside another that keeps to its rate, and beside that one minding no 429."""
    limited = stack.make_key("flood", "--rate", str(FLOOD_RATE_PER_S), "--unfinished", "100")
    neighbour = stack.make_key("neighbour")
    spells: dict[str, list[dict[str, Any]]] = {"alone": [], "polite": [], "flooded": []}
    for _ in range(REPEATS):
        for name, found in spells.items():
            spell = asyncio.run(_spell(stack.url, neighbour, limited, name))
            found.append(spell)
            say(f"other key {name}: p50 {spell['p50_ms']} ms, p99 {spell['p99_ms']} ms; it got {spell['flood']}")
    return {
        "p99_ms": {name: median(spell["p99_ms"] for spell in found) for name, found in spells.items()},
        "p50_ms": {name: median(spell["p50_ms"] for spell in found) for name, found in spells.items()},
        "spells": spells,
    }


async def _spell(url: str, neighbour: str, limited: str, other: str) -> dict[str, Any]:
    client, flood = HttpClient(url), HttpClient(url)
    body = orjson.dumps({"version": "mnist", "input": {"x": [[0.5] * 28] * 28}})

    def request(key: str, *more: tuple[str, str]) -> bytes:
        headers = (("Content-Type", "application/json"), ("Authorization", f"Bearer {key}"), *more)
        return client.request("POST", "/v1/predictions", body, headers)

    seen: Counter[int] = Counter()
    until = time.perf_counter() + LEAD_S + SPELL_S

    async def pour() -> None:
        while time.perf_counter() < until:
            seen[(await flood.send(request(limited))).status] += 1

    took_ms: list[float] = []

    async def ask() -> None:
        started = time.perf_counter()
        answer = await client.send(request(neighbour, ("Prefer", "wait")))
        if answer.status != 201:
            raise RuntimeError(f"the neighbour was answered {answer.status}: {answer.body[:300]!r}")
        took_ms.append((time.perf_counter() - started) * 1000)

    async def keep_to_rate() -> None:
        due = time.perf_counter()
        while time.perf_counter() < until:
            seen[(await flood.send(request(limited))).status] += 1
            due += 1.05 / FLOOD_RATE_PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    senders = {"alone": [], "polite": [keep_to_rate], "flooded": [pour] * FLOOD_CONNECTIONS}
    pouring = [asyncio.create_task(send()) for send in senders[other]]
    # The second's worth that a key may send at once is over before the neighbour is looked at.
    await asyncio.sleep(LEAD_S)
    asked = []
    due = time.perf_counter()
    while time.perf_counter() < until:
        asked.append(asyncio.create_task(ask()))
        due += 1 / NEIGHBOUR_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*asked, *pouring)
    cuts = quantiles(took_ms, n=100)
    return {
        "n": len(took_ms), "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1),
        "flood": {str(status): number for status, number in sorted(seen.items())},
    }  # fmt: skip


def _images() -> dict[str, Any]:
    found = {}
    for image in ("ferry/api:local", "ferry/worker:local", "python:3.12-slim-bookworm"):
        found[image] = int(json.loads(docker("inspect", image))[0]["Size"])
    return found


def main(names: Sequence[str] = ()) -> int:
    """Measure all (or `scale`, `flood`), print, and put what was measured into the day's file."""
    if reason := why_not():
        print(f"no measurement: {reason}", file=sys.stderr)
        return 1
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-containers.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = machine.describe()
    folder = Path(tempfile.mkdtemp(prefix="ferry-containers-"))
    folder.chmod(0o755)  # the container's user reads the model there
    files = ("docker-compose.yml", "benchmarks/compose.stand-in.yml")

    def run(name: str, stack: ComposeStack, measure: Callable[[ComposeStack], dict[str, Any]]) -> None:
        if names and name not in names:
            return
        say(name)
        try:
            stack.build()
            stack.up()
            report[name] = measure(stack)
        finally:
            stack.down()

    try:
        write_repository(folder)
        scaled = ComposeStack("ferryscale", {"STAND_IN_MODELS": str(folder)}, files)
        run("scale", scaled, lambda stack: measure_scale(stack, folder))
        run("flood", ComposeStack("ferryflood"), measure_flood)
        report["image_bytes"] = _images()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: figures for name, figures in report.items() if name != "machine"}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
