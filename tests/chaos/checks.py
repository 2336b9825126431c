"""Holds what clients saw, what Redis says in the end and what was published against the design's invariants."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ferry.jobs import CANCELED_BY_USER, DEADLINE_EXCEEDED, WORKER_LOST, JobRecord, State
from ferry.manifest import Manifest
from ferry.tensors import TensorCodec
from tests.chaos import model
from tests.chaos.load import Job
from tests.chaos.parts import MAX_ATTEMPTS
from tests.chaos.plan import Errand

# How each errand may end, beside WORKER_LOST after MAX_ATTEMPTS claims, which may befall any.
_ENDS = {
    Errand.ORDINARY: {"succeeded"},
    Errand.RAISES: {"failed/model_error"},
    Errand.DEADLINE: {"succeeded", f"canceled/{DEADLINE_EXCEEDED}"},
    Errand.CANCEL: {"succeeded", f"canceled/{CANCELED_BY_USER}"},
}
_LOST = f"failed/{WORKER_LOST}"
# A line of an error as ferry.logs writes it, or of a traceback.
_ERROR = re.compile(r"\[(error|critical) *\]|^Traceback ")
# Celery's word for a Redis that is away, which is what the run does to it.
_OUTAGE = re.compile(r"\[error *\] consumer: Cannot connect to redis://")


def end_of(record: JobRecord) -> str:
    """Return state and reason in one."""
    return f"{record.state.value}/{record.error_code}" if record.error_code else record.state.value


class Checks:
    """The violations of one run by what they are about: lost, wrong, duplicated, other."""

    def __init__(self, seed: int, manifest: Manifest) -> None:
        self.found: Counter[str] = Counter()
        self.violations: list[str] = []
        self._seed = seed
        self.manifest = manifest
        self._outputs = TensorCodec(manifest.outputs)

    def complain(self, about: str, what: str) -> None:
        """Add a violation."""
        self.found[about] += 1
        self.violations.append(f"{about}: {what}")

    def check_jobs(self, jobs: Sequence[Job], records: Mapping[str, JobRecord | None]) -> None:
        """Every accepted job is there, has ended once and as it may, and says the same as before (I1, I4, I5, I6)."""
        accepted = [job for job in jobs if job.id]
        for job_id, n in Counter(job.id for job in accepted).items():
            if n > 1:
                self.complain("other", f"job {job_id} stands for {n} submissions")
        for job in accepted:
            who = f"job {job.id} (number {job.plan.number}, {job.plan.errand.value}, {job.plan.n_rows} rows)"
            record = records[job.id]
            for fault in job.faults:
                self.complain("other", f"{who} {fault}")
            if record is None:
                self.complain("lost", f"{who} was accepted and is not there")
            elif not record.state.is_terminal:
                self.complain("lost", f"{who} is still {record.state.value}, attempt {record.attempts}")
            else:
                self._check_end(job, record, who)
        for job in jobs:
            if not job.id and any("503" not in fault for fault in job.faults):
                self.complain("other", f"number {job.plan.number} was never accepted: {'; '.join(job.faults)}")

    def _check_end(self, job: Job, record: JobRecord, who: str) -> None:
        end = end_of(record)
        seen = f"{job.state}/{job.error_code}" if job.error_code else job.state
        if job.state and seen != end:
            self.complain("other", f"{who} was {seen} and is {end} in the end (I1)")
        if not self._is_right(job, record) or not job.is_right:
            self.complain("wrong", f"{who} has not the output of its rows alone (I5), {end}")
        if end not in _ENDS[job.plan.errand] | {_LOST}:
            self.complain("wrong", f"{who} ended {end}: {record.error}")
        if record.attempts > MAX_ATTEMPTS or (end == _LOST and record.attempts != MAX_ATTEMPTS):
            self.complain("other", f"{who} ended {end} after {record.attempts} attempts (I4)")
        if record.state is State.CANCELED and (record.output is not None or record.batch_id is not None):
            self.complain("other", f"{who} is {end} and has an output or a batch (I6)")
        if record.started_us and record.completed_us and record.started_us > record.completed_us:
            self.complain("other", f"{who} was claimed after it was {end} (I6)")

    def _is_right(self, job: Job, record: JobRecord) -> bool:
        if record.state is not State.SUCCEEDED:
            return record.output is None
        x, k = model.rows(self._seed, job.plan.number, job.plan.n_rows, is_bad=job.plan.errand is Errand.RAISES)
        if record.output is None:
            return False
        (output,) = self._outputs.unpack(record.output)
        expected = model.answer(x, k)
        return output.shape == expected.shape and np.allclose(output, expected, rtol=0, atol=1e-6)

    def check_news(self, jobs: Sequence[Job], counts: Mapping[str, int]) -> None:
        """No job was said to be terminal twice (I3); news of jobs whose client never got an answer is no fault."""
        for job_id, n in counts.items():
            if n > 1:
                number = next((job.plan.number for job in jobs if job.id == job_id), "unknown")
                self.complain("duplicated results", f"job {job_id} (number {number}) was settled {n} times (I3)")

    def check_logs(self, folder: Path) -> None:
        """No part logged an error: outages are warnings, an error is something nobody thought of."""
        for log in sorted(folder.glob("*.log")):
            errors = [line for line in log.read_text(errors="replace").splitlines() if _ERROR.search(line)]
            errors = [line for line in errors if not _OUTAGE.search(line)]
            if errors:
                self.complain("other", f"{log.name} has {len(errors)} errors, the first: {errors[0][:500]}")

    def check_leftovers(self, leftovers: Mapping[str, str]) -> None:
        """Redis is as empty as before (I7)."""
        for key, what in leftovers.items():
            self.complain("other", f"{key} is left over: {what} (I7)")
