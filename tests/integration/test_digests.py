"""Workers with different files under one version, and files that are replaced on all of them."""

from pathlib import Path

import anyio
import numpy as np
import pytest

from ferry.jobs import State
from ferry.manifest import Manifest
from ferry.queue.producer import Producer
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.integration.conftest import StartWorker, job, publish, results, serving
from tests.manifests import manifest, spec
from tests.processes import GIVE_UP_S

pytestmark = pytest.mark.anyio
ROW = np.float32([[1, 2, 3]])
DOUBLED, SAME = [[2.0, 4.0, 6.0]], [[1.0, 2.0, 3.0]]
N_JOBS = 20


def toy(root: Path, proto: object, note: str) -> Manifest:
    """Put a model under the one version; `note` makes its manifest another one too."""
    made = manifest("toy", outputs=(spec("y", "float32", 3),), max_rows=16)
    return publish(root, proto, made.model_copy(update={"description": note}))


async def answers(producer: Producer, model: Manifest) -> list[list[list[float]]]:
    """Submit jobs and return what came back of each."""
    jobs = [job(model, ROW) for _ in range(N_JOBS)]
    await producer.submit(jobs)
    records = await results(producer, [each.id for each in jobs])
    assert {record.state for record in records} == {State.SUCCEEDED}
    codec = TensorCodec(model.outputs)
    return [codec.unpack(record.output or b"")[0].tolist() for record in records]


async def wait_for(producer: Producer, digest: str, *, live: int, other: int) -> None:
    with anyio.fail_after(GIVE_UP_S):
        while True:
            (seen,) = [each for each in await producer.models() if each.manifest.name == "toy"]
            if (seen.manifest.digest, seen.live_workers, seen.other_workers) == (digest, live, other):
                return
            await anyio.sleep(0.05)


async def test_workers_when_their_files_differ_then_one_digest_answers_until_all_have_the_other(
    start_worker: StartWorker, producer: Producer, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    old = toy(first, onnx_models.doubled(), "doubles")
    start_worker(FERRY_MODELS_DIR=str(first))
    await serving(producer)
    new = toy(second, onnx_models.identity("float32", ("N", 3)), "leaves as it is")
    start_worker(FERRY_MODELS_DIR=str(second))
    await wait_for(producer, old.digest, live=1, other=1)
    assert await answers(producer, old) == [DOUBLED] * N_JOBS
    # The first worker's files are replaced: nobody serves the old ones any more.
    (first / "toy" / "1").rename(first / ".outgoing")
    toy(first, onnx_models.identity("float32", ("N", 3)), "leaves as it is")
    await wait_for(producer, new.digest, live=2, other=0)
    assert await answers(producer, new) == [SAME] * N_JOBS


async def test_workers_when_jobs_wait_while_files_are_replaced_then_none_is_lost(
    start_worker: StartWorker, producer: Producer, tmp_path: Path
) -> None:
    root = tmp_path / "first"
    toy(root, onnx_models.doubled(), "doubles")
    start_worker(FERRY_MODELS_DIR=str(root))
    await serving(producer)
    (root / "toy" / "1").rename(root / ".outgoing")
    new = toy(root, onnx_models.identity("float32", ("N", 3)), "leaves as it is")
    given = await answers(producer, new)
    assert set(map(str, given)) <= {str(DOUBLED), str(SAME)}
    await wait_for(producer, new.digest, live=1, other=0)
    assert await answers(producer, new) == [SAME] * N_JOBS
