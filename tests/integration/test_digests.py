"""Workers with different files under one version, and files that are replaced on all of them."""

from dataclasses import dataclass
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
PAUSE_S = 0.02  # between the jobs of a steady stream


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


@dataclass(frozen=True)
class Answered:
    """A job of a steady stream. at_s: when it was claimed, from the first; waited_s: from its acceptance to its end."""

    at_s: float
    waited_s: float
    is_new: bool


async def steady(producer: Producer, model: Manifest, until: anyio.Event) -> list[str]:
    """Submit a job every PAUSE_S until told to stop; return their ids."""
    ids: list[str] = []
    while not until.is_set():
        one = job(model, ROW)
        await producer.submit([one])
        ids.append(one.id)
        await anyio.sleep(PAUSE_S)
    return ids


async def replace_one_after_the_other(producer: Producer, roots: list[Path], old: Manifest) -> Manifest:
    """Put the other model under the version on one worker, and later on the other."""
    await wait_for(producer, old.digest, live=2, other=0)
    await anyio.sleep(1)
    for n_old, root in zip((1, 0), roots, strict=True):
        (root / "toy" / "1").rename(root / ".outgoing")
        new = toy(root, onnx_models.identity("float32", ("N", 3)), "leaves as it is")
        live = (old.digest, 1, 1) if n_old else (new.digest, 2, 0)
        await wait_for(producer, live[0], live=live[1], other=live[2])
        await anyio.sleep(1)
    return new


async def test_workers_when_files_are_replaced_one_after_the_other_then_the_answers_change_once_and_none_stalls(
    start_worker: StartWorker, producer: Producer, tmp_path: Path
) -> None:
    """`pytest -s` prints how many answers each digest gave in each half second, and how long they took."""
    roots = [tmp_path / "first", tmp_path / "second"]
    for root in roots:
        old = toy(root, onnx_models.doubled(), "doubles")
        start_worker(FERRY_MODELS_DIR=str(root))
    await serving(producer)
    over, ids = anyio.Event(), list[str]()

    async def submit() -> None:
        ids.extend(await steady(producer, old, over))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(submit)
        await replace_one_after_the_other(producer, roots, old)
        over.set()
    records = await results(producer, ids)
    assert {record.state for record in records} == {State.SUCCEEDED}
    codec, first_us = TensorCodec(old.outputs), min(record.started_us or 0 for record in records)
    answered = [
        Answered(
            ((record.started_us or 0) - first_us) / 1e6,
            ((record.completed_us or 0) - record.created_us) / 1e6,
            codec.unpack(record.output or b"")[0].tolist() == SAME,
        )
        for record in sorted(records, key=lambda record: record.started_us or 0)
    ]
    print_timeline(answered)
    is_new = [each.is_new for each in answered]
    assert is_new == sorted(is_new)
    assert {True, False} == set(is_new)


def print_timeline(answered: list[Answered]) -> None:
    """Print the answers by half seconds."""
    print("\n| from s | by the old files | by the new files | longest wait s |\n|---|---|---|---|")  # noqa: T201
    for half in range(int(answered[-1].at_s * 2) + 1):
        some = [each for each in answered if int(each.at_s * 2) == half]
        n_new, longest = sum(each.is_new for each in some), max((each.waited_s for each in some), default=0.0)
        print(f"| {half / 2} | {len(some) - n_new} | {n_new} | {longest:.3f} |")  # noqa: T201
