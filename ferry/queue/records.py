"""Replies of Redis as the types of `ferry.jobs`. Pure functions: no connection, no clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgpack

from ferry.jobs import ClaimedJob, JobRecord, LimitsLeft, Outcome, Receipt, State, Submission, Verdict
from ferry.profile import Tuning
from ferry.queue.compression import decompress
from ferry.queue.keys import FIELDS, SMALL_INPUT_BYTES
from ferry.queue.versions import models_from_keys


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker hears when it beats, by (name, version) of the models it serves.

    unknown: models to register again. tuned: what an operator set live. unloaded: what no worker is to serve. other:
    models whose registered files are others than this worker's. switched: why a model runs one job at a time by now.
    """

    unknown: frozenset[tuple[str, str]]
    tuned: Mapping[tuple[str, str], Tuning]
    unloaded: frozenset[tuple[str, str]] = frozenset()
    other: frozenset[tuple[str, str]] = frozenset()
    switched: Mapping[tuple[str, str], str] = field(default_factory=dict)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8")


def _batch(raw: bytes) -> dict[str, Any]:
    batch_id, rows, jobs, run_us = raw.decode("ascii").split(" ")
    return {"batch_id": batch_id, "batch_rows": int(rows), "batch_jobs": int(jobs), "run_us": int(run_us)}


def _model(raw: bytes) -> dict[str, Any]:
    name, _, version = raw.decode("ascii").rpartition(":")
    return {"model": name, "version": version}


# How each of FIELDS is read; those of _SPLIT hold several fields of a record.
_READ: dict[str, Callable[[bytes], Any]] = {
    "state": lambda raw: State(_text(raw)), "rows": int, "single": lambda raw: raw == b"1", "created_us": int,
    "deadline_us": int, "attempts": int, "started_us": int, "completed_us": int, "output": bytes, "error_code": _text,
    "error": _text, "replay_of": _text, "owner": _text,
}  # fmt: skip
_SPLIT: dict[str, Callable[[bytes], dict[str, Any]]] = {"model": _model, "batch": _batch}
_READ_RAW = {name.encode("ascii"): (name, read) for name, read in _READ.items()}
_SPLIT_RAW = {name.encode("ascii"): split for name, split in _SPLIT.items()}


def record_from_fields(job_id: str, values: Sequence[bytes | None], input_: bytes | None = None) -> JobRecord | None:
    """Read the reply of HMGET over FIELDS; None when there is no such job."""
    known: dict[str, Any] = {"attempts": 0}
    for name, raw in zip(FIELDS, values, strict=True):
        if raw is None:
            continue
        if split := _SPLIT.get(name):
            known.update(split(raw))
        else:
            known[name] = _READ[name](raw)
    return JobRecord(id=job_id, **known, input=input_) if "state" in known else None


def echoed_input(stored: bytes) -> bytes | None:
    """Return what is shown of an input of which SMALL_INPUT_BYTES + 1 stored bytes were read: all of it, or nothing."""
    if not 0 < len(stored) <= SMALL_INPUT_BYTES:
        return None
    raw = decompress(stored)
    return raw if len(raw) <= SMALL_INPUT_BYTES else None


def changes_from_news(fields: Sequence[bytes]) -> dict[str, Any]:
    """Read the flat field list of a publish; empty when the waiter must read the job itself."""
    changes: dict[str, Any] = {}
    for name, raw in zip(fields[::2], fields[1::2], strict=True):
        if read := _READ_RAW.get(name):
            changes[read[0]] = read[1](raw)
        elif split := _SPLIT_RAW.get(name):
            changes.update(split(raw))
    return changes


def news_from_message(message: bytes) -> Mapping[str, dict[str, Any]]:
    """Read a publish of SETTLED: what changed of each job that became terminal, by id."""
    news: dict[str, dict[str, Any]] = {}
    for fields, job_ids, outputs in msgpack.unpackb(message, raw=True):
        shared = changes_from_news(fields or ())
        if outputs:
            for job_id, output in zip(job_ids, outputs, strict=True):
                news[job_id.decode("ascii")] = {**shared, "output": output}
        else:
            news.update((job_id.decode("ascii"), shared) for job_id in job_ids)
    return news


