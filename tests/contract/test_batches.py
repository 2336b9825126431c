"""Bulk batches on the asking side: the same cases in memory and on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ferry.bulk.batch_records import BatchRecord, BatchSpec, BatchStatus, Opened, Part, index_key
from ferry.bulk.batches import Batches, batch_id_of, new_batch_id
from ferry.bulk.files import Files, new_file_id
from ferry.bulk.steps import STOPPED, Held, Steps, indexed, worked
from ferry.bulk.storage import Storage
from ferry.errors import NotFoundError, QueueUnavailableError
from ferry.jobs import JobLimits
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from tests.fakes.memory_batches import MemoryBatches
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS, manifest
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

MOST = 4
ENDPOINT = "/v2/models/toy/infer"
NOTES = ("the file has no header", "größer")
ROWS, CHUNKS = 100, 10


class Desk:
    """What the cases do, whatever the batches are kept in; here in memory."""

    def __init__(self, storage: Storage) -> None:
        self.queue = MemoryQueue(LIMITS)
        self.files: Files | MemoryFiles = MemoryFiles(storage)
        self.batches: Batches | MemoryBatches = MemoryBatches(self.files, self.queue, max_open=MOST)

    async def register(self) -> None:
        await self.queue.register(manifest())

    def drain(self) -> None:
        self.queue.drain("toy", "1")

    def index(self, batch_id: str) -> None:
        """Check the batch's file, as a worker does."""
        assert isinstance(self.batches, MemoryBatches)
        now_us = self.queue.now_us
        status = BatchStatus.IN_PROGRESS
        self.batches.change(
            batch_id, status=status, total=ROWS, chunks=CHUNKS, in_progress_us=now_us, notes=NOTES, is_prepared=True,
        )  # fmt: skip

    def settle_chunk(self, batch_id: str, part: Part) -> None:
        """Settle the first chunk, as a worker does."""
        assert isinstance(self.batches, MemoryBatches)
        self.batches.parts.setdefault(batch_id, {})[0] = part

    async def forget(self, batch_id: str) -> None:
        """Let the time be over for which a batch is remembered."""
        assert isinstance(self.batches, MemoryBatches)
        del self.batches.records[batch_id]

    async def add_file(self, purpose: str = "batch", owner: str = "") -> str:
        file_id = await self.files.reserve()
        await self.files.create(file_id, size_bytes=3, filename="in.jsonl", purpose=purpose, owner=owner)
        return file_id

    async def spec(self, batch_id: str = "", file_id: str = "", **more: object) -> BatchSpec:
        """Return what is asked for, of a new file unless one is named."""
        return BatchSpec(
            batch_id or new_batch_id(), "toy", "1", ENDPOINT, file_id or await self.add_file(), 3600, "1h", **more
        )  # type: ignore[arg-type]

    async def opened(self) -> BatchRecord:
        """Open a batch; returns its record."""
        spec = await self.spec()
        assert await self.batches.open(spec) is Opened.ACCEPTED
        return await self.record(spec.id)

    async def record(self, batch_id: str) -> BatchRecord:
        record = await self.batches.get(batch_id)
        assert record is not None
        return record


class RedisDesk(Desk):
    """The same on a real Redis."""

    def __init__(self, url: str, storage: Storage) -> None:
        self.redis, self.direct = connect_async(url, NAMESPACE).redis, connect(url, NAMESPACE).redis
        self.files = Files(client_of(self.redis), storage, max_files=100, ttl_s=600)
        self.batches = Batches(client_of(self.redis), max_open=MOST, ttl_s=600)
        self.consumer = Consumer(client_of(self.direct), worker="w1", lease_s=5)
        self.steps = Steps(client_of(self.direct))

    async def register(self) -> None:
        await Producer(client_of(self.redis), LIMITS).register(manifest())

    def drain(self) -> None:
        Admin(client_of(self.direct)).drain("toy", "1")

    def claim(self) -> Held:
        """Take the step that waits, as a worker does."""
        claim = self.consumer.claim("toy", "1", max_rows=8)
        (job,) = claim.jobs
        return Held(claim.token, job.id, "toy", "1", job.attempt)

    def index(self, batch_id: str) -> None:
        held = self.claim()
        assert held.id == f"{batch_id}/index"
        outcome = indexed(
            rows=ROWS, chunks=CHUNKS, width=40, format_name="jsonl", output_format="jsonl",
            notes=NOTES, is_prepared=True,
        )  # fmt: skip
        assert self.steps.settle(held, outcome)

    def settle_chunk(self, batch_id: str, part: Part) -> None:
        held = self.claim()
        assert held.id == f"{batch_id}/0"
        assert self.steps.settle(held, worked(0, part))

    async def forget(self, batch_id: str) -> None:
        await self.redis.delete(KEYS.batch + batch_id)


