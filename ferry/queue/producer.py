"""The asking side of the queue, on an event loop: submit, read, cancel, hear of settled jobs. The API's half."""

import logging
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from pydantic import ValidationError
from redis.exceptions import NoScriptError

from ferry.errors import QueueUnavailableError
from ferry.jobs import JobRecord, Receipt, Submission
from ferry.manifest import Manifest
from ferry.profile import BatchLimits, Profile, Tuning, limits_in_force, parse_profile
from ferry.queue import keys
from ferry.queue.broken_models import BrokenModel, broken_from_fields
from ferry.queue.clock import read_clock_async, steady_us
from ferry.queue.compression import compress
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.grouping import Grouping
from ferry.queue.records import (
    echoed_input,
    news_from_message,
    receipts_from_reply,
    record_from_fields,
    tuning_from_fields,
)
from ferry.queue.tickets import ticket_template
from ferry.queue.versions import aliases_from_fields, models_from_keys
from ferry.settings import Settings

# How long one read of the subscription waits; it only bounds how soon a dead connection is noticed.
POLL_S = 5.0
_FIELDS = list(keys.FIELDS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may wait, of one model and of all together, and how long jobs live."""

    max_waiting_rows: int
    max_waiting_bytes: int
    max_rows_in_all: int
    max_bytes_in_all: int
    deadline_s: float
    result_ttl_s: float


def limits_of(settings: Settings) -> Limits:
    """Return what the queue needs of the settings."""
    return Limits(
        max_waiting_rows=settings.max_waiting_rows,
        max_waiting_bytes=settings.max_waiting_bytes,
        max_rows_in_all=settings.max_rows_in_all,
        max_bytes_in_all=settings.max_bytes_in_all,
        deadline_s=settings.job_deadline_s,
        result_ttl_s=settings.result_ttl_s,
    )


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A registered model: its manifest, how many workers serve it now, the rows that wait, and how it is batched.

    profile: as the last worker that registered measured it; None before. tuning: what was set live. done_rows: rows of
    all jobs that a worker has settled since Redis was new. is_paused: no job is handed out; is_draining: none is taken.
    other_workers: live ones that get no job, since they serve other files than the registered ones. switched: why a
    check in production moved the model to whole jobs; empty where none did.
    """

    manifest: Manifest
    live_workers: int
    waiting_rows: int
    profile: Profile | None = None
    tuning: Tuning = field(default_factory=Tuning)
    done_rows: int = 0
    is_paused: bool = False
    is_draining: bool = False
    other_workers: int = 0
    switched: str = ""
    # The manifest's own digest, where the queue told it: working it out takes some 100 µs.
    digest: str = ""

    @property
    def limits(self) -> BatchLimits:
        """The batch limits in force."""
        return limits_in_force(self.manifest, self.profile, self.tuning)


# Jobs read in one round trip; an output may have 256 KiB.
MAX_GROUP_READS = 64


class Producer:
    """Sends jobs and reads them back. One per event loop."""

    def __init__(self, client: LoopClient, limits: Limits) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._limits = limits
        self._submit = client.script("submit")
        self._cancel = client.script("cancel")
        self._delete = client.script("delete")
        self._register = client.script("register")
        # Polls that come together share a round trip, and so one connection of the pool.
        self._reads: Grouping[Sequence[str], list[JobRecord | None]] = Grouping(
            self._read_lists, max_items=MAX_GROUP_READS, size_of=len, max_bytes=MAX_GROUP_READS
        )
        # Damaged registrations that were logged: the catalog asks every second.
        self._damaged: set[str] = set()

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        """Enqueue all in one round trip; each gets its own receipt. Safe to repeat: a known id is not queued twice.

        Raises:
            QueueUnavailableError: Redis did not answer; whether it accepted is not known, so repeat or read.
        """
        stored = [compress(job.payload) for job in submissions]
        seed = uuid.uuid4().hex
        args = [*self._head(seed), *self._jobs(submissions, stored)]
        large = {
            job.id: input_
            for job, input_ in zip(submissions, stored, strict=True)
            if len(input_) > keys.SMALL_INPUT_BYTES
        }
        with redis_errors():
            reply = await (self._submit_large(large, seed, args) if large else self._submit(args=args))
        return receipts_from_reply(submissions, reply)

    async def _submit_large(self, large: Mapping[str, bytes], seed: str, args: list[str | int | bytes]) -> Any:
        """Set large inputs ahead of the script, in one round trip; without it they go by themselves."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id, input_ in large.items():
                pipe.set(f"{self._keys.input}{job_id}/{seed}", input_, ex=keys.INPUT_AHEAD_S)
            self._submit.queue_in(pipe, args)
            # redis-py writes the whole command into the text of an error that it raises itself: 0.15 s for each MB.
            replies = await pipe.execute(raise_on_error=False)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors and not isinstance(errors[0], NoScriptError):
            raise errors[0]
        return await self._submit(args=args) if errors else replies[-1]  # which loads the script

    def _head(self, seed: str) -> list[str | int]:
        limits = self._limits
        return [
            seed, int(limits.result_ttl_s * 1000), limits.max_waiting_rows, limits.max_waiting_bytes,
            limits.max_rows_in_all, limits.max_bytes_in_all,
        ]  # fmt: skip

    def _jobs(self, submissions: Sequence[Submission], stored: Sequence[bytes]) -> list[str | int | bytes]:
        args: list[str | int | bytes] = []
        for job, input_ in zip(submissions, stored, strict=True):
            inline = input_ if len(input_) <= keys.SMALL_INPUT_BYTES else b""
            args += (
                job.id, keys.model_key(job.model, job.version), job.job_class.value, job.rows, int(job.single),
                self._deadline_ms(job), len(job.payload), job.fingerprint, job.replay_of,
                job.owner, job.origin, job.limits.packed() if job.limits else "", inline,
            )  # fmt: skip
        return args

    def _deadline_ms(self, job: Submission) -> int:
        seconds = self._limits.deadline_s if job.deadline_s is None else job.deadline_s
        return max(1, int(seconds * 1000))

    async def read(self, job_id: str) -> JobRecord | None:
        """Return one job, or None: unknown, or forgotten after its time. Reads that come together share a round trip.

        Raises:
            QueueUnavailableError: Redis did not answer in time.
        """
        return (await self._reads.ask((job_id,)))[0]

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return many jobs, in order, MAX_GROUP_READS to a round trip. Raises as `read`."""
        parts = [job_ids[at : at + MAX_GROUP_READS] for at in range(0, len(job_ids), MAX_GROUP_READS)]
        return [record for part in parts for record in await self._reads.ask(part)]

    async def _read_lists(self, lists: Sequence[Sequence[str]]) -> list[list[JobRecord | None]]:
        """Read several lists of jobs in one round trip."""
        records = iter(await self._read_all([job_id for ids in lists for job_id in ids]))
        return [list(islice(records, len(ids))) for ids in lists]

    async def _read_all(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in job_ids:
                    pipe.hmget(self._keys.job + job_id, _FIELDS)
                    pipe.getrange(self._keys.input + job_id, 0, keys.SMALL_INPUT_BYTES)
                replies = await pipe.execute()
        parts = zip(job_ids, replies[::2], replies[1::2], strict=True)
        return [record_from_fields(job_id, values, echoed_input(start)) for job_id, values, start in parts]

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; a terminal one stays as it is. Returns False when there is no such job."""
        with redis_errors():
            return int(await self._cancel(args=[job_id])) >= 0

    async def delete(self, job_id: str) -> bool:
        """Forget a job, its input and its result; one that is not terminal is canceled. False: there is no such job."""
        with redis_errors():
            return int(await self._delete(args=[job_id])) == 1

    async def register(self, manifest: Manifest) -> None:
        """Make a model known to the queue, so that jobs may wait for its first worker."""
        args = registration(manifest)
        with redis_errors():
            await self._register(args=[*args, 0, 0])

    async def models(self) -> list[ModelStatus]:
        """Return every registered model. Four round trips, whatever their number."""
        with redis_errors():
            names = sorted(cast(bytes, name).decode("ascii") for name in await self._redis.smembers(self._keys.models))
            alive_since = steady_us(*await read_clock_async(self._redis, self._keys)) // 1000 - keys.LIVE_MS
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hmget(self._keys.model + name, list(keys.MODEL_FIELDS))
                    pipe.zcount(self._keys.live + name, alive_since, "+inf")
                    pipe.hget(self._keys.backlog + name, "rows")
                    pipe.hget(self._keys.counts + name, "rows")
                    pipe.zcount(self._keys.other + name, alive_since, "+inf")
                replies = await pipe.execute()
        found = {name: _status(*replies[at * 5 : at * 5 + 5]) for at, name in enumerate(names)}
        damaged = {name for name, status in found.items() if status is None}
        for name in sorted(damaged - self._damaged):
            logger.warning("registration_damaged: %s is left out; `ferry models remove` and add it again", name)
        self._damaged = damaged
        return [status for status in found.values() if status is not None]

    async def aliases(self) -> dict[tuple[str, str], str]:
        """Return versions by (name, alias)."""
        with redis_errors():
            return aliases_from_fields(cast(dict[bytes, bytes], await self._redis.hgetall(self._keys.aliases)))

    async def unloaded(self) -> frozenset[tuple[str, str]]:
        """Return (name, version) of what is unloaded."""
        with redis_errors():
            return models_from_keys(cast(set[bytes], await self._redis.smembers(self._keys.unloaded)))

    async def broken(self) -> list[BrokenModel]:
        """Return the models that live workers cannot serve."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.get(self._keys.clock)
                pipe.hgetall(self._keys.broken)
                clock, steps, fields = await pipe.execute()
        return broken_from_fields(fields, steady_us(clock, steps) // 1000)

    async def set_loaded(self, models: Sequence[tuple[str, str]], *, is_loaded: bool) -> None:
        """Let workers serve versions, or drop them and load them no more."""
        refs = [keys.model_key(*model) for model in models]
        with redis_errors():
            await (
                self._redis.srem(self._keys.unloaded, *refs)
                if is_loaded
                else self._redis.sadd(self._keys.unloaded, *refs)
            )

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            QueueUnavailableError: it does not.
        """
        with redis_errors():
            await self._redis.ping()

    async def settled(self) -> AsyncIterator[Mapping[str, dict[str, Any]] | None]:
        """Hear of jobs that became terminal: what changed of each, by id; None once the subscription stands.

        Delivered at most once, so a waiter also reads the job (after None, and now and then).

        Raises:
            QueueUnavailableError: the connection is gone; subscribe again.
        """
        async with self._redis.pubsub(ignore_subscribe_messages=False) as pubsub:
            with redis_errors():
                await pubsub.subscribe(self._keys.settled)
            while True:
                with redis_errors():
                    message = await pubsub.get_message(timeout=POLL_S)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    yield None
                elif message["type"] == "message":
                    yield news_from_message(message["data"])
                else:
                    raise QueueUnavailableError("the subscription ended")


def registration(manifest: Manifest, profile: Profile | None = None) -> list[str | int | float]:
    """Return the arguments of the register script for a model, but the last two."""
    limits = limits_in_force(manifest, profile)
    return [
        keys.model_key(manifest.name, manifest.version),
        manifest.model_dump_json(),
        limits.max_rows,
        limits.max_wait_ms,
        profile.model_dump_json() if profile else "",
        ticket_template(manifest.name, manifest.version),
        manifest.digest,
    ]


def _status(config: Sequence[Any], live: int, rows: Any, done_rows: Any, other: int) -> ModelStatus | None:
    """Read what Redis knows of a model; None where its registration is damaged."""
    manifest, profile, paused, draining, digest, switched, *tuned = config
    try:
        parsed = Manifest.model_validate_json(manifest or b"")
    except ValidationError:
        return None
    return ModelStatus(
        parsed,
        int(live),
        int(rows or 0),
        parse_profile(profile),
        tuning_from_fields(*tuned),
        int(done_rows or 0),
        is_paused=paused is not None,
        is_draining=draining is not None,
        other_workers=int(other),
        switched=(switched or b"").decode("utf-8", "replace"),
        digest=(digest or b"").decode("ascii"),
    )