def receipts_from_reply(submissions: Sequence[Submission], reply: Sequence[bytes | int]) -> list[Receipt]:
    """Read the reply of the submit script."""
    accepted_us = int(reply[0])
    n_parts = 1 + 2 * len(submissions)
    if len(reply) < n_parts or (len(reply) - n_parts) % 4:
        raise ValueError(f"{len(submissions)} submissions, a reply of {len(reply)} parts")
    left = _limits_left(reply[n_parts:])
    jobs = zip(submissions, reply[1:n_parts:2], reply[2:n_parts:2], strict=True)
    return [
        Receipt(
            Verdict(_ascii(verdict)),
            accepted_us,
            int(waiting),
            left.get(job.limits.packed()) if left and job.limits else None,
        )
        for job, verdict, waiting in jobs
    ]


def _limits_left(parts: Sequence[bytes | int]) -> dict[str, LimitsLeft]:
    """Return the rest of limits, by the text that says them."""
    known = zip(*(parts[n::4] for n in range(4)), strict=True)
    return {
        _ascii(text): LimitsLeft(
            None if int(rate) < 0 else int(rate), None if int(unfinished) < 0 else int(unfinished), int(wait_ms)
        )
        for text, rate, wait_ms, unfinished in known
    }


def claimed_from_reply(reply: Sequence[Any], large: Mapping[bytes, bytes | None]) -> tuple[ClaimedJob, ...]:
    """Read the reply of the claim script; `large` has the inputs by id that it left out (see `large_inputs`)."""
    if not reply:
        return ()
    started_us = int(reply[0])
    parts = zip(*(reply[n::6] for n in range(2, 8)), strict=True)
    return tuple(
        ClaimedJob(
            job_id.decode("ascii"), int(rows), _input(large.get(job_id) if stored is None else stored), int(attempt),
            started_us, origin.decode("utf-8", "replace"), int(created_ms),
        )
        for job_id, rows, attempt, stored, origin, created_ms in parts
    )  # fmt: skip


def _input(stored: bytes | None) -> bytes:
    """Return a claimed job's input. One that is gone or damaged is empty: its job fails when it is taken apart."""
    try:
        return decompress(_bytes(stored or b""))
    except RuntimeError:
        return b""


def large_inputs(reply: Sequence[Any]) -> list[bytes]:
    """Return the ids in a claim's reply whose inputs must be read by themselves."""
    return [job_id for job_id, payload in zip(reply[2::6], reply[5::6], strict=True) if payload is None]


_SHARED = attrgetter("batch_id", "attempt", "started_us", "error_code", "error")


def settle_groups(outcomes: Sequence[Outcome]) -> list[bytes | str | int]:
    """Return the arguments of the settle script from its groups on: neighbours that share all but id and output."""
    args: list[bytes | str | int] = []
    for (batch_id, attempt, started_us, code, error), group in groupby(outcomes, key=_SHARED):
        jobs = list(group)
        batch = f"{batch_id} {jobs[0].batch_rows} {jobs[0].batch_jobs} {jobs[0].run_us}"
        args += (len(jobs), batch, attempt, started_us, code, error)
        for outcome in jobs:
            args += (outcome.job_id, outcome.output or b"")
    return args


def tuning_from_fields(max_rows: bytes | None, max_wait_ms: bytes | None) -> Tuning:
    """Read a model's tuned_max_rows and tuned_max_wait_ms."""
    return Tuning(
        max_rows=None if max_rows is None else int(max_rows),
        max_wait_ms=None if max_wait_ms is None else float(max_wait_ms),
    )


# States of a model in the reply of the beat script.
_TO_REGISTER, _OTHER_DIGEST = 0, 2


def heartbeat_from_reply(models: Sequence[tuple[str, str]], reply: Sequence[Sequence[Any]]) -> Heartbeat:
    """Read the reply of the beat script."""
    states: dict[int, set[tuple[str, str]]] = {_TO_REGISTER: set(), _OTHER_DIGEST: set()}
    tuned, switched = {}, {}
    *answers, unloaded = reply
    for model, (state, max_rows, max_wait_ms, reason) in zip(models, answers, strict=True):
        states.get(state, set()).add(model)
        tuned[model] = tuning_from_fields(max_rows, max_wait_ms)
        if reason is not None:
            switched[model] = reason.decode("utf-8", "replace")
    return Heartbeat(
        frozenset(states[_TO_REGISTER]),
        tuned,
        models_from_keys(unloaded),
        frozenset(states[_OTHER_DIGEST]),
        switched,
    )


def _ascii(raw: bytes | int) -> str:
    return _bytes(raw).decode("ascii")


def _bytes(raw: bytes | int) -> bytes:
    if not isinstance(raw, bytes):
        raise TypeError(f"expected bytes from Redis, got {raw!r}")
    return raw
