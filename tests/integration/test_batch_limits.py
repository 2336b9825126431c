"""Real workers that measure their models, publish what they chose, and are tuned while they run."""

from pathlib import Path

import anyio
import numpy as np
import pytest
from typer.testing import CliRunner

from ferry.cli import models as models_command
from ferry.profile import PROFILES_DIR
from ferry.queue.producer import ModelStatus, Producer
from tests import onnx_models
from tests.integration.conftest import StartWorker, job, publish, results, serving
from tests.manifests import manifest, spec
from tests.processes import GIVE_UP_S

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def status_of(producer: Producer, name: str) -> ModelStatus:
    return next(status for status in await producer.models() if status.manifest.name == name)


@pytest.fixture
def free(models: Path):
    """A model whose manifest leaves its batches to the measurement."""
    made = manifest("free", outputs=(spec("y", "float32", 3),), max_rows=None)
    return publish(models, onnx_models.doubled(), made)


async def test_worker_when_the_manifest_says_no_rows_then_it_chooses_and_publishes_them(
    start_worker: StartWorker, producer: Producer, tmp_path: Path, free
) -> None:
    start_worker()
    await serving(producer, "free")
    status = await status_of(producer, "free")
    assert status.profile is not None
    assert status.limits.max_rows == status.profile.max_rows in status.profile.sizes
    assert "onnxruntime" in status.profile.machine
    said = await status_of(producer, "toy")
    assert (said.limits.max_rows, said.profile is None) == (16, False)
    kept = [path.name for path in (tmp_path / "data" / PROFILES_DIR).glob("*.json")]
    assert [name.startswith(free.sha256) for name in kept] == [True]  # toy is the same file, measured once


async def test_worker_when_a_second_starts_then_it_reads_what_the_first_measured(
    start_worker: StartWorker, producer: Producer, free
) -> None:
    first, second = start_worker(), start_worker()
    await serving(producer, "free", workers=2)
    assert (first.output + second.output).count("measured ") == 1


async def test_tune_when_a_worker_runs_then_it_follows_without_restart_until_reset(
    start_worker: StartWorker, producer: Producer, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERRY_REDIS_URL", redis_url)
    process = start_worker()
    await serving(producer, "free")
    chosen = (await status_of(producer, "free")).limits.max_rows
    assert chosen > 2

    async def largest_batch() -> int:
        jobs = [job(free, np.ones((1, 3), np.float32)) for _ in range(64)]
        await producer.submit(jobs)
        return max(record.batch_rows or 0 for record in await results(producer, [each.id for each in jobs]))

    def tune(*arguments: str) -> str:
        result = CliRunner().invoke(models_command.app, ["tune", *arguments])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert tune("free", "--max-rows", "2") == "free:1: up to 2 rows in one run, waiting 0 ms\n"
    with anyio.fail_after(GIVE_UP_S):
        while await largest_batch() > 2:
            pass
    assert tune("free:1", "--reset").startswith(f"free:1: up to {chosen} rows")
    with anyio.fail_after(GIVE_UP_S):
        while await largest_batch() <= 2:
            pass
    assert process.is_running()
    unknown = CliRunner().invoke(models_command.app, ["tune", "ghost", "--max-rows", "2"])
    assert unknown.exit_code == 1
    assert "it knows free:1, toy:1" in unknown.stderr
    nothing = CliRunner().invoke(models_command.app, ["tune", "free"])
    assert "nothing to do; name --max-rows" in nothing.stderr
