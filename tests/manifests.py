"""Manifests and submissions that tests need over and over."""

from ferry.jobs import JobClass, Submission, new_job_id
from ferry.manifest import Batching, Execution, ExecutionMode, Manifest, TensorSpec
from ferry.profile import Profile
from ferry.queue.producer import Limits

LIMITS = Limits(
    max_waiting_rows=1000, max_waiting_bytes=1_000_000, max_rows_in_all=1500, max_bytes_in_all=2_000_000,
    deadline_s=600, result_ttl_s=60,
)  # fmt: skip


def spec(name: str = "x", dtype: str = "float32", *inner: int | None, **more: object) -> TensorSpec:
    """A tensor with rows first; `inner` are the other axes."""
    return TensorSpec(name=name, dtype=dtype, shape=(None, *inner), **more)


def manifest(
    name: str = "toy",
    version: str = "1",
    *,
    inputs: tuple[TensorSpec, ...] | None = None,
    outputs: tuple[TensorSpec, ...] | None = None,
    labels: tuple[str, ...] = (),
    max_rows: int | None = 8,
    max_job_rows: int = 100,
    mode: ExecutionMode = ExecutionMode.BATCHED,
    **batching: object,
) -> Manifest:
    """A model that takes x (rows, 3) and gives y (rows, 2), unless told otherwise."""
    return Manifest(
        name=name,
        version=version,
        inputs=inputs or (spec("x", "float32", 3),),
        outputs=outputs or (spec("y", "float32", 2),),
        labels=labels,
        execution=Execution(mode=mode, reason="a test says so"),
        batching=Batching(max_rows=max_rows, max_job_rows=max_job_rows, **batching),
        sha256="0" * 64,
    )


def profile(max_rows: int = 32, max_wait_ms: float = 0.0, **more: object) -> Profile:
    """A measurement of 10 µs + 1 µs a row."""
    measured = {"sizes": (1, 2, 4), "microseconds": (11.0, 12.0, 14.0), "a_us": 10.0, "b_us": 1.0}
    place = {"machine": "a test", "measured_at": "2026-01-01T00:00:00+00:00"}
    return Profile(**measured | place | {"max_rows": max_rows, "max_wait_ms": max_wait_ms} | more)


def submission(
    rows: int = 1, payload: bytes = b"input", *, job_class: JobClass = JobClass.NORMAL, job_id: str = ""
) -> Submission:
    """A job for `manifest()`."""
    return Submission(job_id or new_job_id(), "toy", "1", rows, payload, job_class=job_class)
