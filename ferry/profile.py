"""How many rows a run may have and how long a batch may wait: the numbers in force, and the measurement behind them.

Measured by a worker, overruled by the manifest, overruled by what is tuned live. Knows nothing of onnxruntime or Redis.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ferry.manifest import DEFAULT_MAX_ROWS, MAX_MAX_ROWS, MAX_MAX_WAIT_MS, Manifest

PROFILES_DIR = "profiles"


class Profile(BaseModel):
    """One model measured on one kind of machine; run times are the best of several runs.

    `microseconds`: of one run at each of `sizes` (rows, ascending). `a_us`, `b_us`: the fit a + b * rows.
    `free_axis_size`: what inner axes of any size were measured at. `measured_at`: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    microseconds: tuple[Annotated[float, Field(gt=0)], ...]
    a_us: float = Field(ge=0)
    b_us: float = Field(ge=0)
    max_rows: int = Field(ge=1, le=MAX_MAX_ROWS)
    max_wait_ms: float = Field(ge=0, le=MAX_MAX_WAIT_MS)
    free_axis_size: int | None = None
    machine: str
    measured_at: str

    @model_validator(mode="after")
    def _one_time_a_size(self) -> Self:
        if len(self.sizes) != len(self.microseconds):
            raise ValueError(f"{len(self.sizes)} sizes, {len(self.microseconds)} run times")
        return self

    @property
    def rows_per_s(self) -> tuple[float, ...]:
        """Rows a second at each size."""
        return tuple(size / us * 1e6 for size, us in zip(self.sizes, self.microseconds, strict=True))


@dataclass(frozen=True, slots=True)
class Tuning:
    """What an operator set live; None leaves the number as it is."""

    max_rows: int | None = None
    max_wait_ms: float | None = None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The numbers in force: rows in one run, and how long an unfilled batch waits for company."""

    max_rows: int
    max_wait_ms: float


# One job is one run, and no run waits for another job.
WHOLE_JOB_LIMITS = BatchLimits(max_rows=1, max_wait_ms=0.0)


def limits_in_force(manifest: Manifest, profile: Profile | None = None, tuning: Tuning | None = None) -> BatchLimits:
    """Return the first of each number that is set: tuned, in the manifest, measured, default.

    A fixed batch axis cannot be tuned: such a model runs at its own size. For a model that runs whole jobs no number
    counts.
    """
    if not manifest.is_batched:
        return WHOLE_JOB_LIMITS
    batching, tuned = manifest.batching, tuning or Tuning()
    measured_rows, measured_wait_ms = (profile.max_rows, profile.max_wait_ms) if profile else (DEFAULT_MAX_ROWS, 0.0)
    rows = (batching.fixed_rows, tuned.max_rows, batching.max_rows, measured_rows)
    waits = (tuned.max_wait_ms, batching.max_wait_ms, measured_wait_ms)
    return BatchLimits(
        max_rows=next(number for number in rows if number is not None),
        max_wait_ms=next(number for number in waits if number is not None),
    )


def parse_profile(text: bytes | str | None) -> Profile | None:
    """Read a profile; None where there is none, or one that is damaged or of another release: it can be measured."""
    if not text:
        return None
    try:
        return Profile.model_validate_json(text)
    except ValidationError:
        return None


def newest_profile(data_dir: Path, sha256: str) -> Profile | None:
    """Return the latest profile of a model file among those kept under `data_dir`; None without a readable one."""
    texts = []
    for path in (data_dir / PROFILES_DIR).glob(f"{sha256}-*.json"):
        try:
            texts.append(path.read_bytes())
        except OSError:
            continue
    profiles = [profile for text in texts if (profile := parse_profile(text))]
    return max(profiles, key=lambda profile: profile.measured_at, default=None)
