"""Which runner a model's jobs get: the one place that asks for the execution mode."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ferry.jobs import ClaimedJob, Outcome
from ferry.manifest import Manifest, NonFinite
from ferry.profile import BatchLimits
from ferry.tensors import Array
from worker.batches import BatchRunner, OnBatch
from worker.whole_jobs import WholeJobRunner


class JobRunner(Protocol):
    """Turns the jobs of a ticket into outcomes."""

    def run(self, jobs: Sequence[ClaimedJob]) -> list[Outcome]:
        """Return one outcome per job, in any order; jobs without one go back to the queue."""

    def take_spent(self) -> tuple[dict[str, float], int]:
        """Return seconds by stage, and runs of halves, since the last call."""


class Executable(Protocol):
    """A model that says how its jobs are executed; what it has besides is as in `Batched` and `Whole`."""

    manifest: Manifest
    limits: BatchLimits
    # TensorCodec where the manifest says batched, else WholeCodec.
    inputs: Any
    outputs: Any
    non_finite: NonFinite

    @property
    def is_batched(self) -> bool:
        """Whether rows of many jobs share a run. False too for one that the manifest batches and a check switched."""

    @property
    def claim_rows(self) -> int:
        """How many rows a worker takes at once."""

    @property
    def rows_beside_high(self) -> int:
        """Up to how many rows other jobs fill a claim that has high-priority ones."""

    def claim_settled(self, rows: int, host_s: float) -> None:
        """Take in what a claim cost beside the device."""

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run rows of many jobs."""

    def run_whole(self, arrays: list[Array]) -> list[Array]:
        """Run the arrays of one job."""


def runner_of(
    model: Executable, ticket_id: str, *, numbers: Iterator[int], on_batch: OnBatch | None = None
) -> JobRunner:
    """Return what runs the jobs of one ticket; `numbers` of its runs, `on_batch` gets each run of several jobs."""
    if model.is_batched:
        return BatchRunner(model, ticket_id, numbers=numbers, on_batch=on_batch)
    return WholeJobRunner(model, ticket_id, numbers=numbers)
