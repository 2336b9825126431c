"""W6: what the parts can do by themselves: the model, an HTTP route, a Celery round trip, Redis."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import redis

from benchmarks.digits import digits, rows
from benchmarks.ferry_system import body
from benchmarks.places import HOST, MODEL, ROOT, free_port
from benchmarks.plan import Plan
from benchmarks.processes import running
from benchmarks.system import wait_until_answering
from benchmarks.turns import fresh_folder
from benchmarks.w1_waiting import Say
from benchmarks.wrk import Post, load
from ferry.local.redis_server import RedisServer

ROWS = (1, 8, 64, 512)
HTTP_CLIENTS = 64
PIPELINE = 64  # commands sent at once
ROW_BYTES = 28 * 28 * 4
ROUND_TRIPS = 500
REPLY_TIMEOUT_S = 10.0


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return every limit, each with its runs."""
    found: dict[str, Any] = {"session_run": {}, "http": [], "celery": {}, "redis": {}}
    for repeat in range(plan.other_repeats):
        for n_rows in ROWS:
            found["session_run"].setdefault(str(n_rows), []).append(_bare_runs(n_rows, plan.seconds / 2))
        found["http"].append(_empty_route(plan.seconds))
        for name, per_s in _redis_ceiling(plan.seconds / 2).items():
            found["redis"].setdefault(name, []).append(per_s)
        for name, options in {"defaults": {}, "no_ack_emulation": {"ack_emulation": False}}.items():
            found["celery"].setdefault(name, []).append(celery_round_trips(options))
        say(f"W6 repeat {repeat + 1}: {found['session_run']['64'][-1]:,.0f} rows/s bare")
    return found


def repeated(action: Callable[[], object], seconds: float) -> float:
    """Do something again and again; return how often a second."""
    action()
    count, started_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        action()
        count += 1
    return count / elapsed_s


def bare_session(path: str = str(MODEL)) -> onnxruntime.InferenceSession:
    """Return a session with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _bare_runs(n_rows: int, seconds: float) -> float:
    """Return rows/s of `session.run` in a loop, nothing else."""
    run = partial(bare_session().run, None, {"x": rows(n_rows)})
    return round(repeated(run, seconds) * n_rows, 1)


def _empty_route(seconds: float) -> dict[str, Any]:
    """Return what wrk sees of a FastAPI route that answers {} to the same POST."""
    folder, port = fresh_folder("empty_route"), free_port()
    command = [
        sys.executable, "-m", "uvicorn", "benchmarks.empty_route:app", f"--host={HOST}", f"--port={port}",
        "--no-access-log", "--log-level=warning",
    ]  # fmt: skip
    post = Post(f"http://{HOST}:{port}/", json.dumps(body(digits(1)[0][0])).encode())
    with running(command, log=folder / "empty.log", cwd=ROOT, env={}) as process:
        wait_until_answering(post, [process])
        load(post, clients=HTTP_CLIENTS, seconds=1, folder=folder)
        return load(post, clients=HTTP_CLIENTS, seconds=seconds, folder=folder).to_json()


def _redis_ceiling(seconds: float) -> dict[str, float]:
    """Return commands/s of the embedded Redis (AOF everysec), sent 64 at a time from one connection."""
    folder = fresh_folder("redis_ceiling")
    server = RedisServer(folder / "redis", folder / "redis.log")
    server.start()
    payload = np.zeros(ROW_BYTES, np.uint8).tobytes()
    try:
        with redis.Redis.from_url(server.url) as client:

            def pipeline(*command: object) -> None:
                with client.pipeline(transaction=False) as pipe:
                    for _ in range(PIPELINE):
                        pipe.execute_command(*command)
                    pipe.execute()

            commands: dict[str, tuple[object, ...]] = {
                "ping": ("PING",), "set_row": ("SET", "row", payload), "get_row": ("GET", "row"),
            }  # fmt: skip
            return {
                name: round(repeated(partial(pipeline, *each), seconds) * PIPELINE, 1)
                for name, each in commands.items()
            }
    finally:
        server.stop()


def celery_round_trips(options: dict[str, Any]) -> dict[str, float]:
    """Return the time from `apply_async` to the publish of an empty task, in ms, one at a time.

    Celery 5.7, solo pool, results ignored; `options` are broker transport options.
    """
    from benchmarks.empty_task import CHANNEL, make_app  # noqa: PLC0415 - Celery is slow to import

    folder = fresh_folder("celery_round_trip")
    server = RedisServer(folder / "redis", folder / "redis.log")
    server.start()
    env = {"BENCH_REDIS_URL": server.url, "BENCH_ACK_EMULATION": str(int(options.get("ack_emulation", True)))}
    command = [sys.executable, "-m", "benchmarks.empty_task"]
    try:
        with running(command, log=folder / "worker.log", cwd=ROOT, env=env), redis.Redis.from_url(server.url) as client:
            task = make_app(env).tasks["empty"]
            with client.pubsub(ignore_subscribe_messages=True) as heard:
                heard.subscribe(CHANNEL)
                heard.get_message(timeout=REPLY_TIMEOUT_S)
                times_ms = [_round_trip(task, heard) for _ in range(ROUND_TRIPS)][ROUND_TRIPS // 10 :]
    finally:
        server.stop()
    cuts = statistics.quantiles(times_ms, n=100)
    return {"p50_ms": round(cuts[49], 3), "p99_ms": round(cuts[98], 3)}


def _round_trip(task: Any, heard: Any) -> float:
    started_s = time.perf_counter()
    task.apply_async()
    deadline_s = time.monotonic() + REPLY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if heard.get_message(timeout=1.0):
            return (time.perf_counter() - started_s) * 1000
    raise TimeoutError("the empty task was not run")
