"""The queue in memory: the same interface and the same rules as on Redis, with a clock that tests turn.

tests/contract runs the same cases on both, so that a unit test on this one says something about the other.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ferry.errors import NotFoundError, QueueUnavailableError
from ferry.jobs import (
    CLASS_SHARE,
    DEAD_TTL_S,
    Claim,
    ClaimedJob,
    DeadLetter,
    JobClass,
    JobLimits,
    JobRecord,
    LimitsLeft,
    Outcome,
    Receipt,
    State,
    Submission,
    Turn,
    Verdict,
)
from ferry.manifest import Manifest
from ferry.profile import BatchLimits, Profile, Tuning, limits_in_force
from ferry.queue.admin import check_tuning
from ferry.queue.broken_models import BrokenModel, broken_from_fields
from ferry.queue.dead_letters import replay
from ferry.queue.keys import LIVE_MS, PUBLISH_MAX_BYTES, SMALL_INPUT_BYTES
from ferry.queue.producer import Limits, ModelStatus
from ferry.queue.records import Heartbeat

ModelKey = tuple[str, str]


@dataclass
class _Job:
    record: JobRecord
    payload: bytes
    job_class: JobClass
    token: str = ""
    fingerprint: str = ""
    origin: str = ""
    limited_by: str = ""
    forget_us: int | None = None


@dataclass
class _Lane:
    """What stands in Redis under one model's name."""

    manifest: Manifest
    profile: Profile | None = None
    tuning: Tuning = field(default_factory=Tuning)
    waiting: dict[JobClass, list[str]] = field(default_factory=lambda: {each: [] for each in JobClass})
    alone: list[str] = field(default_factory=list)
    live: dict[str, int] = field(default_factory=dict)
    owed: dict[JobClass, int] = field(default_factory=dict)
    tickets: list[str] = field(default_factory=list)
    done_rows: int = 0
    is_paused: bool = False
    is_draining: bool = False
    # By worker: the digest it serves, where that is not the registered one, and when it was last heard of (ms).
    other: dict[str, tuple[str, int]] = field(default_factory=dict)
    served_ms: int = 0
    switched: str = ""

    @property
    def limits(self) -> BatchLimits:
        return limits_in_force(self.manifest, self.profile, self.tuning)


