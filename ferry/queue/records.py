"""Replies of Redis as the types of `ferry.jobs`. Pure functions: no connection, no clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from ferry.jobs import ClaimedJob, JobRecord, Receipt, State, Submission, Verdict
from ferry.profile import Tuning
from ferry.queue.keys import FIELDS

_RAW = {"input", "output"}
_INTS = {
    "rows", "created_us", "deadline_us", "attempts", "started_us", "completed_us", "run_us", "batch_rows", "batch_jobs",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker hears when it beats, by (name, version) of the models it serves.

    unknown: models to register again. tuned: what an operator set live.
    """

    unknown: frozenset[tuple[str, str]]
    tuned: Mapping[tuple[str, str], Tuning]


def _value(field: str, raw: bytes | int) -> Any:
    if field in _RAW:
        return raw
    if field in _INTS:
        return int(raw)
    text = raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)
    if field == "single":
        return text == "1"
    return State(text) if field == "state" else text


def record_from_fields(job_id: str, values: Sequence[bytes | None]) -> JobRecord | None:
    """Read the reply of HMGET over FIELDS; None when there is no such job."""
    known = {field: _value(field, raw) for field, raw in zip(FIELDS, values, strict=True) if raw is not None}
    if "state" not in known:
        return None
    known.setdefault("attempts", 0)
    return JobRecord(id=job_id, **known)


def changes_from_news(fields: Sequence[bytes]) -> dict[str, Any]:
    """Read one job's flat field list of a publish; empty when the waiter must read the job itself."""
    pairs = zip(fields[::2], fields[1::2], strict=True)
    named = ((name.decode("ascii"), raw) for name, raw in pairs)
    return {name: _value(name, raw) for name, raw in named if name in FIELDS}


def news_from_message(message: bytes) -> Mapping[str, dict[str, Any]]:
    """Read a publish of SETTLED: what changed of each job that became terminal, by id."""
    unpacked = msgpack.unpackb(message, raw=True)
    return {job_id.decode("ascii"): changes_from_news(fields or ()) for job_id, fields in unpacked}


def receipts_from_reply(submissions: Sequence[Submission], reply: Sequence[bytes | int]) -> list[Receipt]:
    """Read the reply of the submit script."""
    accepted_us = int(reply[0])
    pairs = zip(reply[1::2], reply[2::2], strict=True)
    receipts = [Receipt(Verdict(_ascii(verdict)), accepted_us, int(waiting)) for verdict, waiting in pairs]
    if len(receipts) != len(submissions):
        raise ValueError(f"{len(submissions)} submissions, {len(receipts)} verdicts")
    return receipts


def claimed_from_reply(reply: Sequence[Sequence[bytes | int]]) -> tuple[ClaimedJob, ...]:
    """Read the reply of the claim script."""
    return tuple(
        ClaimedJob(id=_ascii(job_id), rows=int(rows), attempt=int(attempt), payload=_bytes(payload))
        for job_id, rows, attempt, payload in reply
    )


def tuning_from_fields(max_rows: bytes | None, max_wait_ms: bytes | None) -> Tuning:
    """Read a model's tuned_max_rows and tuned_max_wait_ms."""
    return Tuning(
        max_rows=None if max_rows is None else int(max_rows),
        max_wait_ms=None if max_wait_ms is None else float(max_wait_ms),
    )


def heartbeat_from_reply(models: Sequence[tuple[str, str]], reply: Sequence[Sequence[Any]]) -> Heartbeat:
    """Read the reply of the beat script."""
    unknown, tuned = set(), {}
    for model, (is_known, max_rows, max_wait_ms) in zip(models, reply, strict=True):
        if not is_known:
            unknown.add(model)
        tuned[model] = tuning_from_fields(max_rows, max_wait_ms)
    return Heartbeat(frozenset(unknown), tuned)


def _ascii(raw: bytes | int) -> str:
    return _bytes(raw).decode("ascii")


def _bytes(raw: bytes | int) -> bytes:
    if not isinstance(raw, bytes):
        raise TypeError(f"expected bytes from Redis, got {raw!r}")
    return raw
