"""What the API's answers about files and bulk batches mean to the Python client. Sends nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from ferry.client_answers import readable

FINAL_BATCH_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class File:
    """A stored file; `raw` is the whole answer. expires_at, sha256: None where the server does not say."""

    id: str
    filename: str
    size_bytes: int
    purpose: str
    created_at: datetime | None = None
    expires_at: datetime | None = None
    status: str = ""
    sha256: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class BatchFault:
    """One thing wrong with a batch's input file. line: 1-based line or row, where there is one."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of a batch: all of them (0 until they are counted), and those that are settled."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is; None where it cannot be said yet. rows_done: rows of running chunks included."""

    rows_done: int = 0
    rows_per_s: float | None = None
    eta_s: float | None = None
    chunks: int | None = None
    chunks_done: int = 0


@dataclass(frozen=True, slots=True)
class BatchTimings:
    """When a batch went on, in seconds since 1970 by the server's clock; None where it has not."""

    created: float | None = None
    in_progress: float | None = None
    finalizing: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A bulk batch as the API last told of it; None where it has not happened yet. `raw` is the whole answer.

    errors: why it failed. notes: what the check of the file left out or decided.
    `completed` says that it was worked through, not that every row succeeded: see `counts`.
    """

    id: str
    status: str
    endpoint: str
    input_file_id: str
    model: str | None = None
    model_version: str | None = None
    completion_window: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: datetime | None = None
    in_progress_at: datetime | None = None
    expires_at: datetime | None = None
    finalizing_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    expired_at: datetime | None = None
    cancelling_at: datetime | None = None
    cancelled_at: datetime | None = None
    counts: RowCounts = RowCounts()
    progress: BatchProgress = BatchProgress()
    timings: BatchTimings = BatchTimings()
    metadata: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[BatchFault, ...] = ()
    notes: tuple[str, ...] = ()
    format: str | None = None
    output_format: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_done(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL_BATCH_STATUSES

    @property
    def has_succeeded(self) -> bool:
        """Whether every row was worked through and none failed."""
        return self.status == "completed" and not self.counts.failed


_TIMES = (
    "created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
    "cancelling_at", "cancelled_at",
)  # fmt: skip
_TEXTS = (
    "model", "model_version", "completion_window", "output_file_id", "error_file_id", "format", "output_format",
)  # fmt: skip


def read_file(response: httpx.Response) -> File:
    """Read one file's record."""
    with readable(response):
        body = orjson.loads(response.content)
        return File(
            id=body["id"],
            filename=body["filename"],
            size_bytes=int(body["bytes"]),
            purpose=body["purpose"],
            created_at=_time_of(body.get("created_at")),
            expires_at=_time_of(body.get("expires_at")),
            status=body.get("status") or "",
            sha256=body.get("sha256"),
            raw=body,
        )


def read_batch(response: httpx.Response) -> Batch:
    """Read one batch."""
    with readable(response):
        return _batch_of(orjson.loads(response.content))


def read_batches(response: httpx.Response) -> tuple[Batch, ...]:
    """Read a page of batches."""
    with readable(response):
        return tuple(_batch_of(entry) for entry in orjson.loads(response.content)["data"])


def _batch_of(body: Mapping[str, Any]) -> Batch:
    counts, progress, timings = (body.get(name) or {} for name in ("request_counts", "progress", "timings"))
    errors = (body.get("errors") or {}).get("data") or ()
    same_named: dict[str, Any] = {name: body.get(name) for name in _TEXTS}
    same_named |= {name: _time_of(body.get(name)) for name in _TIMES}
    return Batch(
        id=body["id"],
        status=body["status"],
        endpoint=body["endpoint"],
        input_file_id=body["input_file_id"],
        counts=RowCounts(*(int(counts.get(name) or 0) for name in ("total", "completed", "failed"))),
        progress=BatchProgress(
            rows_done=int(progress.get("rows_done") or 0),
            rows_per_s=progress.get("rows_per_s"),
            eta_s=progress.get("eta_s"),
            chunks=progress.get("chunks"),
            chunks_done=int(progress.get("chunks_done") or 0),
        ),
        timings=BatchTimings(*(timings.get(name) for name in ("created", "in_progress", "finalizing", "ended"))),
        metadata=dict(body.get("metadata") or {}),
        errors=tuple(
            BatchFault(str(each.get("code") or ""), str(each.get("message") or ""), each.get("param"), each.get("line"))
            for each in errors
        ),
        notes=tuple(map(str, body.get("notes") or ())),
        raw=body,
        **same_named,
    )


def _time_of(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
