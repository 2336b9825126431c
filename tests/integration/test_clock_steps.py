"""A Redis whose clock really jumps (libfaketime), beside a leader and a worker that go on."""

import os
import shutil
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

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
N_JOBS = 20
LEASE_S = 2.0
AWAY_S = 1.5


class StepServer:
    """A Redis, and the file that moves its clock."""

    def __init__(self, folder: Path) -> None:
        self.offset = folder / "offset"
        self.step("+0")
        program = folder / "redis-server"
        program.write_text(
            "#!/bin/sh\n"
            f"FAKETIME_TIMESTAMP_FILE={self.offset} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 "
            f'LD_PRELOAD={LIBRARY} exec {shutil.which("redis-server")} "$@"\n'
        )
        program.chmod(0o700)
        self.server = RedisServer(folder / "data", folder / "redis.log", binary=program)

    def step(self, offset: str) -> None:
        """Set the clock by an offset of libfaketime, such as "+25h"; whole or not at all."""
        new = self.offset.with_suffix(".new")
        new.write_text(offset)
        os.replace(new, self.offset)


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[StepServer]:
    if not LIBRARY.exists() or shutil.which("redis-server") is None:
        pytest.skip("needs libfaketime and redis-server (apt-get install faketime redis-server)")
    stepped = StepServer(tmp_path)
    stepped.server.start()
    yield stepped
    stepped.server.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + GIVE_UP_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("offset", ["+25h", "-25h"])
async def test_clock_when_it_jumps_and_comes_back_then_every_waiting_and_running_job_is_answered(
    stepped: StepServer, offset: str, caplog: pytest.LogCaptureFixture
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
        stepped.step(offset)
        time.sleep(AWAY_S)
        during = await producer.read_many([job.id for job in jobs])
        stepped.step("+0")
        time.sleep(AWAY_S)
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
        await loop_client.redis.aclose()
