"""A Redis whose clock really jumps (clock_shim.c), beside a leader and a worker that go on."""

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferry.jobs import Outcome, State, Submission, new_job_id
from ferry.local.redis_server import RedisServer
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules, KeeperThread
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from tests.manifests import LIMITS, manifest
from tests.processes import GIVE_UP_S

pytestmark = pytest.mark.anyio

SHIM = Path(__file__).with_name("clock_shim.c")
N_JOBS = 20
LEASE_S = 2.0
AWAY_S = 1.5
DAY_S = 25 * 3600


class StepServer:
    """A Redis, and the file that moves its clock."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self.offset = folder / "offset"
        self.offset.write_bytes(bytes(8))
        shim, program = folder / "clock_shim.so", folder / "redis-server"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", shim, SHIM], check=True, timeout=60)
        program.write_text(
            f'#!/bin/sh\nFERRY_TEST_CLOCK={self.offset} LD_PRELOAD={shim} exec {shutil.which("redis-server")} "$@"\n'
        )
        program.chmod(0o700)
        self.server = RedisServer(folder / "data", folder / "redis.log", binary=program)

    def step(self, seconds: int) -> None:
        """Let the clock stand at `seconds` beside the true one. Redis maps the file, so it is written in place."""
        with self.offset.open("r+b", buffering=0) as file:
            file.write(seconds.to_bytes(8, "little", signed=True))


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[StepServer]:
    compiler = shutil.which("cc")
    if compiler is None or shutil.which("redis-server") is None:
        pytest.skip("needs a C compiler and redis-server")
    stepped = StepServer(tmp_path, compiler)
    stepped.server.start()
    yield stepped
    stepped.server.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + GIVE_UP_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("seconds", [DAY_S, -DAY_S])
async def test_clock_when_it_jumps_and_comes_back_then_every_waiting_and_running_job_is_answered(
    stepped: StepServer, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(stepped.server.url, NAMESPACE)
    loop_client = connect_async(stepped.server.url, NAMESPACE)
    producer, worker = Producer(loop_client, LIMITS), Consumer(client, worker="w1", lease_s=LEASE_S)
    keeper = KeeperThread(Keeper(client, KeeperRules(lease_s=LEASE_S, max_attempts=1)))
    stopped = threading.Event()
    held: list[str] = []

    def renew() -> None:
        while not stopped.wait(LEASE_S / 8):
            worker.renew(held)
            worker.beat({("toy", "1"): ""})

    renewing = threading.Thread(target=renew)
    try:
        await producer.register(manifest())
        worker.beat({("toy", "1"): ""})
        keeper.start()
        wait_until(lambda: client.redis.exists(client.keys.clock) == 1)
        jobs = [Submission(new_job_id(), "toy", "1", 1, b"in") for _ in range(N_JOBS)]
        await producer.submit(jobs)
        claim = worker.claim("toy", "1", max_rows=4)
        held.append(claim.token)
        renewing.start()
        stepped.step(seconds)
        await asyncio.sleep(AWAY_S)
        during = await producer.read_many([job.id for job in jobs])
        stepped.step(0)
        await asyncio.sleep(AWAY_S)
        assert {record.state for record in during if record} == {State.QUEUED, State.RUNNING}
        answered = 0
        while claim.jobs:
            outcomes = [
                Outcome(job.id, "t.1", 1, 1, 1, job.attempt, job.started_us, output=b"out") for job in claim.jobs
            ]
            answered += worker.settle(claim, "toy", "1", outcomes, is_last=True)
            claim = worker.claim("toy", "1", max_rows=4)
        assert answered == N_JOBS
        assert sum(1 for record in caplog.records if record.message.startswith("clock_step")) == 2
    finally:
        stopped.set()
        keeper.stop()
        for thread in (keeper, renewing):
            if thread.is_alive():
                thread.join(GIVE_UP_S)
        client.redis.close()
        await loop_client.redis.aclose(close_connection_pool=True)
