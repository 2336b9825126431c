"""What jobs cost Redis and leave behind (I7, I8), counted on a real one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import numpy as np
import pytest
import redis
import redis.asyncio.connection

from ferry.jobs import Outcome, Submission, new_job_id
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Limits, Producer
from ferry.settings import NAMESPACE
from tests.fakes.sessions import FakeSession
from tests.manifests import manifest
from tests.namespaces import KEYS, client_of
from tests.processes import GIVE_UP_S
from worker.models import Model
from worker.tickets import TicketRunner

pytestmark = pytest.mark.anyio

MODEL = manifest("toy", max_rows=64)
BATCH = 64
PAYLOAD = np.random.default_rng(7).bytes(3136)
# Redis commands a job at full batches, those inside the scripts included.
MOST_COMMANDS = 9


class Cycle:
    """Submit, claim and settle on one Redis."""

    def __init__(self, url: str, result_ttl_s: float) -> None:
        self.redis = connect(url, NAMESPACE).redis
        self.async_redis = connect_async(url, NAMESPACE).redis
        limits = Limits(
            max_waiting_rows=10**6,
            max_waiting_bytes=2**31,
            max_rows_in_all=10**6,
            max_bytes_in_all=2**31,
            deadline_s=600,
            result_ttl_s=result_ttl_s,
        )
        self.producer = Producer(client_of(self.async_redis), limits)
        self.worker = Consumer(client_of(self.redis), worker="w1", lease_s=5)
        self.keeper = Keeper(client_of(self.redis), KeeperRules(lease_s=5, max_attempts=3))

    async def submit(self, n_jobs: int, payload: bytes = PAYLOAD) -> list[str]:
        jobs = [Submission(new_job_id(), "toy", "1", 1, payload) for _ in range(n_jobs)]
        for start in range(0, n_jobs, BATCH):
            await self.producer.submit(jobs[start : start + BATCH])
        return [job.id for job in jobs]

    def work(self, n_batches: int) -> int:
        done = 0
        for _ in range(n_batches):
            claim = self.worker.claim("toy", "1", max_rows=BATCH)
            outcomes = [
                Outcome(job.id, "t.1", BATCH, BATCH, 100, job.attempt, job.started_us, output=b"y" * 52)
                for job in claim.jobs
            ]
            done += self.worker.settle(claim, "toy", "1", outcomes, is_last=True) if claim.jobs else 0
        return done

    def take_tickets(self) -> int:
        return len(self.redis.lpop(f"{KEYS.tickets}toy:1", 1000) or [])

    async def close(self) -> None:
        self.redis.close()
        await self.async_redis.aclose(close_connection_pool=True)


@pytest.fixture
async def cycle(redis_url: str, result_ttl_s: float, anyio_backend: str) -> AsyncIterator[Cycle]:
    cycle = Cycle(redis_url, result_ttl_s)
    await cycle.producer.register(MODEL)
    # A rewrite of the AOF, due at 64 MB of whatever ran before, holds a block of 10 MB that counts as data.
    cycle.redis.config_set("auto-aof-rewrite-percentage", 0)
    yield cycle
    cycle.redis.config_set("auto-aof-rewrite-percentage", 100)
    await cycle.close()


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count what the clients of this process send: each is one wait for Redis."""
    sent: list[str] = []
    for kind in (redis.connection.Connection, redis.asyncio.connection.Connection):
        real = kind.send_packed_command

        def send(self, command, *args, _real=real, **options):
            sent.append(type(self).__module__)
            return _real(self, command, *args, **options)

        monkeypatch.setattr(kind, "send_packed_command", send)
    return sent


class NoLeases:
    """Nothing here runs long enough for a lease to end."""

    @contextmanager
    def holding(self, token: str) -> Iterator[None]:
        del token
        yield


@pytest.mark.parametrize("result_ttl_s", [600])
async def test_worker_when_batches_are_full_then_few_round_trips_messages_and_runs(
    cycle: Cycle, round_trips: list[str]
) -> None:
    session = FakeSession(lambda x: [x[:, :2]])
    model = Model(MODEL, session)
    payload = model.inputs.pack([np.zeros((1, 3), np.float32)])
    tickets = TicketRunner(cycle.worker, NoLeases(), lambda name, version: model, give_up_s=1)
    before_messages = cycle.redis.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"]
    await cycle.submit(1)  # both connections stand, all scripts are loaded
    tickets.serve("first", "toy", "1")
    round_trips.clear()
    session.feeds.clear()
    await cycle.submit(1000 - 1000 % BATCH, payload)
    n_tickets, done = 0, 0
    while done < 1000 - 1000 % BATCH:
        n_tickets += 1
        done += tickets.serve(f"t{n_tickets}", "toy", "1")["jobs"]
    messages = cycle.redis.info("commandstats")["cmdstat_lpush"]["calls"] - before_messages
    assert session.rows_a_run == [BATCH] * 15
    assert len(round_trips) <= 60, len(round_trips)  # 15 submits, and about one for each batch
    assert messages <= 20, messages