@asynccontextmanager
async def on_redis(url: str, storage: Storage) -> AsyncIterator[RedisDesk]:
    desk = RedisDesk(url, storage)
    await desk.register()
    yield desk
    desk.direct.close()
    await desk.redis.aclose(close_connection_pool=True)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "files"))


@pytest.fixture
async def redis_desk(redis_url: str, storage: Storage, anyio_backend: str) -> AsyncIterator[RedisDesk]:
    async with on_redis(redis_url, storage) as desk:
        yield desk


@pytest.fixture(params=["memory", "redis"])
async def desk(request: pytest.FixtureRequest, storage: Storage, anyio_backend: str) -> AsyncIterator[Desk]:
    if request.param == "redis":
        async with on_redis(request.getfixturevalue("redis_url"), storage) as desk:
            yield desk
        return
    in_memory = Desk(storage)
    await in_memory.register()
    yield in_memory


async def test_open_when_all_is_right_then_known_with_all_that_was_said(desk: Desk) -> None:
    file_id = await desk.add_file()
    spec = await desk.spec(file_id=file_id, metadata={"Füße": "1"}, output_ttl_s=7200.0)
    assert await desk.batches.open(spec) is Opened.ACCEPTED
    record = await desk.record(spec.id)
    assert record == BatchRecord(
        spec.id, BatchStatus.VALIDATING, "toy", "1", ENDPOINT, file_id, "in.jsonl", 3, "1h", {"Füße": "1"},
        record.created_us, record.created_us + 3_600_000_000, output_ttl_s=7200,
    )  # fmt: skip
    assert (record.rows_done, record.eta_s, record.ended_us) == (0, None, None)


async def test_open_when_the_same_comes_again_then_it_exists_and_another_thing_differs(desk: Desk) -> None:
    file_id, batch_id = await desk.add_file(), batch_id_of("a key")
    spec = await desk.spec(batch_id, file_id, fingerprint="one")
    assert await desk.batches.open(spec) is Opened.ACCEPTED
    assert await desk.batches.open(spec) is Opened.EXISTS
    await desk.files.delete(file_id)
    assert await desk.batches.open(spec) is Opened.EXISTS
    assert await desk.batches.open(await desk.spec(batch_id, fingerprint="two")) is Opened.DIFFERS
    assert [each.id for each in (await desk.batches.list_page())[0]] == [batch_id]
    assert (await desk.record(batch_id)).input_file_id == file_id


async def test_open_when_the_same_is_sent_at_once_then_one_batch(desk: Desk) -> None:
    spec = await desk.spec()
    verdicts = await asyncio.gather(*(desk.batches.open(spec) for _ in range(5)))
    assert sorted(verdicts) == [Opened.ACCEPTED] + [Opened.EXISTS] * 4


async def test_open_when_the_file_is_unknown_or_not_whole_then_no_file(desk: Desk) -> None:
    for file_id in (new_file_id(), "nothing", await desk.files.reserve()):
        assert await desk.batches.open(await desk.spec(file_id=file_id)) is Opened.NO_FILE
    assert await desk.batches.list_page() == ([], False)


async def test_open_when_the_file_is_an_output_then_the_wrong_purpose(desk: Desk) -> None:
    file_id = await desk.add_file("batch_output")
    assert await desk.batches.open(await desk.spec(file_id=file_id)) is Opened.WRONG_PURPOSE


async def test_open_when_the_model_is_not_registered_then_said_and_nothing_is_kept(desk: Desk) -> None:
    spec = await desk.spec()
    stranger = BatchSpec(spec.id, "stranger", "1", ENDPOINT, spec.input_file_id, 3600, "1h")
    assert await desk.batches.open(stranger) is Opened.UNREGISTERED
    assert await desk.batches.get(spec.id) is None
    assert await desk.batches.open(spec) is Opened.ACCEPTED


async def test_open_when_the_queue_is_drained_then_draining_but_what_is_known_exists(desk: Desk) -> None:
    spec = await desk.spec()
    await desk.batches.open(spec)
    desk.drain()
    assert await desk.batches.open(await desk.spec()) is Opened.DRAINING
    assert await desk.batches.open(spec) is Opened.EXISTS


async def test_open_when_as_many_are_under_way_as_may_be_then_full_until_one_ends(desk: Desk) -> None:
    records = [await desk.opened() for _ in range(MOST)]
    assert await desk.batches.open(await desk.spec()) is Opened.FULL
    assert await desk.batches.cancel(records[0].id)
    assert await desk.batches.open(await desk.spec()) is Opened.ACCEPTED
    assert await desk.batches.open(await desk.spec()) is Opened.FULL


