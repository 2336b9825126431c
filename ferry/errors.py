"""The one tree of errors. Knows nothing of HTTP: statuses are in `api/problems.py`.

FerryError
├── InvalidInputError       invalid_input       the caller's tensors do not fit the model
├── MalformedRequestError   malformed_request   the request cannot be read at all
├── UnauthenticatedError    unauthenticated     no API key, or one that is not in force
├── ForbiddenError          forbidden           the key may not do this
├── NotFoundError           not_found           no such model, version or job
├── ConflictError           conflict            the thing exists with other content
├── RateLimitedError        rate_limited        the API key is over its own limits           retryable
├── QueueFullError          queue_full          waiting work is at its limit                 retryable
├── QueueDrainingError      queue_draining      an operator lets the model's queue run empty retryable
├── QueueUnavailableError   queue_unavailable   Redis cannot be reached or will not write    retryable
├── UnsafeRedisError        redis_unsafe        Redis may lose waiting jobs, and that is not allowed  retryable
├── StorageError            storage_unavailable the files' storage is full or cannot be reached       retryable
├── ServerBusyError         server_busy         large requests of this process are at their limit    retryable
├── NoWorkerError           no_worker           nobody alive serves the model                retryable
├── WaitTimeoutError        wait_timeout        a synchronous wait ran out, the job goes on  retryable
├── ShuttingDownError       shutting_down       the API restarts amid a wait, the job goes on    retryable
├── ModelError              model_error         the model raised on this job's rows
├── ModelRefusedError       model_refused       a model file Ferry will not serve
└── ConfigError             config_error        settings or environment are wrong
"""

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one field: what, and a JSON pointer (RFC 6901) to where."""

    detail: str
    pointer: str = ""


class FerryError(Exception):
    """Base of all. `code` is stable and public; `retryable` says whether the same call may succeed later."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.retry_after_s = retry_after_s


class InvalidInputError(FerryError):
    """The caller's tensors do not fit the model's signature or limits."""

    code = "invalid_input"
    title = "Invalid input"

    @classmethod
    def at(cls, pointer: str, detail: str) -> Self:
        """Return the error for one field."""
        return cls(detail, faults=(Fault(detail, pointer),))


class MalformedRequestError(FerryError):
    """The request cannot be read at all (not JSON, say)."""

    code = "malformed_request"
    title = "Malformed request"


class UnauthenticatedError(FerryError):
    """No API key came along, or one that is not in force."""

    code = "unauthenticated"
    title = "API key needed"


class ForbiddenError(FerryError):
    """The API key may not do this."""

    code = "forbidden"
    title = "Not allowed"


class NotFoundError(FerryError):
    """No such model, version or job."""

    code = "not_found"
    title = "Not found"


class ConflictError(FerryError):
    """The thing to be made exists already, with other content."""

    code = "conflict"
    title = "Conflict"


class ReusedError(FerryError):
    """The id or key of a job came again, and asks for something else."""

    code = "reused"
    title = "Key or id used before"


class RateLimitedError(FerryError):
    """The API key sends more jobs, or has more under way, than it may."""

    code = "rate_limited"
    title = "Over the limit of this API key"
    retryable = True


class QueueFullError(FerryError):
    """Waiting work has reached its limit."""

    code = "queue_full"
    title = "Queue is full"
    retryable = True


class QueueDrainingError(FerryError):
    """An operator lets the model's queue run empty; no new job is taken."""

    code = "queue_draining"
    title = "Queue is being drained"
    retryable = True


class QueueUnavailableError(FerryError):
    """Redis cannot be reached, or refuses to write."""

    code = "queue_unavailable"
    title = "Queue is unavailable"
    retryable = True


class UnsafeRedisError(FerryError):
    """The settings of Redis may lose jobs that wait, and FERRY_REQUIRE_SAFE_REDIS does not allow that."""

    code = "redis_unsafe"
    title = "Redis may lose waiting jobs"
    retryable = True


class StorageError(FerryError):
    """The storage of files is full, cannot be reached, or holds as many files as it may."""

    code = "storage_unavailable"
    title = "File storage is unavailable"
    retryable = True


class ServerBusyError(FerryError):
    """Large requests of this API process are at their limit, in number or in bytes."""

    code = "server_busy"
    title = "Server is busy"
    retryable = True


class NoWorkerError(FerryError):
    """Nobody alive serves the model, and the caller wants to wait for an answer."""

    code = "no_worker"
    title = "No live worker"
    retryable = True


class WaitTimeoutError(FerryError):
    """A synchronous wait ran out; the job itself goes on."""

    code = "wait_timeout"
    title = "Waited long enough"
    retryable = True


class ShuttingDownError(FerryError):
    """The API must stop while a caller waits; the job itself goes on."""

    code = "shutting_down"
    title = "Server is restarting"
    retryable = True


class ModelError(FerryError):
    """The model raised on this job's rows."""

    code = "model_error"
    title = "Model error"


class ModelRefusedError(FerryError):
    """A model file that Ferry will not serve, and why."""

    code = "model_refused"
    title = "Model refused"


class ConfigError(FerryError):
    """Settings or environment are wrong; start-up stops."""

    code = "config_error"
    title = "Configuration error"
