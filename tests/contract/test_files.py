"""Files by id: the same cases in memory and on a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ferry.bulk import files as module
from ferry.bulk.batch_records import FOLDER, index_key, part_key
from ferry.bulk.batches import new_batch_id
from ferry.bulk.files import FileRecord, Files, is_file_id, key_of, new_file_id
from ferry.bulk.storage import Storage
from ferry.errors import NotFoundError, StorageError
from ferry.queue.connection import connect, connect_async
from ferry.queue.keys import Keys
from ferry.settings import NAMESPACE
from tests.fakes.memory_files import MemoryFiles
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

MOST = 6
AnyFiles = Files | MemoryFiles


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "files"))


@pytest.fixture
async def redis(redis_url: str, anyio_backend: str) -> AsyncIterator[Redis]:
    client = connect_async(redis_url, NAMESPACE).redis
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture(params=["memory", "redis"])
async def files(request: pytest.FixtureRequest, storage: Storage, anyio_backend: str) -> AsyncIterator[AnyFiles]:
    if request.param == "memory":
        yield MemoryFiles(storage, max_files=MOST)
        return
    client = connect_async(request.getfixturevalue("redis_url"), NAMESPACE).redis
    yield Files(client_of(client), storage, max_files=MOST, ttl_s=600)
    await client.aclose(close_connection_pool=True)


async def add(
    files: AnyFiles,
    name: str = "in.jsonl",
    purpose: str = "batch",
    ttl_s: float | None = None,
    key: str = "",
    owner: str = "",
) -> FileRecord:
    file_id = await files.reserve()
    with files.storage.create(key_of(file_id)) as upload:
        upload.write(b"abc")
    return await files.create(
        file_id, size_bytes=3, filename=name, purpose=purpose, ttl_s=ttl_s, sha256="ba78", key=key, owner=owner
    )


async def test_create_when_reserved_then_known_with_all_that_was_said(files: AnyFiles) -> None:
    record = await add(files, "Füße 1.jsonl", ttl_s=3600)
    assert is_file_id(record.id)
    assert await files.get(record.id) == record
    assert (record.size_bytes, record.filename, record.purpose, record.sha256, record.status) == (
        3, "Füße 1.jsonl", "batch", "ba78", "processed",
    )  # fmt: skip
    assert record.expires_at - record.created_at in (3600, 3601)


async def test_create_when_no_time_is_said_then_that_of_the_settings(files: AnyFiles) -> None:
    record = await add(files)
    assert record.expires_at - record.created_at in (600, 601)


async def test_reserve_when_not_yet_created_then_nobody_is_shown_it(files: AnyFiles) -> None:
    file_id = await files.reserve()
    assert await files.get(file_id) is None
    assert await files.delete(file_id) is False
    assert await files.list_page() == ([], False)


async def test_reserve_when_there_are_as_many_as_may_be_then_a_storage_error_until_one_goes(files: AnyFiles) -> None:
    records = [await add(files) for _ in range(MOST - 1)]
    reserved = await files.reserve()
    with pytest.raises(StorageError, match="FERRY_MAX_FILES"):
        await files.reserve()
    await files.release(reserved)
    await add(files)
    await files.delete(records[0].id)
    await add(files)


async def test_release_when_bytes_were_written_then_they_go_and_it_can_be_created_no_more(files: AnyFiles) -> None:
    file_id = await files.reserve()
    with files.storage.create(key_of(file_id)) as upload:
        upload.write(b"abc")
    await files.release(file_id)
    assert files.storage.list_folder("files") == {}
    with pytest.raises(NotFoundError):
        await files.create(file_id, size_bytes=3, filename="x", purpose="batch")


async def test_create_when_a_file_was_made_under_the_key_then_that_one_until_it_is_deleted(files: AnyFiles) -> None:
    first = await add(files, "first", key="k")
    assert await add(files, "second", key="k") == first
    other = await add(files, "third", key="another")
    assert [each.id for each in (await files.list_page())[0]] == [other.id, first.id]
    await files.delete(first.id)
    last = await add(files, "fourth", key="k")
    assert last.filename == "fourth"
    assert await add(files, "fifth", key="k") == last


async def test_create_when_many_are_made_under_one_key_at_once_then_one_file(files: AnyFiles) -> None:
    records = await asyncio.gather(*(add(files, key="k") for _ in range(MOST)))
    assert len({record.id for record in records}) == 1
    assert len((await files.list_page())[0]) == 1


async def test_create_when_under_a_key_then_redis_remembers_it_as_long_as_the_file(
    redis: Redis, storage: Storage
) -> None:
    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    await add(files, key="k", ttl_s=3600)
    assert await redis.ttl(f"{KEYS.file_of_key}k") in (3599, 3600)


async def test_list_page_when_there_are_many_then_every_one_once_in_either_order(files: AnyFiles) -> None:
    ids = [(await add(files)).id for _ in range(5)]
    for is_ascending, expected in ((True, ids), (False, ids[::-1])):
        seen: list[str] = []
        has_more = True
        while has_more:
            page, has_more = await files.list_page(after=seen[-1] if seen else None, limit=2, is_ascending=is_ascending)
            seen += [record.id for record in page]
        assert seen == expected


async def test_list_page_when_it_takes_several_round_trips_then_as_in_one(
    redis: Redis, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    ids = [(await add(files)).id for _ in range(MOST)]
    monkeypatch.setattr(module, "READ_AT_ONCE", 2)
    for limit in range(1, MOST + 1):
        page, has_more = await files.list_page(limit=limit, is_ascending=True)
        assert ([record.id for record in page], has_more) == (ids[:limit], limit < MOST)


async def test_list_page_when_a_purpose_is_asked_for_then_only_those(files: AnyFiles) -> None:
    first, output, last = await add(files), await add(files, purpose="batch_output"), await add(files)
    page, has_more = await files.list_page(purpose="batch", limit=2)
    assert ([record.id for record in page], has_more) == ([last.id, first.id], False)
    assert [record.id for record in (await files.list_page(purpose="batch_output"))[0]] == [output.id]
    assert await files.list_page(purpose="assistants") == ([], False)


async def test_list_page_when_it_goes_on_after_nothing_then_not_found(files: AnyFiles) -> None:
    with pytest.raises(NotFoundError):
        await files.list_page(after=new_file_id())


async def test_delete_when_there_then_gone_with_its_bytes_and_only_once(files: AnyFiles) -> None:
    record, other = await add(files), await add(files)
    assert await files.delete(record.id)
    assert not await files.delete(record.id)
    assert await files.get(record.id) is None
    assert [each.id for each in (await files.list_page())[0]] == [other.id]
    assert list(files.storage.list_folder("files")) == [key_of(other.id)]


@pytest.mark.parametrize("file_id", ["", "file-", "file-" + "x" * 23, "file-" + "ä" * 24, "file-" + "x" * 25, "s"])
async def test_get_when_it_is_no_id_then_none(files: AnyFiles, file_id: str) -> None:
    assert await files.get(file_id) is None


async def end_now(redis: Redis, file_id: str) -> None:
    await redis.zadd(KEYS.file_ends, {file_id: 1})


async def test_sweep_when_the_time_is_over_then_file_bytes_and_every_key_are_gone(
    redis: Redis, storage: Storage
) -> None:
    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    over, kept = await add(files), await add(files)
    abandoned = await files.reserve()
    for file_id in (over.id, abandoned):
        await end_now(redis, file_id)
    assert await files.sweep() == 2
    assert await files.sweep() == 0
    assert await files.get(over.id) is None
    assert list(storage.list_folder("files")) == [key_of(kept.id)]
    with pytest.raises(NotFoundError, match="given up"):
        await files.create(abandoned, size_bytes=3, filename="x", purpose="batch")
    await files.delete(kept.id)
    assert await redis.keys(f"{KEYS.file}*") == []


async def test_sweep_when_two_do_it_at_once_then_each_is_gone_and_neither_fails(redis: Redis, storage: Storage) -> None:
    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    for _ in range(MOST):
        await end_now(redis, (await add(files)).id)
    await asyncio.gather(files.sweep(), Files(client_of(redis), storage, max_files=MOST, ttl_s=600).sweep())
    assert await redis.keys(f"{KEYS.file}*") == []
    assert storage.list_folder("files") == {}


async def test_delete_when_the_storage_is_away_then_gone_all_the_same_and_a_sweep_takes_the_bytes(
    redis: Redis, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(key: str) -> None:
        raise StorageError("away")

    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    record = await add(files)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", away)
        assert await files.delete(record.id)
        with pytest.raises(StorageError):
            await files.sweep()
    assert await files.get(record.id) is None
    assert await files.sweep() == 1
    assert storage.list_folder("files") == {}
    assert await redis.keys(f"{KEYS.file}*") == []


async def leave_folder(redis: Redis, storage: Storage) -> str:
    """Leave what a worker leaves that died after a batch's end; returns the batch's id."""
    batch_id = new_batch_id()
    for key in (index_key(batch_id), part_key(batch_id, 0, "token", "out")):
        with storage.create(key) as upload:
            upload.write(b"abc")
    await end_now(redis, batch_id)
    return batch_id


async def test_sweep_when_a_batch_left_its_folder_then_it_is_gone_and_the_files_stay(
    redis: Redis, storage: Storage
) -> None:
    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    kept = await add(files)
    batch_id = await leave_folder(redis, storage)
    assert [each.id for each in (await files.list_page())[0]] == [kept.id]
    assert await files.get(batch_id) is None
    assert await files.delete(batch_id) is False
    assert await files.sweep() == 1
    assert storage.list_folder(FOLDER.rstrip("/")) == {}
    assert list(storage.list_folder("files")) == [key_of(kept.id)]
    assert await redis.zrange(KEYS.file_ends, 0, -1) == [kept.id.encode()]
    assert await redis.keys(f"{KEYS.file}*") == [f"{KEYS.file}{kept.id}".encode()]


async def test_sweep_when_a_folder_cannot_be_deleted_then_the_next_one_does_it(
    redis: Redis, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(folder: str) -> None:
        raise StorageError("away")

    files = Files(client_of(redis), storage, max_files=MOST, ttl_s=600)
    await leave_folder(redis, storage)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_folder", away)
        with pytest.raises(StorageError):
            await files.sweep()
    assert await files.sweep() == 1
    assert storage.list_folder(FOLDER.rstrip("/")) == {}
    assert await redis.zcard(KEYS.file_ends) == 0


async def test_reserve_when_batches_left_folders_then_they_are_not_counted_as_files(
    redis: Redis, storage: Storage
) -> None:
    files = Files(client_of(redis), storage, max_files=1, ttl_s=600)
    for _ in range(3):
        await leave_folder(redis, storage)
    await add(files)
    with pytest.raises(StorageError, match="there are 1 files, the limit is 1"):
        await files.reserve()


async def test_sweep_forever_when_a_sweep_fails_then_it_goes_on(
    redis: Redis, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = asyncio.Event()
    fates = iter([StorageError("away"), ZeroDivisionError("a bug")])

    class Sweeping(Files):
        async def sweep(self) -> int:
            for fate in fates:
                raise fate
            swept.set()
            return 0

    monkeypatch.setattr(module, "SWEEP_EVERY_S", 0)
    task = asyncio.create_task(Sweeping(client_of(redis), storage, max_files=1, ttl_s=1).sweep_forever())
    await asyncio.wait_for(swept.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_list_page_when_an_owner_is_asked_for_then_only_its_files_of_any_or_one_purpose(files: AnyFiles) -> None:
    ann = [await add(files, owner="ann"), await add(files, owner="ann", purpose="batch_output")]
    bob = await add(files, owner="bob")
    nobody = await add(files)
    assert [record.owner for record in (*ann, bob, nobody)] == ["ann", "ann", "bob", ""]
    assert (await files.get(bob.id)) == bob

    async def ids(**asked: str | None) -> list[str]:
        return [record.id for record in (await files.list_page(is_ascending=True, **asked))[0]]

    assert await ids(owner="ann") == [record.id for record in ann]
    assert await ids(owner="ann", purpose="batch_output") == [ann[1].id]
    assert await ids(owner="an") == []
    assert await ids() == [record.id for record in (*ann, bob, nobody)]
    with pytest.raises(NotFoundError):
        await files.list_page(owner="ann", after=bob.id)


@pytest.mark.parametrize("end", ["delete", "sweep"])
async def test_delete_when_a_file_had_an_owner_then_no_key_is_left(redis: Redis, storage: Storage, end: str) -> None:
    files = Files(client_of(redis), storage, max_files=9, ttl_s=600)
    record = await add(files, owner="ann")
    if end == "delete":
        assert await files.delete(record.id)
    else:
        await end_now(redis, record.id)
        assert await files.sweep() == 1
    assert await redis.keys("*") == []


async def test_get_when_a_release_before_owners_stored_it_then_nobodys(redis: Redis, storage: Storage) -> None:
    files = Files(client_of(redis), storage, max_files=9, ttl_s=600)
    record = await add(files)
    await redis.hdel(KEYS.file + record.id, "owner")
    assert await files.get(record.id) == record
    assert await files.delete(record.id)


@pytest.mark.parametrize("limit", [1, 2, 9])
async def test_list_page_when_a_release_before_owners_buried_some_then_the_others_fill_the_pages(
    redis: Redis, storage: Storage, limit: int
) -> None:
    files = Files(client_of(redis), storage, max_files=9, ttl_s=600)
    ids = [(await add(files, owner="ann")).id for _ in range(5)]
    for file_id in (ids[0], ids[3], ids[4]):  # it knows nothing of the lists of owners
        await redis.delete(KEYS.file + file_id)
    for is_ascending, expected in ((False, [ids[2], ids[1]]), (True, [ids[1], ids[2]])):
        page, has_more = await files.list_page(owner="ann", limit=limit, is_ascending=is_ascending)
        assert ([record.id for record in page], has_more) == (expected[:limit], limit < 2)
    await files.list_page(owner="ann")
    assert await redis.zrange(f"{KEYS.files_by}ann", 0, -1) == [ids[1].encode(), ids[2].encode()]


async def test_sweep_when_the_file_is_created_in_that_moment_then_no_list_keeps_it(
    redis: Redis, redis_url: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(client_of(redis), storage, max_files=9, ttl_s=600)
    file_id = await files.reserve()
    await end_now(redis, file_id)
    real, made = module._lists_of, []

    def between(names: Keys, purpose: str, owner: str) -> list[str]:
        if not made:  # the sweep has read that there is no owner yet
            made.append(file_id)
            direct = connect(redis_url, NAMESPACE).redis
            direct.hset(KEYS.file + file_id, mapping={"owner": "ann", "status": "processed"})
            direct.zadd(f"{KEYS.files_by}ann", {file_id: 1})
            direct.close()
        return real(names, purpose, owner)

    monkeypatch.setattr(module, "_lists_of", between)
    await files.sweep()
    assert await redis.keys("*") == []
