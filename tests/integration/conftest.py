"""Real parts: a Redis, worker processes, a queue to talk to them, models made on the spot."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import numpy as np
import onnxruntime
import pytest
from moto.server import ThreadedMotoServer

from ferry.jobs import JobRecord, Submission, new_job_id
from ferry.manifest import MODEL_FILE, Manifest, sha256_of, write_manifest
from ferry.queue.connection import connect_async
from ferry.queue.producer import Limits, Producer
from ferry.settings import NAMESPACE, Settings
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.manifests import manifest, spec
from tests.namespaces import client_of
from tests.processes import GIVE_UP_S, Process, running

LIMITS = Limits(
    max_waiting_rows=10**6,
    max_waiting_bytes=2**30,
    max_rows_in_all=10**6,
    max_bytes_in_all=2**30,
    deadline_s=600,
    result_ttl_s=600,
)
# Short, so that a killed worker's jobs come back soon.
LEASE_S = "1"

StartWorker = Callable[..., Process]


def publish(models: Path, proto: object, made: Manifest) -> Manifest:
    """Put a model into a repository folder, its manifest last, as a publisher does."""
    folder = models / made.name / made.version
    folder.mkdir(parents=True)
    path = onnx_models.save(proto, folder / MODEL_FILE)
    named = made.model_copy(update={"sha256": sha256_of(path)})
    write_manifest(named, folder)
    return named


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with `toy`: y = x + x."""
    root = tmp_path / "models"
    publish(root, onnx_models.doubled(), manifest("toy", outputs=(spec("y", "float32", 3),), max_rows=16))
    return root


@pytest.fixture
def start_worker(redis_url: str, models: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Start worker processes on the test's Redis and models; they end with the test."""
    with ExitStack() as stack:
        started = 0

        def start(**settings: str) -> Process:
            nonlocal started
            started += 1
            env = {
                "FERRY_REDIS_URL": redis_url,
                "FERRY_MODELS_DIR": str(models),
                "FERRY_DATA_DIR": str(tmp_path / "data"),
                "FERRY_WORKER_NAME": f"worker-{started}",
                "FERRY_LEASE_S": LEASE_S,
                **settings,
            }
            return stack.enter_context(running("worker", env, tmp_path / f"worker-{started}.log"))

        yield start


@pytest.fixture
async def producer(redis_url: str, anyio_backend: str) -> AsyncIterator[Producer]:
    client = connect_async(redis_url, NAMESPACE).redis
    yield Producer(client_of(client), LIMITS)
    await client.aclose(close_connection_pool=True)


async def serving(producer: Producer, name: str = "toy", *, workers: int = 1) -> None:
    """Return when that many workers serve a model."""
    with anyio.fail_after(GIVE_UP_S):
        while True:
            statuses = {status.manifest.name: status.live_workers for status in await producer.models()}
            if statuses.get(name, 0) == workers:
                return
            await anyio.sleep(0.05)


async def results(producer: Producer, ids: list[str]) -> list[JobRecord]:
    """Return the records of all jobs once they are terminal."""
    with anyio.fail_after(2 * GIVE_UP_S):
        while True:
            records = await producer.read_many(ids)
            if all(record and record.state.is_terminal for record in records):
                return [record for record in records if record]
            await anyio.sleep(0.05)


def job(model: Manifest, *arrays: np.ndarray) -> Submission:
    """A job of these input arrays, rows first."""
    payload = TensorCodec(model.inputs).pack(arrays)
    return Submission(new_job_id(), model.name, model.version, arrays[0].shape[0], payload)


def direct(models: Path, name: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime itself says to these rows."""
    session = onnxruntime.InferenceSession(str(models / name / "1" / MODEL_FILE), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([each.name for each in session.get_inputs()], arrays, strict=True)))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a storage in an object store, whose keys are in the environment as usual."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    options = {"endpoint_url": f"http://{host}:{port}"}
    # What moto stores is the process's, not the server's.
    httpx.post(f"{options['endpoint_url']}/moto-api/reset").raise_for_status()
    httpx.put(f"{options['endpoint_url']}/bucket").raise_for_status()
    yield Settings(_env_file=None, storage_url="s3://bucket/ferry", storage_options=json.dumps(options))
    server.stop()
