"""Erasing one of two owners on a real Redis: a dump of all keys and of the storage shows what is left."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferry.access import REVOKED_WITHIN_S, Scope
from ferry.bulk.batch_records import BatchSpec, Opened, Part, folder_of
from ferry.bulk.batches import Batches, new_batch_id
from ferry.bulk.files import Files, key_of
from ferry.bulk.steps import Held, Steps, indexed, worked
from ferry.bulk.storage import Storage
from ferry.erasure import MAX_PASSES, Eraser
from ferry.errors import ConflictError, InvalidInputError
from ferry.job_ids import scoped_id
from ferry.jobs import JobLimits, Outcome
from ferry.queue.connection import connect, connect_async
from ferry.queue.consumer import Consumer
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.key_book import KeyBook
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

TENANT = frozenset({Scope.SUBMIT, Scope.READ})
OTHER = "bob"


INDEXED = indexed(
    rows=9, chunks=9, width=40, format_name="jsonl", output_format="jsonl", notes=(), is_prepared=False
)  # fmt: skip


class Office:
    """A Ferry with everything that an owner can have."""

    def __init__(self, url: str, storage: Storage) -> None:
        self.redis, self.direct = connect_async(url, NAMESPACE).redis, connect(url, NAMESPACE).redis
        client = client_of(self.redis)
        self.storage = storage
        self.files = Files(client, storage, max_files=10_000, ttl_s=600)
        self.batches = Batches(client, max_open=100, ttl_s=600)
        self.producer = Producer(client, replace(LIMITS, max_waiting_rows=10**6, max_rows_in_all=10**6))
        self.dead = DeadLetters(client, self.producer)
        self.worker = Consumer(client_of(self.direct), worker="w1", lease_s=5)
        self.keeper = Keeper(client_of(self.direct), KeeperRules(lease_s=5, max_attempts=1))
        self.steps = Steps(client_of(self.direct))
        self.book = KeyBook(client_of(self.direct))
        self.slept: list[float] = []
        self.eraser = Eraser(client, self.files, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def submit(self, owner: str, name: str, limits: JobLimits | None = None) -> str:
        job = replace(submission(job_id=scoped_id(owner, name)), owner=owner, limits=limits)
        await self.producer.submit([job])
        return job.id

    async def add_file(self, owner: str, key: str = "") -> str:
        file_id = await self.files.reserve()
        self.store(key_of(file_id))
        await self.files.create(file_id, size_bytes=3, filename="a.jsonl", purpose="batch", owner=owner, key=key)
        return file_id

    async def open_batch(self, owner: str) -> str:
        spec = BatchSpec(
            new_batch_id(), "toy", "1", "/v1/predictions", await self.add_file(owner), 3600, "1h",
            owner=owner, files_by=owner,
        )  # fmt: skip
        assert await self.batches.open(spec) is Opened.ACCEPTED
        return spec.id

    def claim(self) -> Any:
        return self.worker.claim("toy", "1", max_rows=1)

    def store(self, key: str) -> None:
        with self.storage.create(key) as upload:
            upload.write(b"row")

    def step(self, step_id: str) -> Held:
        """Claim steps until it is this one's turn; the others run too."""
        while True:
            claim = self.claim()
            (job,) = claim.jobs
            if job.id == step_id:
                return Held(claim.token, job.id, "toy", "1", job.attempt)

    def settle(self, claim: Any) -> int:
        (job,) = claim.jobs
        outcome = Outcome(job.id, "ticket.1", 1, 1, 42, job.attempt, job.started_us, output=b"out")
        return self.worker.settle(claim, "toy", "1", [outcome], is_last=True)

    async def fill(self, owner: str) -> tuple[Any, Held]:
        """Let an owner have one of everything that no worker may take from another; see `queue`.

        Returns a claim of a job and a step that run.
        """
        made, _ = self.book.create("ci", owner=owner, scopes=TENANT, rate_per_s=50, max_unfinished=99)
        limits = JobLimits(made.id, 50, 99)
        await self.submit(owner, "done", limits)
        self.settle(self.claim())
        await self.submit(owner, "dead", limits)
        self.direct.zadd(KEYS.leases, {self.claim().token: 1})
        self.keeper.lapse()
        await self.submit(owner, "running", limits)
        running = self.claim()
        self.direct.set(f"{KEYS.input}{scoped_id(owner, 'ahead')}/seed", b"rows", ex=60)
        await self.add_file(owner, key=f"digest of {len(owner)} {owner[0]}")
        batch_id = await self.open_batch(owner)
        assert self.steps.settle(self.step(f"{batch_id}/index"), INDEXED)
        self.store(f"{folder_of(batch_id)}/part")
        return running, self.step(f"{batch_id}/0")

    def dump(self) -> dict[str, Any]:
        """Return every key of Redis with its whole value."""
        read = {
            b"string": self.direct.get, b"hash": self.direct.hgetall, b"set": self.direct.smembers,
            b"zset": lambda key: self.direct.zrange(key, 0, -1, withscores=True),
            b"list": lambda key: self.direct.lrange(key, 0, -1), b"stream": self.direct.xrange,
            b"none": lambda _: None,  # it expired in between
        }  # fmt: skip
        return {key.decode(): read[self.direct.type(key)](key) for key in sorted(self.direct.keys("*"))}

    def traces(self, *marks: str) -> list[str]:
        return [key for key, value in self.dump().items() if any(mark in f"{key} {value!r}" for mark in marks)]


