"""What the API's answers mean to the Python client: predictions, models and errors. Sends nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import httpx
import orjson

from ferry.errors import Fault, FerryError

LATER_STATUSES = frozenset({429, 503})  # refused, nothing was accepted: safe to send again

Status = Literal["starting", "processing", "succeeded", "failed", "canceled"]
FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled"})


class ApiError(FerryError):
    """The API answered with an error: its `status`, stable `code`, `detail`, and `faults` per field."""

    code = "api_error"
    title = "The API answered with an error"

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        faults: tuple[Fault, ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail, faults=faults, retry_after_s=retry_after_s)
        self.status = status
        self.code = code or f"http_{status}"  # type: ignore[misc]  # the server's code, not one per class
        self.retryable = status in LATER_STATUSES  # type: ignore[misc]

    def __str__(self) -> str:
        """Return the detail, and which fields it is about."""
        pointers = ", ".join(fault.pointer for fault in self.faults if fault.pointer)
        return f"{self.detail} (at {pointers})" if pointers else self.detail


class ApiUnreachableError(FerryError):
    """Nobody answers at the API's address, or not in time."""

    code = "api_unreachable"
    title = "The API cannot be reached"
    retryable = True


@dataclass(frozen=True, slots=True)
class Prediction:
    """A job as the API last told of it; None where it has not happened yet. `raw` is the whole answer."""

    id: str
    model: str
    version: str
    status: Status
    output: Any = None
    output_shapes: Mapping[str, list[int]] | None = None  # of models that run whole jobs
    labels: Any = None
    error: str | None = None
    error_code: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    predict_time_s: float | None = None  # the model's run
    total_time_s: float | None = None  # from submit to result, by the server's clock
    batch_id: str | None = None
    batch_rows: int | None = None
    batch_jobs: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_done(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL_STATUSES

    @property
    def has_succeeded(self) -> bool:
        """Whether there is an output."""
        return self.status == "succeeded"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as listed; `raw` is the whole entry."""

    name: str
    owner: str
    latest_version: str
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@contextmanager
def readable(response: httpx.Response) -> Iterator[None]:
    """Turn what goes wrong in reading an answer into an ApiError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(
            response.status_code, "the answer is not of a Ferry API; is another server at this address?"
        ) from None


def read_prediction(response: httpx.Response) -> Prediction:
    """Read one job."""
    with readable(response):
        body = orjson.loads(response.content)
        metrics = body.get("metrics") or {}
        batch = body.get("batch") or {}
        return Prediction(
            id=body["id"],
            model=body["model"],
            version=body["version"],
            status=body["status"],
            output=body.get("output"),
            output_shapes=body.get("output_shapes"),
            labels=body.get("labels"),
            error=body.get("error"),
            error_code=body.get("error_code"),
            created_at=_time_of(body.get("created_at")),
            started_at=_time_of(body.get("started_at")),
            completed_at=_time_of(body.get("completed_at")),
            predict_time_s=metrics.get("predict_time"),
            total_time_s=metrics.get("total_time"),
            batch_id=batch.get("id"),
            batch_rows=batch.get("rows"),
            batch_jobs=batch.get("jobs"),
            raw=body,
        )


def _time_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def read_models(response: httpx.Response) -> tuple[Model, ...]:
    """Read the list of models."""
    with readable(response):
        return tuple(_model_of(entry) for entry in orjson.loads(response.content)["results"])


def read_versions(response: httpx.Response) -> dict[str, tuple[str, ...]]:
    """Read the versions of one model, the latest last: for each the dtypes of its outputs."""
    with readable(response):
        return {
            str(version["id"]): tuple(str(output["dtype"]) for output in version.get("outputs", ()))
            for version in orjson.loads(response.content)["versions"]
        }


def _model_of(entry: Mapping[str, Any]) -> Model:
    latest = entry.get("latest_version")
    version = latest.get("id", "") if isinstance(latest, Mapping) else latest or ""
    return Model(entry["name"], entry.get("owner", ""), str(version), entry)


def error_of(response: httpx.Response) -> ApiError:
    """Read an RFC 9457 problem; a body that is none becomes the detail."""
    try:
        body = orjson.loads(response.content)
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}
    detail = problem.get("detail") or problem.get("title") or response.text[:200] or response.reason_phrase
    faults = tuple(
        Fault(str(fault.get("detail", "")), str(fault.get("pointer", "")))
        for fault in problem.get("errors") or ()
        if isinstance(fault, dict)
    )
    # `type` is .../problems/queue-full for the code queue_full.
    kind = str(problem.get("type", "")).rpartition("/")[2].replace("-", "_")
    code = str(problem.get("code") or ("" if kind == "about:blank" else kind))
    return ApiError(
        response.status_code,
        str(detail),
        code=code,
        faults=faults,
        retry_after_s=retry_after_s(response),
    )


def retry_after_s(response: httpx.Response) -> int | None:
    """Return when the server wants to be asked again; None where it does not say."""
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isdecimal() else None
