"""From a checked input to an accepted job, and from there to its end. What every submitting route shares."""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

from api.catalog import Entry
from api.context import Context
from api.job_bodies import PackedRows
from api.refusals import check_fits_at_all, refusal
from api.services import Services
from api.terms import ORDINARY, Terms
from ferry import job_ids
from ferry.errors import (
    FerryError,
    InvalidInputError,
    ModelError,
    NotFoundError,
    NoWorkerError,
    QueueUnavailableError,
    ReusedError,
    ShuttingDownError,
    WaitTimeoutError,
)
from ferry.jobs import DEADLINE_EXCEEDED, JobRecord, Receipt, State, Submission, Verdict
from ferry.queue.keys import SMALL_INPUT_BYTES


class JobFailedError(ModelError):
    """The job ended without an answer."""

    title = "Job failed"


async def run(
    services: Services,
    entry: Entry,
    rows: PackedRows,
    *,
    context: Context,
    wait_s: float | None,
    terms: Terms = ORDINARY,
) -> JobRecord:
    """Submit one job; with `wait_s`, return it as soon as it is done, or as it was last known when the time is up.

    Raises:
        QueueFullError, QueueDrainingError, QueueUnavailableError: it was not accepted.
        InvalidInputError: it is more than may wait at all.
    """
    submission = _submission(services, entry, rows, terms, context)
    if wait_s is None:
        return _record(services, submission, await _submit(services, entry, submission, context))
    with services.waiters.expecting(submission.id) as news:
        record = _record(services, submission, await _submit(services, entry, submission, context))
        return await services.waiters.finish(record, news, wait_s)


async def run_once(
    services: Services,
    entry: Entry,
    rows: PackedRows,
    *,
    context: Context,
    wait_s: float | None,
    terms: Terms,
    own_id: str,
    is_pinned: bool = True,
) -> tuple[JobRecord, bool]:
    """Submit a job under an id that stands for it; returns it and whether it was known already. Else as `run`.

    `own_id`: what its owner calls it; another owner's job of the same id is another job. `is_pinned`: the client named
    the version itself, so that another one is another job.

    Raises:
        ReusedError: the id is known, and what was asked for under it is not the same.
    """
    submission = _submission(services, entry, rows, terms, context, own_id=own_id)
    job_id, submission = submission.id, replace(submission, fingerprint=_fingerprint(submission))
    with services.waiters.expecting(job_id) as news:
        receipt = await _submit(services, entry, submission, context)
        if receipt.verdict is Verdict.DIFFERS and not is_pinned:
            receipt = await _submit_as_known(services, entry, submission, context) or receipt
        if receipt.verdict is Verdict.DIFFERS:
            raise ReusedError(f"job {own_id} was asked for with another body or terms; choose another key or id")
        is_known = receipt.verdict is Verdict.EXISTS
        record = await services.queue.read(job_id) if is_known else _record(services, submission, receipt)
        if record is None:
            raise QueueUnavailableError(f"job {own_id} was forgotten in this moment; send it again", retry_after_s=1)
        if wait_s and not record.state.is_terminal:
            record = await services.waiters.finish(record, news, wait_s)
    return record, is_known


async def run_many(
    services: Services,
    entry: Entry,
    rows: Sequence[PackedRows],
    own_ids: Sequence[str],
    *,
    context: Context,
    terms: Terms,
    is_pinned: bool,
) -> list[JobRecord | FerryError]:
    """Submit jobs under ids that stand for them; returns each, without its input, or why it was not accepted.

    They share round trips to Redis, as all that are submitted at one moment do.

    Raises:
        FerryError: none was accepted; why the first was not.
    """

    async def run_one(each: PackedRows, own_id: str) -> JobRecord | FerryError:
        try:
            record, _ = await run_once(
                services, entry, each, context=context, wait_s=None, terms=terms, own_id=own_id, is_pinned=is_pinned
            )
        except FerryError as error:
            return error
        return replace(record, input=None)

    jobs = await asyncio.gather(*map(run_one, rows, own_ids))
    errors = [job for job in jobs if isinstance(job, FerryError)]
    if len(errors) == len(jobs):
        raise errors[0]
    return jobs


async def replay(services: Services, job_id: str, context: Context) -> JobRecord:
    """Submit a dead letter's input as a new job, and take the letter off the list. Sent twice it makes one job.

    Raises:
        NotFoundError: there is no such letter.
        QueueFullError, QueueDrainingError, QueueUnavailableError: it was not accepted; the letter stays.
    """
    submission = await services.dead_letters.replay_of(job_id)
    if submission is None:
        raise NotFoundError(f"no dead letter {job_id[:64]!r}; GET /v1/dead-letters lists them")
    entry = await services.catalog.find(submission.model, submission.version)
    submission = replace(submission, deadline_s=entry.manifest.deadline_s or services.settings.job_deadline_s)
    receipt = await _submit(services, entry, submission, context)
    await services.dead_letters.retire(job_id)
    if receipt.verdict is Verdict.EXISTS:
        known = await services.queue.read(submission.id)
        return known or _record(services, submission, receipt)
    return _record(services, submission, receipt)


