"""A model that was declared batched and mixes rows beside large values alone: found in production, and switched."""

from pathlib import Path

import anyio
import numpy as np
import pytest

from ferry.jobs import State
from ferry.manifest import Evidence, Execution, ExecutionMode, Manifest, TensorSpec
from ferry.queue.producer import ModelStatus, Producer
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.integration.conftest import StartWorker, direct, job, publish, results, serving
from tests.manifests import manifest
from tests.processes import GIVE_UP_S

pytestmark = pytest.mark.anyio
LIMIT = 100.0
# Jobs of one round; every eighth is large enough to open the gate for those that share its run.
N_JOBS = 64


def gated(root: Path) -> Manifest:
    """Publish a model whose rows meet only where one of them is above LIMIT, as its author declared it: batched."""
    tensors = [TensorSpec(name=name, dtype="float32", shape=(None, 3)) for name in ("x", "y")]
    said = Execution(mode=ExecutionMode.BATCHED, evidence=Evidence.DECLARED, reason="the author says so")
    made = manifest("gated", inputs=(tensors[0],), outputs=(tensors[1],), max_rows=16)
    return publish(
        root, onnx_models.decides_over_the_batch("ReduceMax", LIMIT), made.model_copy(update={"execution": said})
    )


async def status(producer: Producer) -> ModelStatus:
    (seen,) = [each for each in await producer.models() if each.manifest.name == "gated"]
    return seen


async def n_wrong(producer: Producer, models: Path, model: Manifest) -> int:
    """Send a round of jobs at once; count answers that are not those of the model alone."""
    rows = [np.full((1, 3), 500 if n % 8 == 0 else 1 + n % 5, np.float32) for n in range(N_JOBS)]
    jobs = [job(model, row) for row in rows]
    await producer.submit(jobs)
    records = await results(producer, [each.id for each in jobs])
    assert {record.state for record in records} == {State.SUCCEEDED}
    codec = TensorCodec(model.outputs)
    return sum(
        not np.allclose(codec.unpack(record.output or b"")[0], direct(models, "gated", row)[0])
        for record, row in zip(records, rows, strict=True)
    )


async def test_gated_model_when_its_rows_meet_then_switched_everywhere_and_right_ever_after(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    model = gated(models)
    settings = {"FERRY_NEIGHBOUR_CHECK_SHARE": "0.5"}
    first = start_worker(**settings)
    start_worker(**settings)
    await serving(producer, "gated", workers=2)
    rounds, wrong = 0, 0
    with anyio.fail_after(GIVE_UP_S):
        while not (await status(producer)).switched:
            wrong += await n_wrong(producer, models, model)
            rounds += 1
    assert wrong > 0  # the fault that it is there to find
    reason = (await status(producer)).switched
    assert "rows influence each other: the answer of job " in reason
    await anyio.sleep(2.5)  # both workers hear of it with their next heartbeat
    assert await n_wrong(producer, models, model) == 0
    first.end()
    # A worker that starts later asks before its first job, not with its first heartbeat.
    jobs_wrong = [await n_wrong(producer, models, model)]
    start_worker(**settings)
    with anyio.fail_after(GIVE_UP_S):
        while (await status(producer)).live_workers < 2:
            jobs_wrong.append(await n_wrong(producer, models, model))
    jobs_wrong.append(await n_wrong(producer, models, model))
    assert set(jobs_wrong) == {0}
    assert (await status(producer)).switched == reason