@pytest.mark.parametrize("batch_id", ["", "batch_", "batch_" + "x" * 65, "batch_ä", "batch_a/b", "x", "batch_x"])
async def test_get_and_cancel_when_there_is_none_then_none(desk: Desk, batch_id: str) -> None:
    assert await desk.batches.get(batch_id) is None
    assert await desk.batches.cancel(batch_id) is None


async def test_progress_when_a_chunk_is_settled_then_what_it_left_beside_the_batch(desk: Desk) -> None:
    batch = await desk.opened()
    desk.index(batch.id)
    assert (await desk.batches.progress(batch.id, 0, 2))[1] == [None, None]
    part = Part("t", 9, 1, 70, 8, 9)
    desk.settle_chunk(batch.id, part)
    record, parts = await desk.batches.progress(batch.id, 0, 3)
    assert record is not None
    assert (record.id, record.status, parts) == (batch.id, BatchStatus.IN_PROGRESS, [part, None, None])
    assert (await desk.batches.progress(batch.id, 1, 2))[1] == [None, None]


@pytest.mark.parametrize("batch_id", [new_batch_id(), "batch_", "no id"])
async def test_progress_when_there_is_no_batch_then_none(desk: Desk, batch_id: str) -> None:
    assert (await desk.batches.progress(batch_id, 0, 2))[0] is None


async def test_list_page_when_there_are_many_then_every_one_once_the_newest_first(desk: Desk) -> None:
    ids = [(await desk.opened()).id for _ in range(MOST)][::-1]
    for limit in range(1, MOST + 1):
        seen: list[str] = []
        has_more = True
        while has_more:
            page, has_more = await desk.batches.list_page(after=seen[-1] if seen else None, limit=limit)
            assert 0 < len(page) <= limit
            seen += [record.id for record in page]
        assert seen == ids


async def test_list_page_when_it_goes_on_after_nothing_then_not_found(desk: Desk) -> None:
    batch_id = new_batch_id()
    with pytest.raises(NotFoundError, match=f"no batch '{batch_id}' to go on after"):
        await desk.batches.list_page(after=batch_id)


