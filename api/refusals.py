"""Why the queue did not take a job, and when it is worth asking again."""

import math

from api.catalog import Catalog, Entry
from ferry.errors import FerryError, InvalidInputError, QueueDrainingError, QueueFullError, RateLimitedError
from ferry.jobs import JobLimits, Receipt, Submission, Verdict
from ferry.queue.keys import MEMORY_FULL_PERCENT
from ferry.settings import Settings

# A full queue is worth asking again when this share of what waits is gone: at the very edge the next is refused too.
EASED_SHARE = 0.1
# A time to come again in whole seconds; beyond the longest nobody waits for it anyway.
LEAST_RETRY_AFTER_S, MOST_RETRY_AFTER_S = 1, 600
# Where nothing drains the queue, or it is not known how fast.
UNKNOWN_RETRY_AFTER_S = 5
# An operator empties a queue, or results must expire before there is memory.
LATER_RETRY_AFTER_S = 30


def check_fits_at_all(settings: Settings, submission: Submission) -> None:
    """Refuse a job that an empty queue would not take.

    Raises:
        InvalidInputError: naming the limit; asking again would never help.
    """
    size = len(submission.payload)
    most_rows = min(settings.max_waiting_rows, settings.max_rows_in_all)
    most_bytes = min(settings.max_waiting_bytes, settings.max_bytes_in_all)
    if submission.rows > most_rows or size > most_bytes:
        remedy = (
            "send them as several jobs"
            if submission.rows > 1
            else "raise FERRY_MAX_WAITING_BYTES and FERRY_MAX_BYTES_IN_ALL"
        )
        raise InvalidInputError(
            f"{submission.rows} rows of {size} bytes are more than may wait at all ({most_rows} rows, {most_bytes} "
            f"bytes); {remedy}"
        )


def refusal(settings: Settings, catalog: Catalog, entry: Entry, submission: Submission, receipt: Receipt) -> FerryError:
    """Return the error for a receipt that is a refusal for now."""
    ref, waiting = entry.manifest.ref, receipt.waiting
    if submission.limits and receipt.verdict in (Verdict.OVER_RATE, Verdict.OVER_UNFINISHED):
        return over_limits(submission.limits, is_rate=receipt.verdict is Verdict.OVER_RATE, wait_ms=waiting)
    if receipt.verdict is Verdict.DRAINING:
        detail = f"{ref} takes no new jobs: an operator lets its queue run empty (ferry queue resume {ref})"
        return QueueDrainingError(detail, retry_after_s=LATER_RETRY_AFTER_S)
    if receipt.verdict is Verdict.NO_MEMORY:
        detail = (
            f"Redis has used {MEMORY_FULL_PERCENT} % of its memory and keeps the rest for results; finished jobs free "
            f"it as they expire (FERRY_RESULT_TTL_S={settings.result_ttl_s:g}), or raise its maxmemory"
        )
        return QueueFullError(detail, retry_after_s=LATER_RETRY_AFTER_S)
    if receipt.verdict is Verdict.FULL_IN_ALL:
        detail = (
            f"{waiting} rows wait for all models together; the limits are {settings.max_rows_in_all} rows and "
            f"{settings.max_bytes_in_all} bytes"
        )
        return QueueFullError(detail, retry_after_s=retry_after_s(submission, waiting, catalog.drain_in_all()))
    detail = (
        f"{ref} has {waiting} rows waiting; the limits are {settings.max_waiting_rows} rows and "
        f"{settings.max_waiting_bytes} bytes"
    )
    return QueueFullError(detail, retry_after_s=retry_after_s(submission, waiting, catalog.drain_of(entry)))


def over_limits(limits: JobLimits, *, is_rate: bool, wait_ms: int = 0) -> RateLimitedError:
    """Return the error for what an API key may not send now; `wait_ms` until its rate allows another."""
    if is_rate:
        detail = f"API key {limits.key_id} may send {limits.rate_per_s:g} jobs a second; one of many rows is one job"
        return RateLimitedError(detail, retry_after_s=max(LEAST_RETRY_AFTER_S, math.ceil(wait_ms / 1000)))
    detail = f"API key {limits.key_id} has {limits.max_unfinished} jobs waiting or running, which is its limit"
    return RateLimitedError(detail, retry_after_s=LEAST_RETRY_AFTER_S)


def retry_after_s(submission: Submission, waiting_rows: int, rows_a_s: float) -> int:
    """Return seconds until the queue has eased, at the rate it drains now."""
    if rows_a_s <= 0:
        return UNKNOWN_RETRY_AFTER_S
    seconds = math.ceil(max(submission.rows, EASED_SHARE * waiting_rows) / rows_a_s)
    return min(max(seconds, LEAST_RETRY_AFTER_S), MOST_RETRY_AFTER_S)