def _fingerprint(submission: Submission) -> str:
    """Return what a job asks for, in short: its model, rows and terms."""
    asked: tuple[object, ...] = (
        submission.model, submission.version, submission.single, submission.job_class, submission.deadline_s,
    )  # fmt: skip
    return hashlib.sha256(repr(asked).encode() + submission.payload).hexdigest()[:32]


async def live_entry(services: Services, entry: Entry) -> Entry:
    """Return the entry as it stands now, for callers who must have an answer and not only a job.

    Raises:
        NoWorkerError: nobody alive serves it.
    """
    if entry.is_unloaded:
        raise NoWorkerError(
            f"{entry.manifest.ref} is unloaded; `ferry models load {entry.manifest.ref}` serves it again"
        )
    if not entry.live_workers:
        await services.catalog.look_again()
        entry = await services.catalog.find(entry.manifest.name, entry.manifest.version)
    if not entry.live_workers:
        why = f", since it is broken: {entry.broken}" if entry.broken else ""
        raise NoWorkerError(
            f"no live worker serves {entry.manifest.ref}{why}; POST /v1/predictions would queue the job"
        )
    return entry


def output_of(services: Services, record: JobRecord, wait_s: float, *, pointer: str, prefix: str) -> bytes:
    """Return the output of a job that was waited for.

    pointer: where its input is in the request. prefix: of paths, as the client of the request sees them.

    Raises:
        ShuttingDownError: it is not done yet, and this process ends.
        WaitTimeoutError: it is not done yet, or its deadline passed.
        InvalidInputError, JobFailedError: it ended without an output.
    """
    where = f"{prefix}/v1/predictions/{job_ids.own_id(record.id)}"
    if not record.state.is_terminal:
        if services.waiters.is_released:
            raise ShuttingDownError(f"the server is restarting; the job goes on, poll {where}")
        raise WaitTimeoutError(f"not done within {wait_s:g} s; the job goes on, poll {where}")
    if record.output is not None:
        return record.output
    detail = f"the job ended {record.state.value}: {record.error} (see {where})"
    if record.error_code == InvalidInputError.code:
        raise InvalidInputError.at(pointer, detail)
    if record.error_code == DEADLINE_EXCEEDED:
        raise WaitTimeoutError(detail)
    raise JobFailedError(detail)


def _submission(
    services: Services, entry: Entry, rows: PackedRows, terms: Terms, context: Context, *, own_id: str = ""
) -> Submission:
    """Return the job of a request, under the caller's own id for it or, where there is none, a new one."""
    manifest = entry.manifest
    deadline_s = terms.deadline_s or manifest.deadline_s or services.settings.job_deadline_s
    # A job without an id of its client's has its request's, so that one id finds it in every log.
    context.work_id = job_id = job_ids.scoped_id(context.caller.owner, own_id or context.new_job_id())
    return Submission(
        id=job_id,
        model=manifest.name,
        version=manifest.version,
        rows=rows.n_rows,
        payload=rows.payload,
        single=rows.single,
        job_class=terms.job_class,
        deadline_s=deadline_s,
        owner=context.caller.owner,
        origin=context.origin.packed(job_id),
        limits=context.limits,
    )


async def _submit(services: Services, entry: Entry, submission: Submission, context: Context) -> Receipt:
    receipt = await services.submitter.submit(submission)
    if receipt.verdict is Verdict.UNREGISTERED:
        await services.catalog.register(entry)
        receipt = await services.submitter.submit(submission)
    if receipt.left:
        context.left = receipt.left
    if receipt.verdict is Verdict.UNREGISTERED:
        raise QueueUnavailableError(f"Redis forgot {entry.manifest.ref} twice; is it being wiped?", retry_after_s=1)
    if receipt.verdict in (Verdict.ACCEPTED, Verdict.EXISTS, Verdict.DIFFERS):
        return receipt
    check_fits_at_all(services.settings, submission)
    raise refusal(services.settings, services.catalog, entry, submission, receipt)


async def _submit_as_known(
    services: Services, entry: Entry, submission: Submission, context: Context
) -> Receipt | None:
    """Ask again for a known job as of the version that it was made for: its alias may have moved since."""
    known = await services.queue.read(submission.id)
    if known is None or known.model != submission.model or known.version == submission.version:
        return None
    asked = replace(submission, version=known.version)
    return await _submit(services, entry, replace(asked, fingerprint=_fingerprint(asked)), context)


def _record(services: Services, submission: Submission, receipt: Receipt) -> JobRecord:
    """Return the job as it stands right after it was accepted, without asking Redis."""
    deadline_s = submission.deadline_s or services.settings.job_deadline_s
    deadline_us = receipt.accepted_us // 1000 * 1000 + max(1, math.floor(deadline_s * 1000)) * 1000
    return JobRecord(
        id=submission.id,
        model=submission.model,
        version=submission.version,
        state=State.QUEUED,
        rows=submission.rows,
        single=submission.single,
        created_us=receipt.accepted_us,
        deadline_us=deadline_us,
        input=submission.payload if len(submission.payload) <= SMALL_INPUT_BYTES else None,
        replay_of=submission.replay_of or None,
        owner=submission.owner,
    )
