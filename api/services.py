"""What the routes work with, wired once per process."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request

from api.addresses import Addresses
from api.catalog import Catalog
from api.door import Door
from api.followers import Followers
from api.job_requests import JobRequests
from api.load_feed import LoadFeed
from api.submitter import Submitter
from api.waiters import Waiters
from ferry.bulk.batch_records import BatchRecord, BatchSpec, Opened, Part
from ferry.bulk.files import FileRecord
from ferry.bulk.storage import Storage
from ferry.erasure import Erasure
from ferry.jobs import DeadLetter, JobRecord, Receipt, Submission
from ferry.manifest import Manifest
from ferry.queue.broken_models import BrokenModel
from ferry.queue.producer import ModelStatus
from ferry.queue.safety import SafetyReader
from ferry.queue.statistics import Readings
from ferry.settings import Settings


class JobQueue(Protocol):
    """The queue as the API sees it: ferry.queue.producer.Producer, or its in-memory twin in tests."""

    async def submit(self, submissions: Sequence[Submission]) -> list[Receipt]:
        """Enqueue all in one round trip."""

    async def read(self, job_id: str) -> JobRecord | None:
        """Return one job."""

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return many jobs."""

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job."""

    async def delete(self, job_id: str) -> bool:
        """Forget a job."""

    async def register(self, manifest: Manifest) -> None:
        """Make a model known."""

    async def models(self) -> list[ModelStatus]:
        """Return what is known."""

    async def aliases(self) -> dict[tuple[str, str], str]:
        """Return versions by (name, alias)."""

    async def unloaded(self) -> frozenset[tuple[str, str]]:
        """Return what is unloaded."""

    async def broken(self) -> list[BrokenModel]:
        """Return what workers cannot load."""

    async def set_loaded(self, models: Sequence[tuple[str, str]], *, is_loaded: bool) -> None:
        """Let workers serve versions, or not."""

    async def ping(self) -> None:
        """Return when the queue answers."""

    def settled(self) -> AsyncIterator[Mapping[str, dict[str, Any]] | None]:
        """Hear of settled jobs."""


class DeadLetterOffice(Protocol):
    """The jobs that were given up: ferry.queue.dead_letters.DeadLetters, or its in-memory twin in tests."""

    async def list_dead(self, *, offset: int = 0, limit: int = 20) -> tuple[list[DeadLetter], int]:
        """Return dead letters, the last first, and how many there are in all."""

    async def replay_of(self, job_id: str) -> Submission | None:
        """Return a new job with a dead letter's input."""

    async def retire(self, job_id: str) -> bool:
        """Take a letter off the list."""


class FileBook(Protocol):
    """Files by id: ferry.bulk.files.Files, or its in-memory twin in tests."""

    storage: Storage

    async def reserve(self) -> str:
        """Return the id of a file to be written."""

    async def release(self, file_id: str) -> None:
        """Forget a reserved file."""

    async def create(
        self,
        file_id: str,
        *,
        size_bytes: int,
        filename: str,
        purpose: str,
        ttl_s: float | None = None,
        sha256: str = "",
        key: str = "",
        owner: str = "",
    ) -> FileRecord:
        """Make a reserved file known, or return the one that was made under its key."""

    async def get(self, file_id: str) -> FileRecord | None:
        """Return a file's record."""

    async def list_page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        is_ascending: bool = False,
        purpose: str | None = None,
        owner: str | None = None,
    ) -> tuple[list[FileRecord], bool]:
        """Return some files, and whether more follow."""

    async def delete(self, file_id: str) -> bool:
        """Delete a file."""


class BatchBook(Protocol):
    """Bulk batches by id: ferry.bulk.batches.Batches, or its in-memory twin in tests."""

    async def open(self, spec: BatchSpec) -> Opened:
        """Take a batch."""

    async def get(self, batch_id: str) -> BatchRecord | None:
        """Return a batch."""

    async def progress(self, batch_id: str, first: int, n_chunks: int) -> tuple[BatchRecord | None, list[Part | None]]:
        """Return a batch and what its chunks from `first` on left."""

    async def list_page(
        self, *, after: str | None = None, limit: int = 20, owner: str | None = None
    ) -> tuple[list[BatchRecord], bool]:
        """Return some batches, and whether more follow."""

    async def cancel(self, batch_id: str) -> bool | None:
        """Cancel a batch; False: too late, None: there is none."""


class OwnerEraser(Protocol):
    """Erases owners: ferry.erasure.Eraser, or a test's."""

    async def count(self, owner: str) -> Erasure:
        """Return what an erasure would erase."""

    async def erase(self, owner: str, *, is_revoking: bool = False) -> Erasure:
        """Erase an owner."""


class Figures(Protocol):
    """The numbers of the fleet: ferry.queue.statistics.Statistics, or a test's."""

    async def add(self, counts: Mapping[str, int], sums: Mapping[str, float]) -> None:
        """Add to the counters of all API processes."""

    async def read(self) -> Readings:
        """Return every metric that the API tells."""


class WholeQueue(JobQueue, DeadLetterOffice, Protocol):
    """Both in one."""


@dataclass(frozen=True, slots=True)
class Services:
    """One process's parts."""

    settings: Settings
    queue: JobQueue
    dead_letters: DeadLetterOffice
    catalog: Catalog
    submitter: Submitter
    waiters: Waiters
    door: Door
    addresses: Addresses
    figures: Figures | None = None
    files: FileBook | None = None
    batches: BatchBook | None = None
    load_feed: LoadFeed | None = None
    eraser: OwnerEraser | None = None
    safety: SafetyReader | None = None
    followers: Followers = field(default_factory=Followers)
    requests: JobRequests = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "requests", JobRequests(self.settings.max_body_bytes))

    @property
    def flower_url(self) -> str:
        """Where users reach Flower."""
        settings = self.settings
        return (settings.flower_url or f"http://{settings.flower_host}:{settings.flower_port}").rstrip("/")


def services_of(request: Request) -> Services:
    """Return the parts of the application that serves this request."""
    services = request.app.state.services
    if not isinstance(services, Services):
        raise TypeError("the application was started without its services")
    return services
