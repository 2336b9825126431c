"""The words of the queue as types: states, classes, submissions, claims, outcomes and records.

Knows nothing of Redis, HTTP or models; times are microseconds of Redis' own clock.
"""

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a job is in its life; the last three are terminal and never change."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job is done for good."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELED)


class JobClass(StrEnum):
    """Whose turn it is; claimed in this order."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"


# Of every claim's rows each class that waits behind a higher one is owed this share, so that none waits for ever.
CLASS_SHARE = 0.05

# How long a dead letter waits for somebody to look at it.
DEAD_TTL_S = 7 * 86_400.0

# error_code of a job's record, beside those of ferry.errors.
DEADLINE_EXCEEDED = "deadline_exceeded"
WORKER_LOST = "worker_lost"
CANCELED_BY_USER = "canceled"

# Base 32's letters, lower-case, for every byte by its last five bits.
_ID_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8


def new_job_id() -> str:
    """Return 26 lower-case letters and digits, 130 random bits (the shape of Replicate's ids)."""
    return os.urandom(26).translate(_ID_LETTERS).decode("ascii")


def job_id_of(text: str) -> str:
    """Return the id that stands for a text, of the same shape: who says the same twice means the same job."""
    return hashlib.sha256(text.encode("utf-8")).digest()[:26].translate(_ID_LETTERS).decode("ascii")


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What an API key may do at once. rate_per_s: jobs a second. max_unfinished: jobs not done yet. None: no limit."""

    key_id: str
    rate_per_s: float | None = None
    max_unfinished: int | None = None

    def packed(self) -> str:
        """Return it as the submit script takes it."""
        return f"{self.key_id} {self.rate_per_s or 0!r} {self.max_unfinished or 0}"


@dataclass(frozen=True, slots=True)
class LimitsLeft:
    """The rest of an API key's limits: jobs it may send now, and jobs it may have at once. None: no such limit.

    wait_ms: until it may send another one.
    """

    rate: int | None
    unfinished: int | None
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Submission:
    """A job on its way into the queue.

    payload: the input tensors as `ferry.tensors.TensorCodec` packs them.
    single: the caller sent one row without the batch axis, and is answered without it.
    deadline_s: seconds after which it is canceled; None is the queue's default.
    fingerprint: of what was asked for, where the client chose the id or a key for it; else empty.
    replay_of: id of the dead letter whose input this is; else empty.
    owner: who sent it, where API keys are asked for; else empty.
    origin: of the request that it came with (ferry.origins.Origin.packed).
    limits: of the API key that it came with, if that has any.
    """

    id: str
    model: str
    version: str
    rows: int
    payload: bytes
    single: bool = False
    job_class: JobClass = JobClass.NORMAL
    deadline_s: float | None = None
    fingerprint: str = ""
    replay_of: str = ""
    owner: str = ""
    origin: str = ""
    limits: JobLimits | None = None


class Verdict(StrEnum):
    """What the queue said to a submission."""

    ACCEPTED = "accepted"
    EXISTS = "exists"  # this id is known already: the same submission again after a lost reply
    DIFFERS = "differs"  # this id is known, and another fingerprint
    FULL = "full"  # the model has as much waiting as it may
    FULL_IN_ALL = "full_in_all"  # all models together have
    NO_MEMORY = "no_memory"  # Redis keeps the rest of its memory for results
    DRAINING = "draining"  # an operator lets the model's queue run empty
    OVER_RATE = "over_rate"  # its API key sends more jobs a second than it may
    OVER_UNFINISHED = "over_unfinished"  # its API key has as many jobs under way as it may
    UNREGISTERED = "unregistered"  # Redis does not know the model (a new or wiped Redis)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The queue's answer to one submission.

    waiting: rows of its model, with FULL_IN_ALL of all models; with OVER_UNFINISHED jobs of its key; with OVER_RATE how
    many milliseconds its key should wait. left: of the limits of its key, where that has any and the queue counted.
    """

    verdict: Verdict
    accepted_us: int
    waiting: int
    left: LimitsLeft | None = None


@dataclass(slots=True)
class ClaimedJob:
    """A job in a worker's hands; `started_us` is when it was claimed, `created_ms` when it was submitted.

    origin: as in Submission.
    """

    id: str
    rows: int
    payload: bytes
    attempt: int
    started_us: int
    origin: str = ""
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs taken together under one lease; `token` proves the holder."""

    token: str
    jobs: tuple[ClaimedJob, ...]
    # Rows that it might have had when it was made, and whether those are fewer than were asked for: it has
    # high-priority jobs, which do not wait for many others.
    room: int = 0
    is_cut: bool = False

    @property
    def rows(self) -> int:
        """Rows over all jobs."""
        return sum(job.rows for job in self.jobs)


class Turn(NamedTuple):
    """What one round trip between two claims of a model brought.

    recorded: outcomes that still belonged to the claim before. following: the next claim. waited_s: seconds of the wait
    for the next ticket; None where that is not known.
    """

    recorded: int
    following: Claim
    waited_s: float | None


@dataclass(slots=True)
class Outcome:
    """How one claimed job ended: `output` on success, else `error_code` and `error`.

    batch_id is `<ticket id>.<n>`; batch_rows and batch_jobs count what shared the run; run_us is its duration. attempt
    and started_us are the claimed job's.
    """

    job_id: str
    batch_id: str
    batch_rows: int
    batch_jobs: int
    run_us: int
    attempt: int
    started_us: int
    output: bytes | None = None
    error_code: str = ""
    error: str = ""


@dataclass(slots=True)
class JobRecord:
    """What the queue remembers of a job; None where it has not happened yet.

    One reader's copy: whoever has it may bring it up to date. (Freezing it would double what making it costs.)
    """

    id: str
    model: str
    version: str
    state: State
    rows: int
    single: bool
    created_us: int
    deadline_us: int
    attempts: int = 0
    started_us: int | None = None
    completed_us: int | None = None
    run_us: int | None = None
    batch_id: str | None = None
    batch_rows: int | None = None
    batch_jobs: int | None = None
    input: bytes | None = None
    output: bytes | None = None
    error_code: str | None = None
    error: str | None = None
    replay_of: str | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job whose workers died until it was given up; its input is kept for a replay. `died_ms` is Redis' time."""

    record: JobRecord
    died_ms: int