@pytest.fixture
async def office(redis_url: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Office]:
    office = Office(redis_url, Storage(str(tmp_path / "files")))
    await office.producer.register(manifest())
    yield office
    office.direct.close()
    await office.redis.aclose(close_connection_pool=True)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def owned(dump: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return what names an owner, but for what lives some milliseconds."""
    return {key: value for key, value in dump.items() if mark in f"{key} {value!r}" and not key.startswith(KEYS.rate)}


async def test_erase_when_two_owners_have_everything_then_nothing_is_left_of_one_and_the_other_is_untouched(
    office: Office, tmp_path: Path
) -> None:
    await office.fill(OTHER)
    files_of_other = files_in(tmp_path)
    running, step = await office.fill("ann")
    for owner in (OTHER, "ann"):
        await office.submit(owner, "waiting")
    before = owned(office.dump(), OTHER)
    (key,) = [each for each in office.book.list_all() if each.owner == "ann"]
    counted = await office.eraser.count("ann")
    assert (counted.keys, counted.jobs, counted.dead_letters, counted.batches, counted.files) == (1, 4, 1, 1, 2)

    assert await office.eraser.erase("ann", is_revoking=True) == counted

    assert office.slept == [2 * REVOKED_WITHIN_S]
    assert office.traces("ann", key.id, "digest of 3 a") == []
    assert files_in(tmp_path) == files_of_other
    after = owned(office.dump(), OTHER)
    assert {name: after[name] for name in before if ":job:" in name or ":file:" in name} == {
        name: before[name] for name in before if ":job:" in name or ":file:" in name
    }
    assert set(after) == set(before)
    # What ran of the erased owner leaves nothing either.
    assert office.settle(running) == 0
    assert not office.steps.settle(step, worked(0, Part("t", 1, 0, 1, 0, 1)))
    assert office.traces("ann", key.id) == []


async def test_erase_when_done_twice_then_the_second_finds_nothing(office: Office) -> None:
    await office.fill("ann")
    await office.eraser.erase("ann", is_revoking=True)
    again = await office.eraser.erase("ann")
    assert again.is_empty
    assert (await office.eraser.count("ann")).is_empty


async def test_erase_when_a_key_was_revoked_just_before_then_it_waits_until_no_process_lets_it_in(
    office: Office,
) -> None:
    made, _ = office.book.create("ci", owner="ann", scopes=TENANT)
    office.book.revoke(made.id)
    await office.eraser.erase("ann")
    assert office.slept == [2 * REVOKED_WITHIN_S]


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_erase_when_a_key_was_revoked_long_ago_then_it_does_not_wait(office: Office, is_replaced: bool) -> None:
    made, _ = office.book.create("ci", owner="ann", scopes=TENANT)
    long_ago_us = made.created_us - int(2 * REVOKED_WITHIN_S * 1e6)
    office.direct.hset(KEYS.api_key + made.id, "ends_us" if is_replaced else "revoked_us", long_ago_us)
    await office.eraser.erase("ann")
    assert office.slept == []


async def test_erase_when_jobs_never_stop_to_come_then_it_says_so(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase_files = Eraser._erase_files

    async def erase_files_while_a_job_comes(eraser: Eraser, owner: str) -> int:
        await office.submit(owner, "next")
        return await erase_files(eraser, owner)

    await office.submit("ann", "first")
    monkeypatch.setattr(Eraser, "_erase_files", erase_files_while_a_job_comes)
    with pytest.raises(ConflictError, match=f"after {MAX_PASSES} passes: {MAX_PASSES} jobs"):
        await office.eraser.erase("ann")


async def test_erase_when_keys_are_in_force_then_a_conflict_and_nothing_is_erased(office: Office) -> None:
    await office.fill("ann")
    before = owned(office.dump(), "ann")
    with pytest.raises(ConflictError, match="1 API keys in force"):
        await office.eraser.erase("ann")
    assert owned(office.dump(), "ann") == before


@pytest.mark.parametrize("owner", ["", "a*", "ann~x", "a b", "../x"])
async def test_erase_when_the_name_is_none_then_refused(office: Office, owner: str) -> None:
    with pytest.raises(InvalidInputError):
        await office.eraser.erase(owner)


async def test_erase_when_another_owners_name_begins_with_it_then_that_one_is_untouched(office: Office) -> None:
    for owner in ("ann", "ann.b", "anna"):
        await office.submit(owner, "x")
    erased = await office.eraser.erase("ann")
    assert erased.jobs == 1
    assert len(office.direct.keys(KEYS.job + "*")) == 2


async def test_erase_when_jobs_come_meanwhile_then_they_are_erased_too_and_the_backlog_is_true(office: Office) -> None:
    names = iter(range(10**6))

    async def keep_submitting(owner: str, count: int) -> None:
        for _ in range(count):
            jobs = [replace(submission(job_id=scoped_id(owner, f"job{next(names)}")), owner=owner) for _ in range(20)]
            await office.producer.submit(jobs)

    await asyncio.gather(keep_submitting("ann", 10), keep_submitting(OTHER, 10))
    running = [office.claim() for _ in range(5)]
    erased, *_ = await asyncio.gather(office.eraser.erase("ann"), keep_submitting("ann", 5), keep_submitting(OTHER, 5))
    last = await office.eraser.erase("ann")
    assert erased.jobs + last.jobs == 300
    assert office.traces("ann~") == []
    for claim in running:
        if claim.jobs[0].id.startswith(OTHER):
            assert office.settle(claim) == 1
    waiting = office.direct.xlen(f"{KEYS.waiting}toy:1:normal")
    held = sum(claim.jobs[0].id.startswith(OTHER) for claim in running)
    assert waiting == 300 - held
    assert int(office.direct.hget(KEYS.backlog + "toy:1", "rows")) == waiting