class MemoryQueue:
    """Both halves of the queue and the keeper, for one test."""

    def __init__(self, limits: Limits, *, lease_s: float = 5.0, max_attempts: int = 3, worker: str = "w1") -> None:
        self.limits = limits
        self.lease_ms = int(lease_s * 1000)
        self.max_attempts = max_attempts
        self.worker = worker
        self.now_us = 1_800_000_000_000_000
        self.is_down = False
        self.has_memory = True
        self.submit_calls = 0
        self.lanes: dict[ModelKey, _Lane] = {}
        self.jobs: dict[str, _Job] = {}
        self.claims: dict[str, set[str]] = {}
        self.leases: dict[str, int] = {}
        self.dead: dict[str, int] = {}
        self.spared: set[str] = set()
        self.rates: dict[str, float] = {}
        self.asked_limits: set[JobLimits] = set()
        self.named: dict[tuple[str, str], str] = {}
        self.dropped: set[ModelKey] = set()
        self.broken_by: dict[str, tuple[int, dict[ModelKey, str]]] = {}
        self._listeners: set[asyncio.Queue[dict[str, dict[str, Any]]]] = set()

    def _check(self) -> None:
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so", retry_after_s=1)

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000

    # ---- the asking side

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        self._check()
        self.submit_calls += 1
        self.asked_limits.clear()
        receipts = [self._accept(submission) for submission in submissions]
        return [
            replace(receipt, left=self._left(job.limits)) if job.limits in self.asked_limits else receipt
            for job, receipt in zip(submissions, receipts, strict=True)
        ]

    def _left(self, limits: JobLimits) -> LimitsLeft:
        rate, wait_ms = None, 0
        if limits.rate_per_s:
            early_us = self._early_us(limits)
            rate = max(0, math.floor(-early_us * limits.rate_per_s / 1e6) + 1)
            wait_ms = max(0, math.ceil(early_us / 1000))
        unfinished = limits.max_unfinished and max(0, limits.max_unfinished - self._unfinished(limits))
        return LimitsLeft(rate, unfinished, wait_ms)

    def _unfinished(self, limits: JobLimits) -> int:
        mine = [job.record for job in self.jobs.values() if job.limited_by == limits.key_id]
        return sum(1 for record in mine if not record.state.is_terminal)

    def _early_us(self, limits: JobLimits) -> float:
        assert limits.rate_per_s
        gap_us = 1e6 / limits.rate_per_s
        due_us = max(self.now_us, self.rates.get(limits.key_id, 0))
        return due_us - (max(gap_us, 1e6) - gap_us) - self.now_us

    def _accept(self, job: Submission) -> Receipt:
        lane = self.lanes.get((job.model, job.version))
        known = self._known(job.id)
        if known is not None:
            is_same = not job.fingerprint or job.fingerprint == known.fingerprint
            verdict = Verdict.EXISTS if is_same else Verdict.DIFFERS
        elif lane is None:
            verdict = Verdict.UNREGISTERED
        elif (refusal := self._refusal(lane, job)) is not None:
            verdict = refusal
        elif job.limits and (over := self.over(job.limits)):
            return Receipt(over[0], self.now_us, over[1])
        else:
            verdict = Verdict.ACCEPTED
            deadline_s = self.limits.deadline_s if job.deadline_s is None else job.deadline_s
            deadline_us = (self.now_ms + max(1, int(deadline_s * 1000))) * 1000
            echo = job.payload if len(job.payload) <= SMALL_INPUT_BYTES else None
            record = JobRecord(
                job.id, job.model, job.version, State.QUEUED, job.rows, job.single, self.now_us, deadline_us
            )
            record.input, record.replay_of, record.owner = echo, job.replay_of or None, job.owner
            limited_by = job.limits.key_id if job.limits and job.limits.max_unfinished else ""
            self.jobs[job.id] = _Job(
                record, job.payload, job.job_class, "", job.fingerprint, job.origin, limited_by=limited_by
            )
            lane.waiting[job.job_class].append(job.id)
            self._top_up(lane)
        if verdict is Verdict.FULL_IN_ALL:
            return Receipt(verdict, self.now_us, sum(self._backlog(each)[0] for each in self.lanes.values()))
        return Receipt(verdict, self.now_us, self._backlog(lane)[0] if lane else 0)

    def _refusal(self, lane: _Lane, job: Submission) -> Verdict | None:
        if lane.is_draining:
            return Verdict.DRAINING
        if not self.has_memory:
            return Verdict.NO_MEMORY
        limits = self.limits
        for verdict, lanes, max_rows, max_bytes in (
            (Verdict.FULL, [lane], limits.max_waiting_rows, limits.max_waiting_bytes),
            (Verdict.FULL_IN_ALL, list(self.lanes.values()), limits.max_rows_in_all, limits.max_bytes_in_all),
        ):
            backlogs = [self._backlog(each) for each in lanes]
            rows, size = (sum(part) for part in zip(*backlogs, strict=True))
            if rows + job.rows > max_rows or size + len(job.payload) > max_bytes:
                return verdict
        return None

    def over(self, limits: JobLimits, also: int = 0) -> tuple[Verdict, int] | None:
        self.asked_limits.add(limits)
        unfinished = also + self._unfinished(limits)
        if limits.max_unfinished and unfinished >= limits.max_unfinished:
            return Verdict.OVER_UNFINISHED, unfinished
        if limits.rate_per_s:
            early_us = self._early_us(limits)
            if early_us > 0:
                return Verdict.OVER_RATE, math.ceil(early_us / 1000)
            self.rates[limits.key_id] = max(self.now_us, self.rates.get(limits.key_id, 0)) + 1e6 / limits.rate_per_s
        return None

    async def read(self, job_id: str) -> JobRecord | None:
        self._check()
        job = self._known(job_id)
        return job.record if job else None

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        return [await self.read(job_id) for job_id in job_ids]

    async def cancel(self, job_id: str) -> bool:
        self._check()
        if self._known(job_id) is None:
            return False
        self._cut_short(job_id, "canceled", "canceled by request")
        return True

    async def delete(self, job_id: str) -> bool:
        self._check()
        if self._known(job_id) is None:
            return False
        self._cut_short(job_id, "canceled", "deleted by request")
        del self.jobs[job_id]
        self.dead.pop(job_id, None)
        return True

    async def register(self, manifest: Manifest) -> None:
        self._check()
        self.lanes.setdefault((manifest.name, manifest.version), _Lane(manifest))

    async def models(self) -> list[ModelStatus]:
        self._check()
        return [
            ModelStatus(
                lane.manifest,
                self._alive(lane),
                self._backlog(lane)[0],
                lane.profile,
                lane.tuning,
                lane.done_rows,
                is_paused=lane.is_paused,
                is_draining=lane.is_draining,
                other_workers=len(self._live_others(lane)),
                switched=lane.switched,
            )
            for _, lane in sorted(self.lanes.items())
        ]

    async def aliases(self) -> dict[tuple[str, str], str]:
        self._check()
        return dict(self.named)

    async def unloaded(self) -> frozenset[ModelKey]:
        self._check()
        return frozenset(self.dropped)

    async def set_loaded(self, models: Sequence[ModelKey], *, is_loaded: bool) -> None:
        self._check()
        self.dropped = self.dropped - set(models) if is_loaded else self.dropped | set(models)

    async def broken(self) -> list[BrokenModel]:
        self._check()
        fields = {
            f"{worker} {name}:{version}".encode(): f"{at_ms} {reason}".encode()
            for worker, (at_ms, models) in self.broken_by.items()
            for (name, version), reason in models.items()
        }
        return broken_from_fields(fields, self.now_ms)

    async def ping(self) -> None:
        self._check()

    async def settled(self) -> AsyncIterator[dict[str, dict[str, Any]] | None]:
        self._check()
        news: asyncio.Queue[dict[str, dict[str, Any]]] = asyncio.Queue()
        self._listeners.add(news)
        try:
            yield None
            while True:
                yield await news.get()
        finally:
            self._listeners.discard(news)

    # ---- the working side

    def claim(
        self, model: str, version: str, *, max_rows: int, beside_high: int | None = None, token: str = "",
        may_be_bulk: bool = True, digest: str = "",
    ) -> Claim:  # fmt: skip
        self._check()
        lane = self.lanes.get((model, version))
        held = token or uuid.uuid4().hex
        if lane is None or lane.is_paused or (token and token not in self.leases):
            return Claim(held, (), max_rows)
        if digest and digest != lane.manifest.digest:
            return Claim(held, (), max_rows)
        ids, room = [] if token else self._take_alone(lane), max_rows
        if not ids:
            ids, room = self._take_waiting(lane, max_rows, beside_high, may_be_bulk=may_be_bulk, is_fresh=not token)
        jobs = tuple(self._hand_out(job_id, held) for job_id in ids)
        if jobs:
            self.claims.setdefault(held, set()).update(ids)
            self.leases[held] = self.now_ms + self.lease_ms
        # A claim that only skipped late jobs sends no ticket; `expire` does.
        waiting = [*lane.alone, *(job_id for each in lane.waiting.values() for job_id in each)]
        if jobs or not any(map(self._is_overdue, waiting)):
            self._top_up(lane)
        return Claim(held, jobs, room, is_cut=room < max_rows)

    def _take_alone(self, lane: _Lane) -> list[str]:
        for job_id in lane.alone:
            if not self._is_overdue(job_id):
                lane.alone.remove(job_id)
                return [job_id]
        return []

    def _take_waiting(
        self, lane: _Lane, max_rows: int, beside_high: int | None, *, may_be_bulk: bool, is_fresh: bool
    ) -> tuple[list[str], int]:
        ids: list[str] = []
        classes = [each for each in JobClass if lane.waiting[each] and (may_be_bulk or each is not JobClass.BULK)]
        for lower in reversed(classes[1:]) if is_fresh else ():
            due = min(max_rows * 1000, lane.owed.get(lower, 0) + round(CLASS_SHARE * max_rows * 1000))
            before = self._rows_of(ids)
            most = min(max_rows, before + due // 1000)
            self._take_class(lane, lower, ids, most, may_be_large=due >= max_rows * 1000)
            lane.owed[lower] = max(0, due - (self._rows_of(ids) - before) * 1000)
        for each in classes:
            before = len(ids)
            self._take_class(lane, each, ids, max_rows, may_be_large=is_fresh)
            if each is JobClass.HIGH and len(ids) > before and beside_high is not None:
                max_rows = min(max_rows, max(beside_high, self._rows_of(ids)))
        if not any(lane.waiting.values()) and not lane.alone:
            lane.owed.clear()
        return ids, max_rows

    def _take_class(self, lane: _Lane, job_class: JobClass, ids: list[str], most: int, *, may_be_large: bool) -> None:
        waiting = lane.waiting[job_class]
        for job_id in list(waiting):
            rows = self._rows_of(ids)
            if rows >= most or (rows + self.jobs[job_id].record.rows > most and not (may_be_large and rows == 0)):
                return
            if not self._is_overdue(job_id):
                waiting.remove(job_id)
                ids.append(job_id)

    def _rows_of(self, ids: list[str]) -> int:
        return sum(self.jobs[each].record.rows for each in ids)

    def _is_overdue(self, job_id: str) -> bool:
        """Claims skip such a job; the leader alone ends it."""
        return self.jobs[job_id].record.deadline_us <= self.now_us

    def _hand_out(self, job_id: str, token: str) -> ClaimedJob:
        job = self.jobs[job_id]
        attempts = job.record.attempts + 1
        job.token = token
        job.record = replace(job.record, state=State.RUNNING, attempts=attempts, started_us=self.now_us)
        created_ms = job.record.created_us // 1000
        return ClaimedJob(job_id, job.record.rows, job.payload, attempts, self.now_us, job.origin, created_ms)

    def settle(self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, is_last: bool) -> int:
        self._check()
        news: dict[str, dict[str, Any]] = {}
        recorded = 0
        for outcome in outcomes:
            job = self._known(outcome.job_id)
            if job is None or job.token != claim.token or job.record.state is not State.RUNNING:
                continue
            recorded += 1
            self.lanes[job.record.model, job.record.version].done_rows += job.record.rows
            changes: dict[str, Any] = {
                "state": State.FAILED if outcome.error_code else State.SUCCEEDED,
                "completed_us": self.now_us,
                "run_us": outcome.run_us,
                "batch_id": outcome.batch_id,
                "batch_rows": outcome.batch_rows,
                "batch_jobs": outcome.batch_jobs,
            }
            if outcome.error_code:
                changes |= {"error_code": outcome.error_code, "error": outcome.error}
            else:
                changes["output"] = outcome.output
            self._finish(job, changes)
            told = changes | {"started_us": outcome.started_us, "attempts": outcome.attempt}
            news[outcome.job_id] = told if len(outcome.output or b"") <= PUBLISH_MAX_BYTES else {}
        if is_last:
            self.leases.pop(claim.token, None)
            for job_id in sorted(self.claims.pop(claim.token, ())):
                self._put_back_unheard(job_id, claim.token)
        self._publish(news)
        if lane := self.lanes.get((model, version)):
            self._top_up(lane)
        return recorded

    def settle_and_claim(
        self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, max_rows: int, wait_s: float,
        beside_high: int | None = None, digest: str = "",
    ) -> Turn:  # fmt: skip
        assert wait_s > 0, "0 is for ever in Redis"
        recorded = self.settle(claim, model, version, outcomes, is_last=True)
        waited_s = 0.0 if self.lanes[model, version].tickets else wait_s
        del self.lanes[model, version].tickets[:1]
        following = self.claim(model, version, max_rows=max_rows, beside_high=beside_high, digest=digest)
        return Turn(recorded, following, waited_s)

    def renew(self, tokens: Iterable[str]) -> set[str]:
        self._check()
        held = {token for token in tokens if token in self.leases}
        self.leases.update(dict.fromkeys(held, self.now_ms + self.lease_ms))
        self.spared -= held
        return held

    def beat(self, models: Mapping[ModelKey, str]) -> Heartbeat:
        self._check()
        unknown: set[ModelKey] = set()
        other: set[ModelKey] = set()
        tuned: dict[ModelKey, Tuning] = {}
        switched: dict[ModelKey, str] = {}
        for key, digest in models.items():
            lane = self.lanes.get(key)
            tuned[key] = lane.tuning if lane else Tuning()
            if lane is None:
                unknown.add(key)
                continue
            if lane.switched:
                switched[key] = lane.switched
            if digest and digest != lane.manifest.digest:
                lane.live.pop(self.worker, None)
                lane.other[self.worker] = (digest, self.now_ms)
                (unknown if self._may_take_over(lane, digest) else other).add(key)
                continue
            is_new = self.worker not in lane.live
            lane.live[self.worker] = lane.served_ms = self.now_ms
            lane.other.pop(self.worker, None)
            if is_new:
                self._top_up(lane)
        return Heartbeat(frozenset(unknown), tuned, frozenset(self.dropped), frozenset(other), switched)

    def _live_others(self, lane: _Lane) -> set[str]:
        return {worker for worker, (_, beat_ms) in lane.other.items() if beat_ms >= self.now_ms - LIVE_MS}

    def _may_take_over(self, lane: _Lane, digest: str) -> bool:
        if lane.served_ms > self.now_ms - self.lease_ms:
            return False
        return all(lane.other[worker][0] == digest for worker in self._live_others(lane))

    def switched(self, model: str, version: str, *, digest: str) -> str:
        self._check()
        lane = self.lanes.get((model, version))
        return lane.switched if lane and lane.manifest.digest == digest else ""

    def switch(self, model: str, version: str, *, digest: str, reason: str) -> bool:
        self._check()
        lane = self.lanes[model, version]
        if lane.switched or lane.manifest.digest != digest:
            return False
        lane.switched = reason
        return True

    def announce(self, manifest: Manifest, profile: Profile | None = None) -> None:
        """The worker's register; the API's is a coroutine of that name."""
        self._check()
        lane = self.lanes.setdefault((manifest.name, manifest.version), _Lane(manifest))
        if manifest.digest != lane.manifest.digest:
            if not self._may_take_over(lane, manifest.digest):
                return
            lane.switched = ""
        lane.manifest, lane.profile, lane.served_ms = manifest, profile, self.now_ms

    def leave(self, models: Iterable[ModelKey]) -> None:
        self._check()
        for key in models:
            if lane := self.lanes.get(key):
                lane.live.pop(self.worker, None)

    def report_broken(self, broken: Mapping[ModelKey, str], before: Collection[ModelKey] = ()) -> None:
        self._check()
        self.broken_by[self.worker] = (self.now_ms, dict(broken))

    # ---- the operator

    def tune(self, model: str, version: str, tuning: Tuning, *, is_reset: bool = False) -> BatchLimits:
        self._check()
        lane = self.lanes.get((model, version))
        if lane is None:
            raise NotFoundError(f"the queue knows no model {model}:{version}")
        check_tuning(lane.manifest, tuning, lane.switched)
        before = Tuning() if is_reset else lane.tuning
        lane.tuning = Tuning(
            before.max_rows if tuning.max_rows is None else tuning.max_rows,
            before.max_wait_ms if tuning.max_wait_ms is None else tuning.max_wait_ms,
        )
        self._top_up(lane)
        return lane.limits

    def pause(self, model: str, version: str) -> None:
        self._lane(model, version).is_paused = True

    def drain(self, model: str, version: str) -> None:
        self._lane(model, version).is_draining = True

    def resume(self, model: str, version: str) -> None:
        lane = self._lane(model, version)
        lane.is_paused = lane.is_draining = False
        self._top_up(lane)

    def _lane(self, model: str, version: str) -> _Lane:
        self._check()
        if (model, version) not in self.lanes:
            raise NotFoundError(f"the queue knows no model {model}:{version}")
        return self.lanes[model, version]

    def waiting_jobs(self, model: str, version: str) -> int:
        lane = self._lane(model, version)
        return len(lane.alone) + sum(map(len, lane.waiting.values()))

    def purge(self, model: str, version: str) -> int:
        lane = self._lane(model, version)
        ids = [*lane.alone, *(job_id for waiting in lane.waiting.values() for job_id in waiting)]
        for job_id in ids:
            self._cut_short(job_id, "canceled", "purged by the operator")
        return len(ids)

    # ---- dead letters

    async def list_dead(self, *, offset: int = 0, limit: int = 20) -> tuple[list[DeadLetter], int]:
        self._check()
        newest = sorted(self.dead.items(), key=lambda item: (item[1], item[0]), reverse=True)
        return [DeadLetter(self.jobs[each].record, at) for each, at in newest[offset : offset + limit]], len(newest)

    async def replay_of(self, job_id: str) -> Submission | None:
        self._check()
        if job_id not in self.dead:
            return None
        job = self.jobs[job_id]
        record = job.record
        return replay(
            job_id, record.model, record.version, record.rows, job.payload, single=record.single,
            job_class=job.job_class, owner=record.owner,
        )  # fmt: skip

    async def retire(self, job_id: str) -> bool:
        self._check()
        if self.dead.pop(job_id, None) is None:
            return False
        self.jobs[job_id].payload = b""
        return True

    # ---- the keeper

    def expire(self) -> int | None:
        self._check()
        overdue = [
            job_id
            for job_id, job in self.jobs.items()
            if not job.record.state.is_terminal and job.record.deadline_us // 1000 <= self.now_ms
        ]
        for job_id in overdue:
            self._cut_short(job_id, "deadline_exceeded", "the deadline passed before the job was done")
        for key in {(self.jobs[each].record.model, self.jobs[each].record.version) for each in overdue}:
            self._top_up(self.lanes[key])
        return len(overdue)

    def lapse(self, *, after_outage: bool = False, is_new: bool = False) -> tuple[int, int] | None:
        self._check()
        if after_outage:
            self.spared |= {token for token, end in self.leases.items() if end <= self.now_ms + self.lease_ms}
        if after_outage or is_new:
            self.leases = {token: max(end, self.now_ms + self.lease_ms) for token, end in self.leases.items()}
        dead = [token for token, end in self.leases.items() if end <= self.now_ms]
        for token in dead:
            for job_id in sorted(self.claims.pop(token)):
                if job_id in self.jobs:
                    self._give_back(self.jobs[job_id], token, is_free=token in self.spared)
            del self.leases[token]
        self.spared &= self.leases.keys()
        old_ms = self.now_ms - int(DEAD_TTL_S * 1000)
        self.dead = {job_id: at_ms for job_id, at_ms in self.dead.items() if at_ms > old_ms}
        return len(dead), sum(self._top_up(lane) for lane in self.lanes.values())

    def _put_back_unheard(self, job_id: str, token: str) -> None:
        job = self._known(job_id)
        if job is not None and job.token == token:
            job.token = ""
            job.record = replace(job.record, state=State.QUEUED, attempts=job.record.attempts - 1)
            self.lanes[job.record.model, job.record.version].alone.append(job_id)

    def _give_back(self, job: _Job, token: str, *, is_free: bool) -> None:
        if job.token != token or job.record.state is not State.RUNNING:
            return
        if is_free:
            self._put_back_unheard(job.record.id, token)
        elif job.record.attempts >= self.max_attempts:
            error = f"the worker died {job.record.attempts} times while it held this job"
            payload = job.payload
            self._finish(
                job,
                {"state": State.FAILED, "error_code": "worker_lost", "error": error, "completed_us": self.now_us},
            )
            job.payload = payload
            job.forget_us = self.now_us + int(DEAD_TTL_S * 1e6)
            self.dead[job.record.id] = self.now_ms
        else:
            job.token = ""
            job.record = replace(job.record, state=State.QUEUED)
            self.lanes[job.record.model, job.record.version].alone.append(job.record.id)

    # ---- shared

    def _known(self, job_id: str) -> _Job | None:
        job = self.jobs.get(job_id)
        if job and job.forget_us is not None and job.forget_us <= self.now_us:
            del self.jobs[job_id]
            return None
        return job

    def _backlog(self, lane: _Lane) -> tuple[int, int]:
        ids = [*lane.alone, *(job_id for waiting in lane.waiting.values() for job_id in waiting)]
        return sum(self.jobs[each].record.rows for each in ids), sum(len(self.jobs[each].payload) for each in ids)

    def _alive(self, lane: _Lane) -> int:
        return sum(1 for beat_ms in lane.live.values() if beat_ms >= self.now_ms - LIVE_MS)

    def _top_up(self, lane: _Lane) -> int:
        rows = self._backlog(lane)[0]
        want = min(max(1, self._alive(lane)), -(-rows // lane.limits.max_rows))
        missing = 0 if lane.is_paused else max(0, want - len(lane.tickets))
        lane.tickets += [uuid.uuid4().hex for _ in range(missing)]
        return missing

    def _finish(self, job: _Job, changes: dict[str, Any]) -> None:
        job.record = replace(job.record, **changes, input=None)
        job.payload = b""
        job.token = ""
        job.forget_us = self.now_us + int(self.limits.result_ttl_s * 1e6)

    def _cut_short(self, job_id: str, code: str, error: str) -> None:
        job = self.jobs[job_id]
        if job.record.state.is_terminal:
            return
        lane = self.lanes[job.record.model, job.record.version]
        for ids in (lane.alone, *lane.waiting.values()):
            if job_id in ids:
                ids.remove(job_id)
        changes = {"state": State.CANCELED, "error_code": code, "error": error, "completed_us": self.now_us}
        self._finish(job, changes)
        self._publish({job_id: changes})

    def _publish(self, news: dict[str, dict[str, Any]]) -> None:
        for listener in self._listeners if news else ():
            listener.put_nowait(news)
