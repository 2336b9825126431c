"""Models that come from an object store: a worker with an empty folder serves what is published there."""

import shutil
from pathlib import Path

import pytest

from ferry.model_mirror import mirror_of
from ferry.queue.producer import Producer
from ferry.settings import Settings
from tests import onnx_models
from tests.integration.conftest import StartWorker, job, publish, results, serving
from tests.integration.test_worker import TOY, rows
from tests.manifests import manifest, spec

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def test_worker_when_versions_come_and_go_in_the_store_then_it_serves_those(
    start_worker: StartWorker, producer: Producer, s3: Settings, models: Path, tmp_path: Path
) -> None:
    url = "s3://bucket/models"
    publisher = mirror_of(s3.model_copy(update={"models_url": url, "models_dir": models}))
    assert publisher
    publisher.push("toy", "1")
    worker = start_worker(
        FERRY_MODELS_DIR=str(tmp_path / "empty"), FERRY_MODELS_URL=url, FERRY_MODELS_SYNC_S="1",
        FERRY_STORAGE_OPTIONS=s3.storage_options,
    )  # fmt: skip
    await serving(producer)
    task = job(TOY, rows(3))
    await producer.submit([task])
    (record,) = await results(producer, [task.id])
    assert record.output
    publish(models, onnx_models.doubled(), manifest("second", outputs=(spec("y", "float32", 3),)))
    publisher.push("second", "1")
    await serving(producer, "second")
    publisher.remove("toy", "1")
    await serving(producer, workers=0)
    assert not (tmp_path / "empty" / "toy").exists()
    assert worker.is_running()


async def test_worker_when_the_store_is_away_at_its_start_then_it_says_so_and_serves_what_it_has(
    start_worker: StartWorker, producer: Producer, models: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(models, gone)
    worker = start_worker(
        FERRY_MODELS_DIR=str(gone), FERRY_MODELS_URL="s3://bucket/models",
        FERRY_STORAGE_OPTIONS='{"endpoint_url": "http://127.0.0.1:1", "key": "id", "secret": "secret"}',
    )  # fmt: skip
    await serving(producer)
    assert "no news from FERRY_MODELS_URL, models stay as they are" in worker.output
