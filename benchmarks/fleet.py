"""Stand-in workers on a Redis of their own, and jobs sent to them straight through the queue. Knows no HTTP."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import redis

from benchmarks.places import ROOT
from benchmarks.processes import Process, running
from benchmarks.queue_keys import KEYS
from benchmarks.stand_in_model import NAME, VERSION, write_repository
from ferry.jobs import Submission, new_job_id
from ferry.local.redis_server import RedisServer
from ferry.manifest import Manifest
from ferry.queue.connection import connect_async
from ferry.queue.keys import model_key
from ferry.queue.producer import Limits, Producer
from ferry.settings import NAMESPACE
from ferry.tensors import TensorCodec

READY_TIMEOUT_S = 120.0
POLL_S = 0.005
CHUNK = 500  # jobs in one submit
LIMITS = Limits(
    max_waiting_rows=10_000_000,
    max_waiting_bytes=2**30,
    max_rows_in_all=10_000_000,
    max_bytes_in_all=2**30,
    deadline_s=3600,
    result_ttl_s=600,
)
KEY = model_key(NAME, VERSION)


class Fleet:
    """The workers behind a gate, their Redis and the model's figures."""

    def __init__(self, url: str, manifest: Manifest, gate: Path, processes: list[Process], n_early: int) -> None:
        self.url = url
        self._manifest = manifest
        self._gate = gate
        self._processes = processes
        self._n_early = n_early
        self._redis = redis.Redis.from_url(url)

    def open_gate(self) -> None:
        """Wait until every worker has imported everything, then let them all start."""
        self.wait_at_gate()
        self._gate.touch()

    def wait_at_gate(self) -> None:
        """Return when every worker but the early ones has imported everything."""
        wanted = len(self._processes) - self._n_early
        self._wait(lambda: len(list(self._gate.parent.glob(f"{self._gate.name}.*"))) == wanted)

    def wait_until_live(self, n_workers: int | None = None) -> None:
        """Return when so many workers serve, by default every one."""
        self._wait(lambda: self._redis.zcard(KEYS.live + KEY) >= (n_workers or len(self._processes)))

    def wait_until_busy(self) -> float:
        """Return the seconds until every worker holds a claim."""
        began_s = time.perf_counter()
        self._wait(lambda: self._redis.zcard(KEYS.leases) >= len(self._processes))
        return time.perf_counter() - began_s

    def n_settled(self) -> int:
        """Return how many jobs have succeeded."""
        return int(self._redis.hget(KEYS.counts + KEY, "succeeded") or 0)

    def n_waiting(self) -> int:
        """Return how many rows wait."""
        return int(self._redis.hget(KEYS.backlog + KEY, "rows") or 0)

    async def submit(self, n_jobs: int) -> list[str]:
        """Put jobs of one row into the queue; returns their ids."""
        client = connect_async(self.url, NAMESPACE)
        producer, payload = Producer(client, LIMITS), _payload(self._manifest)
        ids = [new_job_id() for _ in range(n_jobs)]
        try:
            await producer.register(self._manifest)
            for start in range(0, n_jobs, CHUNK):
                await producer.submit(
                    [Submission(each, NAME, VERSION, 1, payload) for each in ids[start : start + CHUNK]]
                )
        finally:
            await client.redis.aclose(close_connection_pool=True)
        return ids

    def _wait(self, is_done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not is_done():
            for process in self._processes:
                process.check()
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{len(self._processes)} workers were not ready after {READY_TIMEOUT_S:g} s")
            time.sleep(POLL_S)


@contextmanager
def fleet(folder: Path, n_workers: int, *, run_s: float, n_early: int = 0) -> Iterator[Fleet]:
    """Run Redis and stand-in workers, which wait for the gate, all but `n_early`."""
    manifest = write_repository(folder / "models")
    server = RedisServer(folder / "redis", folder / "redis.log")
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        gate = folder / "gate"
        env = {
            "FERRY_REDIS_URL": server.url, "FERRY_MODELS_DIR": str(folder / "models"), "FERRY_LOG_LEVEL": "warning",
            "FERRY_DATA_DIR": str(folder), "STAND_IN_RUN_S": str(run_s),
        }  # fmt: skip
        gated = env | {"STAND_IN_GATE": str(gate)}
        command = [sys.executable, "-m", "benchmarks.stand_in_worker"]
        processes = [
            stack.enter_context(running(command, log=folder / f"worker-{number}.log", cwd=ROOT, env=each))
            for number, each in enumerate([env] * n_early + [gated] * (n_workers - n_early))
        ]
        yield Fleet(server.url, manifest, gate, processes, n_early)


def _payload(manifest: Manifest) -> bytes:
    return TensorCodec(manifest.inputs).pack([np.zeros((1, 1), np.float32)])
