"""Real worker processes on a real Redis, with real onnxruntime: right answers, whatever is killed."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from ferry.jobs import State
from ferry.manifest import read_manifest, write_manifest
from ferry.queue.producer import Producer
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.integration.conftest import StartWorker, direct, job, publish, results, serving
from tests.manifests import manifest, spec
from tests.namespaces import KEYS
from tests.processes import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

TOY = manifest("toy", outputs=(spec("y", "float32", 3),), max_rows=16)


def rows(n_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n_rows, 3), dtype=np.float32)


async def test_worker_when_jobs_wait_then_batched_and_equal_to_direct_runs(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    await producer.register(TOY)
    sizes = [1 + n % 5 for n in range(200)]
    inputs = [rows(size, seed) for seed, size in enumerate(sizes)]
    jobs = [job(TOY, array) for array in inputs]
    await producer.submit(jobs)
    start_worker()
    records = await results(producer, [each.id for each in jobs])
    assert {record.state for record in records} == {State.SUCCEEDED}
    for record, array in zip(records, inputs, strict=True):
        (output,) = TensorCodec(TOY.outputs).unpack(record.output or b"")
        (expected,) = direct(models, "toy", array)
        np.testing.assert_allclose(output, expected, atol=1e-6)
    batches = {record.batch_id for record in records}
    assert sum(sizes) / len(batches) > 8
    assert max(record.batch_rows or 0 for record in records) <= 16


async def test_worker_when_one_job_raises_then_only_it_fails(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    made = manifest("picky", inputs=(spec("index", "int64"),), max_rows=32)
    picky = publish(models, onnx_models.raises_on_big_index(), made)
    await producer.register(picky)
    jobs = [job(picky, np.array([99 if n == 20 else n % 10])) for n in range(32)]
    await producer.submit(jobs)
    start_worker()
    records = await results(producer, [each.id for each in jobs])
    failed = [record for record in records if record.state is State.FAILED]
    assert [record.id for record in failed] == [jobs[20].id]
    assert failed[0].error_code == "model_error"
    assert failed[0].error
    assert sum(record.state is State.SUCCEEDED for record in records) == 31


async def test_worker_when_model_is_added_or_removed_while_it_runs_then_it_follows(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    process = start_worker()
    await serving(producer)
    second = publish(models, onnx_models.doubled(), manifest("second", outputs=(spec("y", "float32", 3),)))
    await serving(producer, "second")
    task = job(second, rows(2))
    await producer.submit([task])
    (record,) = await results(producer, [task.id])
    assert record.state is State.SUCCEEDED
    (models / "second" / "1" / "manifest.json").unlink()
    eventually(lambda: "no longer serving second:1" in process.output, "the worker lets go of the model")


async def test_worker_when_every_model_is_broken_then_it_stops_and_says_why_on_one_line(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    (models / "toy" / "1" / "model.onnx").write_bytes(b"not a model")
    process = start_worker()
    assert process.wait() == 1
    (line,) = [line for line in process.output.splitlines() if line.startswith("worker: ")]
    assert line.startswith("worker: every model is broken, so there is nothing to serve: toy:1: ")
    assert "sha256" in line
    assert "Traceback" not in process.output
    assert [each.key for each in await producer.broken()] == [("toy", "1")]


async def test_worker_when_half_a_model_is_beside_a_good_one_then_it_serves_the_good_one_and_reports_the_other(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    half = publish(models, onnx_models.doubled(), manifest("half", outputs=(spec("scores", "float32", 3),)))
    first = start_worker()
    await serving(producer)
    for process in (first, start_worker()):
        task = job(TOY, rows(2))
        await producer.submit([task])
        (record,) = await results(producer, [task.id])
        assert record.state is State.SUCCEEDED
        (report,) = await producer.broken()
        assert (report.key, report.reason) == (
            ("half", "1"), "the manifest names output 'scores', the model has 'y'",
        )  # fmt: skip
        assert process.output.count("model_broken: half:1") == 1
        process.signal(signal.SIGKILL)
    # The manifest is mended while a worker runs.
    process = start_worker()
    await serving(producer)
    mended = half.model_copy(update={"outputs": (spec("y", "float32", 3),)})
    write_manifest(mended, models / "half" / "1")
    await serving(producer, "half")
    task = job(mended, rows(1))
    await producer.submit([task])
    (record,) = await results(producer, [task.id])
    assert record.state is State.SUCCEEDED


async def test_worker_when_told_to_stop_then_exits_cleanly_and_nothing_is_lost(
    start_worker: StartWorker, producer: Producer
) -> None:
    first = start_worker()
    await serving(producer)
    jobs = [job(TOY, rows(1, seed)) for seed in range(3000)]
    await producer.submit(jobs)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    start_worker()
    records = await results(producer, [each.id for each in jobs])
    assert {record.state for record in records} == {State.SUCCEEDED}
    assert max(record.attempts for record in records) == 1


async def test_worker_when_one_of_two_is_killed_then_all_5000_digits_succeed_and_are_right(
    start_worker: StartWorker, producer: Producer, models: Path, models_dir: Path
) -> None:
    shutil.copytree(models_dir / "mnist", models / "mnist")
    mnist = read_manifest(models / "mnist" / "1")
    with np.load(models / "mnist" / "1" / "samples" / "digits.npz", allow_pickle=False) as file:
        digits = np.tile(np.float32(file["x"]) / np.float32(255), (5, 1, 1))
    workers = [start_worker(), start_worker()]
    await serving(producer, "mnist", workers=2)
    jobs = [job(mnist, digits[n : n + 1]) for n in range(5000)]
    for start in range(0, len(jobs), 500):
        await producer.submit(jobs[start : start + 500])
        if start == 2000:
            workers[0].signal(signal.SIGKILL)
    records = await results(producer, [each.id for each in jobs])
    assert {record.state for record in records} == {State.SUCCEEDED}
    outputs = np.concatenate([TensorCodec(mnist.outputs).unpack(record.output or b"")[0] for record in records])
    (expected,) = direct(models, "mnist", digits)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).all()


async def test_worker_when_frozen_beyond_its_lease_then_another_does_its_jobs(
    start_worker: StartWorker, producer: Producer
) -> None:
    frozen = start_worker()
    await serving(producer)
    jobs = [job(TOY, rows(1, seed)) for seed in range(2000)]
    await producer.submit(jobs)
    frozen.signal(signal.SIGSTOP)
    start_worker()
    records = await results(producer, [each.id for each in jobs])
    frozen.signal(signal.SIGCONT)
    assert {record.state for record in records} == {State.SUCCEEDED}
    eventually(frozen.is_running, "the frozen worker goes on")
    assert await producer.read_many([each.id for each in jobs]) == records


async def test_worker_when_every_ticket_is_lost_then_the_keeper_sends_more(
    start_worker: StartWorker, producer: Producer, redis_url: str
) -> None:
    await producer.register(TOY)
    task = job(TOY, rows(1))
    await producer.submit([task])
    await producer._redis.delete(KEYS.tickets + "toy:1")
    start_worker()
    (record,) = await results(producer, [task.id])
    assert record.state is State.SUCCEEDED


async def test_worker_when_a_model_is_unloaded_then_its_jobs_wait_until_it_is_loaded_again(
    start_worker: StartWorker, producer: Producer
) -> None:
    start_worker()
    await serving(producer)
    await producer.set_loaded([("toy", "1")], is_loaded=False)
    await serving(producer, workers=0)
    newcomer = start_worker()
    eventually(lambda: "ready." in newcomer.output, "a worker that starts now")
    task = job(TOY, rows(2))
    await producer.submit([task])
    assert "serving toy:1" not in newcomer.output
    record = await producer.read(task.id)
    assert record
    assert record.state is State.QUEUED
    await producer.set_loaded([("toy", "1")], is_loaded=True)
    (done,) = await results(producer, [task.id])
    assert done.state is State.SUCCEEDED
