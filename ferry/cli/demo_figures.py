"""What came back from the demo's jobs, as figures. Knows predictions; sends and prints nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ferry.cli.terminal import Pixels
from ferry.client import Prediction

N_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one job: a finished prediction, or why there is none."""

    image: Pixels
    truth: int
    prediction: Prediction | None
    scores: tuple[float, ...] = ()
    fault: str = ""

    @property
    def digit(self) -> int:
        """The class with the highest score."""
        return int(np.argmax(self.scores))

    @property
    def is_right(self) -> bool:
        """Whether the model saw what is there."""
        return bool(self.scores) and self.digit == self.truth


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run; None where nothing succeeded. Times are the server's own, from submit to result."""

    n_jobs: int
    n_succeeded: int
    accuracy: float | None
    jobs_per_s: float | None
    n_batches: int
    rows_per_batch: float | None
    p50_ms: float | None
    p99_ms: float | None
    faults: Counter[str]


def summarize(answers: Sequence[Answer]) -> Summary:
    """Return the figures of a run."""
    good = [(answer, answer.prediction) for answer in answers if answer.prediction and not answer.fault]
    totals_ms = [1000 * job.total_time_s for _, job in good if job.total_time_s is not None]
    batches = {job.batch_id for _, job in good if job.batch_id}
    starts = [job.created_at for _, job in good if job.created_at]
    ends = [job.completed_at for _, job in good if job.completed_at]
    span_s = (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0
    return Summary(
        n_jobs=len(answers),
        n_succeeded=len(good),
        accuracy=sum(answer.is_right for answer, _ in good) / len(good) if good else None,
        jobs_per_s=len(good) / span_s if span_s > 0 else None,
        n_batches=len(batches),
        # Each job of the demo is one row.
        rows_per_batch=len(good) / len(batches) if batches else None,
        p50_ms=float(np.percentile(totals_ms, 50)) if totals_ms else None,
        p99_ms=float(np.percentile(totals_ms, 99)) if totals_ms else None,
        faults=Counter(answer.fault for answer in answers if answer.fault),
    )


def pick_shown(answers: Sequence[Answer]) -> list[Answer]:
    """Return the digits to draw: the first ones read rightly, and the first misread one, if any, as the last."""
    right = [answer for answer in answers if answer.is_right]
    wrong = [answer for answer in answers if answer.scores and not answer.is_right][:1]
    return right[: N_SHOWN - len(wrong)] + wrong
