"""The clients of a run: they send jobs over HTTP, again where an answer got lost, and follow each to its end."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from httpx_aiohttp import AiohttpTransport

from tests.chaos import model
from tests.chaos.plan import Errand, JobPlan

N_CLIENTS = 60
N_POLLERS = 10
POLL_AFTER_S = 1.0
WAIT_S = 5
# A request is given up after this and sent again: a waiting one takes WAIT_S, a dead Redis is said within 2 s.
TIMEOUT = httpx.Timeout(WAIT_S + 10.0, connect=2.0, pool=30.0)
MOST_TRIES = 100
AGAIN_S = 0.25  # after a lost connection
LONGEST_RETRY_AFTER_S = 5.0
TERMINAL = frozenset({"succeeded", "failed", "canceled"})

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Job:
    """A job and what its client was told: how it ended when it was first said to have ended."""

    plan: JobPlan
    id: str = ""
    state: str = ""
    error_code: str = ""
    is_right: bool = True
    faults: list[str] = field(default_factory=list)


class GaveUpError(Exception):
    """The API did not answer a request however often it was sent."""


class Load:
    """All clients together. Runs on an event loop of its own; its figures may be read from any thread."""

    def __init__(self, api_url: str, plans: Sequence[JobPlan], seed: int) -> None:
        self.jobs = [Job(plan) for plan in plans]
        self.said: Counter[str] = Counter()  # what requests met that did not get a 2xx
        self.n_sent = 0
        self.n_done = 0
        self._seed = seed
        self._run_key = f"{seed}-{time.time_ns()}"
        self._polled: deque[tuple[float, Job]] = deque()
        self._http = httpx.AsyncClient(
            base_url=api_url, transport=AiohttpTransport(trust_env=False), timeout=TIMEOUT, trust_env=False
        )

    @property
    def is_sent(self) -> bool:
        """Whether every job was sent."""
        return self.n_sent == len(self.jobs)

    @property
    def is_done(self) -> bool:
        """Whether every job was sent, and is terminal or was given up by its client."""
        return self.n_done == len(self.jobs)

    async def run(self) -> None:
        """Send all jobs and follow them; cancel it to end it early."""
        started_s = time.monotonic()
        jobs = iter(self.jobs)
        async with self._http, asyncio.TaskGroup() as group:
            for _ in range(N_CLIENTS):
                group.create_task(self._send_jobs(jobs, started_s))
            for _ in range(N_POLLERS):
                group.create_task(self._poll_jobs())

    async def _send_jobs(self, jobs: Iterator[Job], started_s: float) -> None:
        for job in jobs:
            await asyncio.sleep(max(0.0, started_s + job.plan.at_s - time.monotonic()))
            try:
                self._note(job, await self._submit(job))
                if job.plan.errand is Errand.CANCEL:
                    await self._cancel(job)
            except GaveUpError as error:
                job.faults.append(str(error))
            self.n_sent += 1
            if job.id and not job.state:
                self._polled.append((time.monotonic() + POLL_AFTER_S, job))
            else:
                self.n_done += 1

    async def _submit(self, job: Job) -> dict[str, Any]:
        plan = job.plan
        x, k = model.rows(self._seed, plan.number, plan.n_rows, is_bad=plan.errand is Errand.RAISES)
        headers = {"Idempotency-Key": f"{self._run_key}-{plan.number}"}
        if plan.waits:
            headers["Prefer"] = f"wait={WAIT_S}"
        if plan.urgency is not None:
            headers["Priority"] = f"u={plan.urgency}"
        if plan.cancel_after_ms is not None:
            headers["Cancel-After"] = f"{plan.cancel_after_ms}ms"
        body = {"version": model.NAME, "input": {"x": x.tolist(), "k": k.tolist()}}
        return await self._ask(job, "POST", "/v1/predictions", json=body, headers=headers)

    async def _cancel(self, job: Job) -> None:
        shown = await self._ask(job, "POST", f"/v1/predictions/{job.id}/cancel")
        self._note(job, shown)
        if shown["status"] not in TERMINAL:
            job.faults.append(f"is {shown['status']} in the answer to its cancel")

    async def _poll_jobs(self) -> None:
        while not self.is_done:
            if not self._polled or self._polled[0][0] > time.monotonic():
                await asyncio.sleep(0.05)
                continue
            _, job = self._polled.popleft()
            try:
                self._note(job, await self._ask(job, "GET", f"/v1/predictions/{job.id}"))
            except GaveUpError as error:
                job.faults.append(str(error))
                self.n_done += 1
                continue
            if job.state:
                self.n_done += 1
            else:
                self._polled.append((time.monotonic() + POLL_AFTER_S, job))

    async def _ask(self, job: Job, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Send a request until it is answered with 2xx; every request here is safe to send again.

        Raises:
            GaveUpError: it was refused, or unanswered, MOST_TRIES times, or answered with what should not be.
        """
        said = ""
        for _ in range(MOST_TRIES):
            try:
                response = await self._http.request(method, path, **more)
            except (httpx.TransportError, OSError) as error:
                said = f"{method} no answer" if not isinstance(error, httpx.ReadTimeout) else f"{method} timed out"
                pause_s = AGAIN_S
            else:
                if response.is_success:
                    return dict(response.json())
                said = f"{method} {response.status_code}"
                pause_s = min(float(response.headers.get("retry-after", AGAIN_S)), LONGEST_RETRY_AFTER_S)
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    job.faults.append(f"{method} {path} was answered {response.status_code}: {response.text[:500]}")
                if response.is_client_error:
                    break
            self.said[said] += 1
            await asyncio.sleep(pause_s)
        raise GaveUpError(f"gave up on {method} {path}, last heard: {said}")

    def _note(self, job: Job, shown: Mapping[str, Any]) -> None:
        """Keep what an answer says, and compare it with what was said before."""
        if not job.id:
            job.id = shown["id"]
        if shown["id"] != job.id:
            job.faults.append(f"was {job.id} and is {shown['id']} now")
        if job.state and (shown["status"], shown["error_code"] or "") != (job.state, job.error_code):
            job.faults.append(f"was {job.state}/{job.error_code} and is {shown['status']}/{shown['error_code']} now")
        elif not job.state and shown["status"] in TERMINAL:
            job.state, job.error_code = shown["status"], shown["error_code"] or ""
            job.is_right = self._is_right(job, shown["output"])

    def _is_right(self, job: Job, output: Mapping[str, Any] | None) -> bool:
        if job.state != "succeeded":
            return output is None
        x, k = model.rows(self._seed, job.plan.number, job.plan.n_rows, is_bad=job.plan.errand is Errand.RAISES)
        return output is not None and np.allclose(output["y"], model.answer(x, k), rtol=0, atol=1e-6)
