"""Bulk batches as JSON: OpenAI's Batch, with Ferry's progress and finer times beside. Pure functions."""

from typing import Any

from ferry.bulk.batch_records import BatchRecord


def batch(record: BatchRecord) -> dict[str, Any]:
    """Return a batch as its clients read it."""
    return {
        "id": record.id,
        "object": "batch",
        "endpoint": record.endpoint,
        "model": record.model,
        "model_version": record.version,
        "errors": _errors(record),
        "notes": list(record.notes),
        "input_file_id": record.input_file_id,
        "completion_window": record.completion_window,
        "status": record.status.value,
        "output_file_id": record.output_file_id,
        "error_file_id": record.error_file_id,
        "created_at": _seconds(record.created_us),
        "in_progress_at": _seconds(record.in_progress_us),
        "expires_at": _seconds(record.expires_us),
        "finalizing_at": _seconds(record.finalizing_us),
        "completed_at": _seconds(record.completed_us),
        "failed_at": _seconds(record.failed_us),
        "expired_at": _seconds(record.expired_us),
        "cancelling_at": _seconds(record.cancelling_us),
        "cancelled_at": _seconds(record.cancelled_us),
        "request_counts": {"total": record.total or 0, "completed": record.completed, "failed": record.failed},
        "metadata": dict(record.metadata) or None,
        "format": record.format,
        "output_format": record.output_format,
        "progress": {
            "rows_done": record.rows_done,
            "rows_per_s": record.rate,
            "eta_s": None if record.eta_s is None else round(record.eta_s, 3),
            "chunks": record.chunks,
            "chunks_done": record.done,
        },
        "timings": {
            "created": _fine(record.created_us),
            "in_progress": _fine(record.in_progress_us),
            "finalizing": _fine(record.finalizing_us),
            "ended": _fine(record.ended_us),
        },
    }


def _errors(record: BatchRecord) -> dict[str, Any] | None:
    if not record.errors:
        return None
    data = [
        {"code": error.code, "message": error.message, "param": error.param, "line": error.line}
        for error in record.errors
    ]
    return {"object": "list", "data": data}


def _seconds(time_us: int | None) -> int | None:
    return None if time_us is None else time_us // 1_000_000


def _fine(time_us: int | None) -> float | None:
    return None if time_us is None else time_us / 1_000_000