@pytest.mark.parametrize("forgotten", [[0], [3], [1, 2], [0, 1, 2], [1, 2, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("limit", [1, 2, 20])
async def test_list_page_when_some_are_forgotten_then_the_others_fill_the_pages(
    desk: Desk, forgotten: list[int], limit: int
) -> None:
    ids = [(await desk.opened()).id for _ in range(MOST)]
    for number in forgotten:
        await desk.forget(ids[number])
    kept = [each for number, each in enumerate(ids) if number not in forgotten][::-1]
    page, has_more = await desk.batches.list_page(limit=limit)
    assert ([record.id for record in page], has_more) == (kept[:limit], len(kept) > limit)
    if page and has_more:
        page, _ = await desk.batches.list_page(after=page[-1].id, limit=MOST)
        assert [record.id for record in page] == kept[limit:]


async def test_list_page_when_a_batch_is_forgotten_then_its_id_leaves_redis(redis_desk: RedisDesk) -> None:
    forgotten, kept = await redis_desk.opened(), await redis_desk.opened()
    await redis_desk.forget(forgotten.id)
    await redis_desk.batches.list_page()
    assert await redis_desk.redis.zrange(KEYS.batches, 0, -1) == [kept.id.encode()]


async def test_cancel_when_nobody_looked_at_the_file_then_cancelled_at_once_and_once(desk: Desk) -> None:
    batch_id = (await desk.opened()).id
    assert await desk.batches.cancel(batch_id) is True
    record = await desk.record(batch_id)
    assert (record.status, record.total, record.ended_us) == (BatchStatus.CANCELLED, None, record.cancelled_us)
    assert record.cancelling_us is not None
    assert await desk.batches.cancel(batch_id) is False
    assert await desk.record(batch_id) == record


async def test_cancel_when_it_runs_then_cancelling_and_only_once(desk: Desk) -> None:
    batch_id = (await desk.opened()).id
    desk.index(batch_id)
    assert (await desk.record(batch_id)).status is BatchStatus.IN_PROGRESS
    assert await desk.batches.cancel(batch_id) is True
    record = await desk.record(batch_id)
    assert (record.status, record.ending, record.total) == (BatchStatus.CANCELLING, BatchStatus.CANCELLED, ROWS)
    assert (record.notes, record.is_prepared) == (NOTES, True)
    assert await desk.batches.cancel(batch_id) is False


async def test_cancel_when_nobody_looked_at_the_file_then_no_step_is_left_and_a_sweep_deletes_the_folder(
    redis_desk: RedisDesk,
) -> None:
    batch_id = (await redis_desk.opened()).id
    with redis_desk.files.storage.create(index_key(batch_id)) as upload:
        upload.write(b"abc")
    await redis_desk.batches.cancel(batch_id)
    assert await redis_desk.redis.keys(f"{KEYS.job}{batch_id}*") == []
    assert await redis_desk.redis.keys(f"{KEYS.batch_open}*") == []
    assert await redis_desk.redis.zcard(KEYS.batch_ends) == 0
    assert not redis_desk.consumer.claim("toy", "1", max_rows=8).jobs
    assert await redis_desk.redis.ttl(KEYS.batch + batch_id) in (599, 600)
    assert isinstance(redis_desk.files, Files)
    assert await redis_desk.files.sweep() == 0
    await redis_desk.redis.zadd(KEYS.file_ends, {batch_id: 1})  # parts that come late have come
    assert await redis_desk.files.sweep() == 1
    assert redis_desk.files.storage.list_folder("batches") == {}


async def test_cancel_when_a_worker_looks_at_the_file_then_it_ends_when_that_one_leaves(redis_desk: RedisDesk) -> None:
    batch_id = (await redis_desk.opened()).id
    held = redis_desk.claim()
    assert await redis_desk.batches.cancel(batch_id) is True
    assert (await redis_desk.record(batch_id)).status is BatchStatus.CANCELLING
    assert redis_desk.steps.settle(held, STOPPED)
    assert (await redis_desk.record(batch_id)).status is BatchStatus.CANCELLED


async def test_batches_when_redis_is_away_then_unavailable() -> None:
    redis = connect_async("redis://127.0.0.1:1/0", NAMESPACE).redis
    batches = Batches(client_of(redis), max_open=1, ttl_s=1)
    spec = BatchSpec(new_batch_id(), "toy", "1", ENDPOINT, new_file_id(), 3600, "1h")
    for asking in (batches.open(spec), batches.get(spec.id), batches.list_page(), batches.cancel(spec.id)):
        with pytest.raises(QueueUnavailableError):
            await asking
    await redis.aclose(close_connection_pool=True)


async def test_list_page_when_an_owner_is_asked_for_then_only_its_batches(desk: Desk) -> None:
    ann, bob = await desk.spec(owner="ann"), await desk.spec(owner="bob")
    anybody = await desk.spec()
    for spec in (ann, bob, anybody):
        assert await desk.batches.open(spec) is Opened.ACCEPTED
    assert [(await desk.record(spec.id)).owner for spec in (ann, bob, anybody)] == ["ann", "bob", ""]
    assert [each.id for each in (await desk.batches.list_page(owner="ann"))[0]] == [ann.id]
    assert (await desk.batches.list_page(owner="an")) == ([], False)
    assert len((await desk.batches.list_page())[0]) == 3
    with pytest.raises(NotFoundError):
        await desk.batches.list_page(owner="ann", after=bob.id)


async def test_open_when_its_key_is_over_its_limits_then_refused_and_another_key_not(desk: Desk) -> None:
    one_at_once, slow = JobLimits("k1", max_unfinished=1), JobLimits("k2", rate_per_s=0.01)
    for limits, refused in ((one_at_once, Opened.OVER_UNFINISHED), (slow, Opened.OVER_RATE)):
        assert await desk.batches.open(await desk.spec(limits=limits)) is Opened.ACCEPTED
        assert await desk.batches.open(await desk.spec(limits=limits)) is refused


async def test_open_when_the_file_is_anothers_then_answered_as_one_that_is_not_there(desk: Desk) -> None:
    anns, nobodys = await desk.add_file(owner="ann"), await desk.add_file()
    for file_id in (anns, nobodys, new_file_id()):
        assert await desk.batches.open(await desk.spec(file_id=file_id, files_by="bob")) is Opened.NO_FILE
    assert await desk.batches.list_page() == ([], False)
    for whose in ("ann", None):
        assert await desk.batches.open(await desk.spec(file_id=anns, files_by=whose)) is Opened.ACCEPTED


async def test_open_when_the_owners_file_is_gone_and_the_same_comes_again_then_it_exists(desk: Desk) -> None:
    file_id = await desk.add_file(owner="ann")
    spec = await desk.spec(batch_id_of("a key"), file_id, owner="ann", files_by="ann", fingerprint="one")
    assert await desk.batches.open(spec) is Opened.ACCEPTED
    await desk.files.delete(file_id)
    assert await desk.batches.open(spec) is Opened.EXISTS
