"""The load of the fleet as the JSON that clients read. Pure functions."""

from typing import Any

from api.load_feed import Pace
from api.wire import timestamp
from ferry.queue.load import ModelLoad


def stats(pace: Pace, *, flower_url: str) -> dict[str, Any]:
    """Return what `/v1/stats` shows. Rates are null before there are two readings, and over `over_s` seconds."""
    now, before = pace.now, pace.before
    over_s = (now.time_us - before.time_us) / 1e6 if before else 0.0
    earlier = {(each.name, each.version): each for each in before.models} if before else {}
    models = [_model(each, earlier.get((each.name, each.version)), over_s) for each in now.models]
    return {
        "object": "stats",
        "time": timestamp(now.time_us),
        "over_s": round(over_s, 3) if before else None,
        "running_claims": now.running_claims,
        "dead_letters": now.dead_letters,
        "flower_url": flower_url,
        "models": models,
    }


def _model(now: ModelLoad, before: ModelLoad | None, over_s: float) -> dict[str, Any]:
    jobs_per_s = rows_per_s = batches_per_s = rows_per_batch = None
    if before and over_s > 0:
        # Counters begin again where Redis was wiped.
        jobs = max(0, now.jobs_finished - before.jobs_finished)
        rows, batches = max(0, now.rows - before.rows), max(0, now.batches - before.batches)
        shared = max(0, rows - (now.bulk_rows - before.bulk_rows))
        jobs_per_s, rows_per_s, batches_per_s = (round(each / over_s, 3) for each in (jobs, rows, batches))
        rows_per_batch = round(shared / batches, 3) if batches else None
    return {
        "name": now.name,
        "version": now.version,
        "workers": now.workers,
        "waiting": dict(now.waiting),
        "waiting_jobs": sum(now.waiting.values()),
        "waiting_rows": now.waiting_rows,
        "oldest_s": round(now.oldest_s, 3),
        "jobs_per_s": jobs_per_s,
        "rows_per_s": rows_per_s,
        "batches_per_s": batches_per_s,
        "rows_per_batch": rows_per_batch,
        "jobs": dict(now.jobs),
        "rows": now.rows,
        "bulk_rows": now.bulk_rows,
        "batches": now.batches,
    }