def commands_so_far(client: "redis.Redis") -> int:
    return sum(each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info")


@pytest.mark.parametrize("result_ttl_s", [0.05])
async def test_redis_when_all_jobs_have_expired_then_as_empty_as_before(cycle: Cycle) -> None:
    await cycle.submit(1)
    cycle.work(1)
    cycle.take_tickets()
    await _until_expired(cycle)
    before = keys_of_jobs(cycle)
    ids = await cycle.submit(300)
    await cycle.producer.cancel(ids[0])
    assert cycle.work(3) == 192
    cycle.redis.zadd(KEYS.deadlines, dict.fromkeys(ids, 1))
    cycle.keeper.expire()
    cycle.keeper.lapse()
    assert cycle.take_tickets() == 1
    await _until_expired(cycle)
    assert keys_of_jobs(cycle) == before


def keys_of_jobs(cycle: Cycle) -> list[bytes]:
    """Every key but those of no job: the leader's lock, the steps of the clock and the last look at Redis' memory."""
    of_no_job = {key.encode() for key in (KEYS.keeper, KEYS.clock, KEYS.memory)}
    return sorted(set(cycle.redis.keys(f"{KEYS.prefix}*")) - of_no_job)


async def _until_expired(cycle: Cycle) -> None:
    with anyio.fail_after(GIVE_UP_S):
        while cycle.redis.keys(f"{KEYS.job}*"):  # noqa: ASYNC110  Redis tells nobody of an expiry
            await anyio.sleep(0.02)


@pytest.mark.parametrize("result_ttl_s", [600])
async def test_redis_when_jobs_are_settled_then_few_bytes_a_job_are_kept(cycle: Cycle) -> None:
    await cycle.submit(64)
    cycle.work(1)
    before = cycle.redis.info("memory")["used_memory_dataset"]
    await cycle.submit(6400)
    assert cycle.work(100) == 6400
    kept = (cycle.redis.info("memory")["used_memory_dataset"] - before) / 6400
    assert kept <= 1000, kept


@pytest.mark.parametrize("result_ttl_s", [600])
async def test_redis_when_the_backlog_grows_a_thousandfold_then_work_per_job_stays(cycle: Cycle) -> None:
    cycle.worker.beat({("toy", "1"): ""})
    per_job, waiting = [], 0
    for backlog in (100, 1_000, 10_000, 100_000):
        await cycle.submit(backlog - waiting, payload=b"small")
        waiting = backlog
        cycle.take_tickets()
        before = commands_so_far(cycle.redis)
        await cycle.submit(10 * BATCH)
        assert cycle.work(10) == 10 * BATCH
        per_job.append((commands_so_far(cycle.redis) - before) / (10 * BATCH))
        assert cycle.take_tickets() == 1
    assert max(per_job) <= MOST_COMMANDS, per_job
    assert max(per_job) - min(per_job) <= 0.1, per_job


@pytest.mark.parametrize("result_ttl_s", [600])
@pytest.mark.parametrize(("n_models", "n_workers"), [(1, 1), (50, 1), (1, 50)])
async def test_redis_when_models_and_workers_are_many_then_work_per_job_stays(
    cycle: Cycle, n_models: int, n_workers: int
) -> None:
    others = [manifest(f"other{number}") for number in range(n_models - 1)]
    for number in range(n_workers):
        worker = Consumer(client_of(cycle.redis), worker=f"w{number}", lease_s=5)
        for other in others:
            worker.register(other)
        worker.beat(dict.fromkeys([("toy", "1"), *((other.name, "1") for other in others)], ""))
    before = commands_so_far(cycle.redis)
    await cycle.submit(10 * BATCH)
    assert cycle.work(10) == 10 * BATCH
    per_job = (commands_so_far(cycle.redis) - before) / (10 * BATCH)
    # Every worker may have a ticket of its own: one command for each of the ten batches that wait.
    assert per_job <= MOST_COMMANDS, per_job
    assert cycle.take_tickets() == min(10, n_workers)
