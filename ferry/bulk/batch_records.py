"""The words of bulk batches as types: what was asked for, what is known of it, and how Redis stores it.

Pure: no connection, no clock. Times are microseconds of Redis' own clock.
"""

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ferry.bulk.formats.base import FileFault
from ferry.jobs import JobLimits
from ferry.queue.keys import BATCH_FIELDS

ID_PREFIX = "batch_"
ID_LETTERS = string.ascii_letters + string.digits
MOST_ID_LETTERS = 64
INDEX = "index"
ASSEMBLE = "assemble"
FOLDER = "batches/"
INVALID_FILE = "invalid_file"
RETRY_OF = "retry_of"


class BatchStatus(StrEnum):
    """Where a batch is in its life; the four last are terminal."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the batch is over."""
        return self in (BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch as it is asked for.

    endpoint: `/v1/predictions`, or `/v2/models/{name}[/versions/{version}]/infer`. window_s: seconds until it expires;
    completion_window: the same as the client wrote it. metadata: the client's own, of which `output_format`, `join` and
    `csv_escape_formulas` and the options of `ferry.bulk.formats.reading` mean something. output_ttl_s: how long output
    and error file are kept; None: as all files.
    fingerprint: of what was asked for, where the client gave a key; else empty. owner, limits: as in
    `ferry.jobs.Submission`; a batch counts as one job. files_by: whose file it may run; None: anybody's.
    retry_output_id, retry_error_id: files of the batch whose failed rows this one runs again.
    """

    id: str
    model: str
    version: str
    endpoint: str
    input_file_id: str
    window_s: float
    completion_window: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    output_ttl_s: float | None = None
    fingerprint: str = ""
    owner: str = ""
    limits: JobLimits | None = None
    files_by: str | None = None
    retry_output_id: str | None = None
    retry_error_id: str | None = None


class Opened(StrEnum):
    """What the queue said to a new batch."""

    ACCEPTED = "accepted"
    EXISTS = "exists"  # the same batch again
    DIFFERS = "differs"  # its id is known, and another fingerprint
    NO_FILE = "no_file"
    WRONG_PURPOSE = "wrong_purpose"
    UNREGISTERED = "unregistered"  # Redis does not know the model
    DRAINING = "draining"  # an operator lets the model's queue run empty
    OVER_RATE = "over_rate"  # its API key sends more a second than it may
    OVER_UNFINISHED = "over_unfinished"  # its API key has as many jobs under way as it may
    FULL = "full"  # as many batches are under way as may be


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What is known of a batch; None where it has not happened yet, or is not known yet.

    total, completed, failed: rows of the file, and how many of them are settled. running_rows: how far the chunks are
    that run now. rate: rows/s of late. errors: why it failed, the first hundred. notes: what the file check left out or
    decided. is_prepared: its rows are read from a copy, see `prepared_key`.
    """

    id: str
    status: BatchStatus
    model: str
    version: str
    endpoint: str
    input_file_id: str
    filename: str
    size_bytes: int
    completion_window: str
    metadata: Mapping[str, str]
    created_us: int
    expires_us: int
    completed: int = 0
    failed: int = 0
    output_ttl_s: float | None = None
    ending: BatchStatus | None = None
    format: str | None = None
    output_format: str | None = None
    in_progress_us: int | None = None
    finalizing_us: int | None = None
    completed_us: int | None = None
    failed_us: int | None = None
    expired_us: int | None = None
    cancelling_us: int | None = None
    cancelled_us: int | None = None
    total: int | None = None
    chunks: int | None = None
    done: int = 0
    width: int = 0
    errors: tuple[FileFault, ...] = ()
    notes: tuple[str, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    rate: float | None = None
    rate_us: int | None = None
    running_rows: int = 0
    owner: str = ""
    is_prepared: bool = False
    retry_output_id: str | None = None
    retry_error_id: str | None = None

    @property
    def retry_of(self) -> str | None:
        """The batch whose failed rows this one runs again."""
        return self.metadata.get(RETRY_OF)

    @property
    def rows_done(self) -> int:
        """Rows worked through, those of running chunks included."""
        done = self.completed + self.failed + (0 if self.status.is_terminal else self.running_rows)
        return done if self.total is None else min(done, self.total)

    @property
    def eta_s(self) -> float | None:
        """Seconds until all rows are worked through, at the rate of late; None where that cannot be said."""
        if self.status is not BatchStatus.IN_PROGRESS or self.total is None or not self.rate:
            return None
        return (self.total - self.rows_done) / self.rate

    @property
    def ended_us(self) -> int | None:
        """When it became terminal."""
        return self.completed_us or self.failed_us or self.expired_us or self.cancelled_us


@dataclass(frozen=True, slots=True)
class Part:
    """What a settled chunk left: the token its parts' names carry, and which there are. No token: it was given up.

    output_rows: rows of the output in it. A line of the input that holds several rows of the model has several rows in
    a table.
    """

    token: str
    completed: int
    failed: int
    output_bytes: int = 0
    error_bytes: int = 0
    output_rows: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk's run stands: rows [start, end) are under way, or nothing of it is; `skipped` killed a worker.

    Row numbers count rows of the model within the chunk.
    """

    start: int | None = None
    end: int | None = None
    skipped: tuple[int, ...] = ()

    def to_text(self) -> str:
        """Return it as Redis stores it."""
        mark = "-" if self.start is None else f"{self.start} {self.end}"
        return " ".join([mark, *map(str, self.skipped)])

    @classmethod
    def from_text(cls, text: str) -> "Place":
        """Return what `to_text` gave."""
        parts = text.split()
        if not parts or parts[0] == "-":
            return cls(skipped=tuple(map(int, parts[1:])))
        return cls(int(parts[0]), int(parts[1]), tuple(map(int, parts[2:])))


def is_batch_id(text: str) -> bool:
    """Say whether a text may be a batch's id."""
    letters = text.removeprefix(ID_PREFIX)
    is_prefixed = len(letters) == len(text) - len(ID_PREFIX)
    return is_prefixed and 0 < len(letters) <= MOST_ID_LETTERS and all(each in ID_LETTERS for each in letters)


def step_id(batch_id: str, step: str | int) -> str:
    """Return the id under which a step waits among the jobs."""
    return f"{batch_id}/{step}"


def is_step(job_id: str) -> bool:
    """Say whether a claimed job is a step of a batch."""
    return "/" in job_id


def folder_of(batch_id: str) -> str:
    """Return where a batch keeps what it needs on its way, in the storage."""
    return FOLDER + batch_id


def index_key(batch_id: str) -> str:
    """Return where the records of a batch's chunks lie."""
    return f"{folder_of(batch_id)}/index"


def prepared_key(batch_id: str) -> str:
    """Return where the copy of a batch's input lies that was unpacked, or written as UTF-8."""
    return f"{folder_of(batch_id)}/input"


def retry_key(batch_id: str) -> str:
    """Return where the numbers of the rows lie that a batch runs again."""
    return f"{folder_of(batch_id)}/retry"


def part_key(batch_id: str, number: int, token: str, kind: str) -> str:
    """Return where a chunk's output (`out`) or errors (`err`) lie, as the holder of `token` wrote them.

    Of a batch that runs failed rows again `at` says where the rows of its output go.
    """
    return f"{folder_of(batch_id)}/parts/{number}-{token}.{kind}"


def errors_to_json(errors: Sequence[FileFault]) -> str:
    """Return faults as Redis and the wire have them."""
    return json.dumps([{"code": e.code, "message": e.message, "param": e.param, "line": e.line} for e in errors])


def part_to_text(part: Part) -> str:
    """Return a part as Redis stores it."""
    numbers = (part.completed, part.failed, part.output_bytes, part.error_bytes, part.output_rows)
    return " ".join((part.token, *map(str, numbers)))


def part_from_text(text: str) -> Part:
    """Return what `part_to_text` gave; of a chunk that was given up, one without a token."""
    if not text:
        return Part("", 0, 0)
    token, *numbers = text.split(" ")
    return Part(token, *map(int, numbers))


def _errors(text: str) -> tuple[FileFault, ...]:
    return tuple(
        FileFault(each["code"], each["message"], each.get("line"), each.get("param")) for each in json.loads(text)
    )


_READ: dict[str, Any] = {
    "status": BatchStatus, "ending": BatchStatus, "metadata": json.loads, "errors": _errors,
    "notes": lambda text: tuple(json.loads(text)),
    "output_ttl_s": lambda text: float(text) if text else None, "rate": float,
    "total": int, "completed": int, "failed": int, "chunks": int, "done": int, "width": int, "size_bytes": int,
    "is_prepared": lambda text: text == "1",
}  # fmt: skip


def batch_from_fields(
    batch_id: str, values: Sequence[bytes | None], places: Sequence[bytes] = ()
) -> BatchRecord | None:
    """Read the reply of HMGET over BATCH_FIELDS, and of HVALS of its open steps; None when there is no such batch."""
    known: dict[str, Any] = {}
    for name, raw in zip(BATCH_FIELDS, values, strict=True):
        if raw is None:
            continue
        text = raw.decode("utf-8")
        if name == "model":
            known["model"], _, known["version"] = text.rpartition(":")
        elif name.endswith("_us"):
            known[name] = int(text)
        else:
            known[name] = _READ.get(name, str)(text)
    if "status" not in known:
        return None
    running = sum(Place.from_text(raw.decode("ascii")).start or 0 for raw in places)
    return BatchRecord(id=batch_id, **known, running_rows=running)
