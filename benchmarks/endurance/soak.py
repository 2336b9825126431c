"""A day's traffic in fast motion: a million jobs with short lives. What is left, and does anything grow?"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.endurance.stand_in_stack import KEY, StandInStack, stand_in_stack
from benchmarks.queue_keys import KEYS
from benchmarks.stand_in_model import NAME
from benchmarks.wrk import Post, load

N_JOBS = 1_000_000
RESULT_TTL_S = 5
SEGMENT_S = 20
CLIENTS = 64
MOST_SEGMENTS = 60
EMPTY_TIMEOUT_S = 60.0


def measure(folder: Path, say: Callable[[str], None], *, n_jobs: int = N_JOBS) -> dict[str, Any]:
    """Return keys and bytes in Redis before, at the peak and after, and resident bytes of API and worker over time."""
    with stand_in_stack(folder, run_s=0.0, result_ttl_s=str(RESULT_TTL_S)) as stack:
        body = orjson.dumps({"version": NAME, "input": {"x": [[1.0]]}})
        headers = (("Content-Type", "application/json"), ("Prefer", "wait"))
        post = Post(f"{stack.api_url}/v1/predictions", body, headers)
        # Everything is loaded and every buffer has its size before the first look.
        load(post, clients=CLIENTS, seconds=SEGMENT_S, folder=folder / "wrk")
        before = _once_empty(stack)
        already, samples = _done(stack), [_sample(stack, 0)]
        while (done := _done(stack) - already) < n_jobs and len(samples) <= MOST_SEGMENTS:
            seen = load(post, clients=CLIENTS, seconds=SEGMENT_S, folder=folder / "wrk")
            samples.append(_sample(stack, _done(stack) - already) | {"errors": seen.errors, "per_s": seen.per_s})
            say(
                f"{samples[-1]['jobs']:,} jobs, {seen.per_s:,.0f}/s, {seen.errors} errors, {samples[-1]['keys']:,} keys"
            )
        after = _once_empty(stack)
    half = next(sample for sample in samples if sample["jobs"] >= samples[-1]["jobs"] / 2)
    return {
        "jobs": done, "result_ttl_s": RESULT_TTL_S, "before": before, "half": half, "after": after,
        "peak": {what: max(sample[what] for sample in samples) for what in ("keys", "used_memory")},
        "errors": sum(sample.get("errors", 0) for sample in samples), "samples": samples,
        "grew_in_second_half": {
            what: samples[-1][what] - half[what] for what in ("api_rss", "worker_rss")
        },
        "left": {what: after[what] - before[what] for what in ("keys", "used_memory")},
    }  # fmt: skip


def _done(stack: StandInStack) -> int:
    return int(stack.redis.hget(KEYS.counts + KEY, "succeeded") or 0)


def _sample(stack: StandInStack, jobs: int) -> dict[str, int]:
    return {
        "jobs": jobs, "keys": stack.redis.dbsize(), "used_memory": stack.used_memory(), "api_rss": stack.api_rss(),
        "worker_rss": stack.worker_rss(),
    }  # fmt: skip


def _once_empty(stack: StandInStack) -> dict[str, int]:
    """Return a sample once every job has expired."""
    give_up_s = time.monotonic() + EMPTY_TIMEOUT_S
    while time.monotonic() < give_up_s and any(True for _ in stack.redis.scan_iter(f"{KEYS.job}*", count=10_000)):
        time.sleep(0.5)
    time.sleep(RESULT_TTL_S)  # buffers of clients and of the AOF shrink within seconds
    return _sample(stack, _done(stack))
