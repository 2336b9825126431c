"""One API in this process: its application on the queue in memory, a client, and a hand that plays the worker."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from api.app import build_app
from api.services import Services
from ferry.bulk.storage import Storage
from ferry.jobs import Claim, Outcome
from ferry.manifest import MODEL_FILE, Manifest, write_manifest
from ferry.queue.producer import limits_of
from ferry.settings import ENV_PREFIX, Settings
from ferry.tensors import Array, codec_of
from tests.fakes.memory_batches import MemoryBatches
from tests.fakes.memory_files import MemoryFiles
from tests.fakes.memory_keys import MemoryKeys
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.skipping_loop import SkippingLoop
from tests.manifests import manifest

Compute = Callable[[list[Array]], list[Array]]
RUN_US = 4000


def sum_and_rest(arrays: list[Array]) -> list[Array]:
    """Give y (N, 2) = [sum of x, 10 - sum of x]."""
    total = arrays[0].sum(axis=1)
    return [np.stack([total, 10 - total], axis=1)]


@dataclass
class Api:
    """What the tests of the routes work with."""

    app: FastAPI
    client: httpx.AsyncClient
    queue: MemoryQueue
    models: Path
    files: MemoryFiles
    batches: MemoryBatches

    @property
    def services(self) -> Services:
        return self.app.state.services

    async def add_model(self, added: Manifest, *, is_served: bool = True) -> None:
        """Put a model into the folder, give it a worker, and let the catalog see both."""
        put_model(self.models, added)
        await self.services.catalog.refresh()
        if is_served:
            self.queue.beat(dict.fromkeys([(added.name, added.version)], ""))
            await self.services.catalog.refresh()

    def claim(self, name: str = "toy", version: str = "1") -> Claim:
        """Take what waits, as a worker does."""
        return self.queue.claim(name, version, max_rows=1000)

    def serve(
        self, compute: Compute = sum_and_rest, *, name: str = "toy", version: str = "1", error_code: str = ""
    ) -> Claim:
        """Claim what waits, compute it job by job, and settle; with `error_code` every job fails."""
        claim = self.claim(name, version)
        served = self.queue.lanes[name, version].manifest
        inputs, outputs = (codec_of(specs, is_batched=served.is_batched) for specs in (served.inputs, served.outputs))
        outcomes = [
            Outcome(job.id, "ticket.1", claim.rows, len(claim.jobs), RUN_US, job.attempt, job.started_us)
            for job in claim.jobs
        ]
        for job, outcome in zip(claim.jobs, outcomes, strict=True):
            if error_code:
                outcome.error_code, outcome.error = error_code, "it broke"
            else:
                outcome.output = outputs.pack(compute(inputs.unpack(job.payload)))
        if claim.jobs:
            self.queue.settle(claim, name, version, outcomes, is_last=True)
        return claim

    async def answered(
        self, sending: Awaitable[httpx.Response], compute: Compute = sum_and_rest, **how: Any
    ) -> httpx.Response:
        """Await a request that waits for its job, and serve the job meanwhile."""
        request = asyncio.ensure_future(sending)
        while not (await asyncio.wait({request}, timeout=0.001))[0]:
            self.serve(compute, **how)
        return request.result()

    async def submitted(self, value: object, version: str = "toy", **inputs: object) -> dict[str, Any]:
        """Submit a job and return the answer's body."""
        body = {"version": version, "input": inputs or {"x": value}}
        response = await self.client.post("/v1/predictions", json=body)
        assert response.status_code == 202, response.text
        return response.json()


def put_model(folder: Path, added: Manifest) -> Path:
    """Lay a version into a model repository; its file is empty, since the API never opens it."""
    place = folder / added.name / added.version
    place.mkdir(parents=True, exist_ok=True)
    (place / MODEL_FILE).touch()
    write_manifest(added, place)
    return place


def assert_problem(response: httpx.Response, status: int, code: str, pointer: str | None = None) -> str:
    """Check that the response is a problem body in full; returns its detail."""
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == "urn:ferry:problem:" + code.replace("_", "-")
    assert body["title"]
    assert body["error"] == body["detail"]
    assert body["instance"] == response.request.url.path
    if pointer is not None:
        assert [fault["pointer"] for fault in body["errors"]] == [pointer]
        assert body["errors"][0]["detail"]
    return body["detail"]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Waits of a minute are skipped."""
    return "asyncio", {"loop_factory": SkippingLoop}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(key)


@pytest.fixture
def api_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(
        _env_file=None, models_dir=tmp_path / "models", default_model="toy", max_body_bytes=20_000,
        max_file_bytes=3_000_000, job_deadline_s=600, result_ttl_s=60, max_waiting_rows=1000,
        max_waiting_bytes=1_000_000,
    )  # fmt: skip


@pytest.fixture
def api_keys() -> MemoryKeys | None:
    """The API keys that are asked for; None: none is."""
    return None


@pytest.fixture
async def api(api_settings: Settings, api_keys: MemoryKeys | None, anyio_backend: object) -> AsyncIterator[Api]:
    """The API with the model toy:1 of tests.manifests, which one worker serves."""
    queue = MemoryQueue(limits_of(api_settings))
    await queue.register(manifest())
    queue.beat({("toy", "1"): ""})
    put_model(api_settings.models_dir, manifest())
    files = MemoryFiles(Storage(str(api_settings.data_dir.absolute() / "files")))
    batches = MemoryBatches(files, queue)
    app = build_app(api_settings, queue=queue, files=files, batches=batches, finder=api_keys)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://ferry") as client,
    ):
        yield Api(app, client, queue, api_settings.models_dir, files, batches)
