"""Many reads at once on a real Redis: they share round trips, and a full pool refuses none."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ferry.bulk.batches import Batches, new_batch_id
from ferry.bulk.files import Files, new_file_id
from ferry.bulk.storage import storage_of
from ferry.jobs import new_job_id
from ferry.queue.connection import POOL_SIZE, LoopClient, connect, connect_async
from ferry.queue.key_book import KeyReader
from ferry.queue.producer import Producer, limits_of
from ferry.settings import NAMESPACE, Settings

pytestmark = pytest.mark.anyio

N_READS = 1_000


@pytest.fixture
async def client(redis_url: str, anyio_backend: str) -> AsyncIterator[LoopClient]:
    client = connect_async(redis_url, NAMESPACE)
    yield client
    await client.redis.aclose(close_connection_pool=True)


def reads_of(client: LoopClient, tmp_path: Path) -> dict[str, Callable[[], Awaitable[object]]]:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    producer = Producer(client, limits_of(settings))
    files = Files(client, storage_of(settings), max_files=9, ttl_s=60)
    batches, keys = Batches(client, max_open=9, ttl_s=60), KeyReader(client)
    return {
        "job": lambda: producer.read(new_job_id()),
        "list of jobs": lambda: producer.read_many([new_job_id() for _ in range(8)]),
        "file": lambda: files.get(new_file_id()),
        "batch": lambda: batches.get(new_batch_id()),
        "key": lambda: keys.find("0" * 12),
    }


@pytest.mark.parametrize(
    ("what", "most"), [("job", 20), ("list of jobs", 130), ("file", 10), ("batch", 20), ("key", 10)]
)
async def test_reads_when_a_thousand_come_at_once_then_few_round_trips_and_none_refused(
    client: LoopClient, tmp_path: Path, what: str, most: int
) -> None:
    pool, trips = client.redis.connection_pool, 0
    take = pool.get_connection

    async def counted(*args: object) -> object:
        nonlocal trips
        trips += 1
        return await take(*args)

    pool.get_connection = counted
    read = reads_of(client, tmp_path)[what]
    await asyncio.gather(*(read() for _ in range(N_READS)))
    assert 0 < trips <= most


async def test_commands_when_there_are_thirty_times_as_many_as_connections_then_none_refused(
    client: LoopClient, redis_url: str
) -> None:
    await asyncio.gather(*(client.redis.get("x") for _ in range(30 * POOL_SIZE)))
    direct = connect(redis_url, NAMESPACE).redis
    assert direct.info("clients")["connected_clients"] <= POOL_SIZE + 2
    direct.close()
