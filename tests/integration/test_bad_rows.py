"""One bad row among many jobs, on a real Redis with real worker processes: it costs its own job and no other.

With `-s` each test prints what the bad row cost: further runs, claims, deaths of workers.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import numpy as np
import pytest

from ferry.jobs import JobRecord, State, Submission
from ferry.manifest import Manifest, NonFinite
from ferry.queue.producer import Producer
from ferry.tensors import TensorCodec
from tests import onnx_models
from tests.fakes.frail_worker import DEADLY
from tests.integration.conftest import LEASE_S, StartWorker, direct, job, publish, results
from tests.manifests import manifest, spec
from tests.processes import GIVE_UP_S, Process, running

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

N_JOBS = 64
BAD = 20
MAX_ATTEMPTS = 3
# Of an endless loop of deaths, not of the three that are right.
MAX_STARTS = 3 * MAX_ATTEMPTS


def output_of(model: Manifest, record: JobRecord) -> np.ndarray:
    assert record.state is State.SUCCEEDED, record
    return TensorCodec(model.outputs).unpack(record.output or b"")[0]


def check_others(models: Path, model: Manifest, inputs: list[np.ndarray], records: list[JobRecord]) -> None:
    """All but the bad one succeeded, and are what onnxruntime itself says to each alone."""
    for n, record in enumerate(records):
        if n != BAD:
            (expected,) = direct(models, model.name, inputs[n])
            np.testing.assert_allclose(output_of(model, record), expected, rtol=0, atol=1e-6)


# --- a row that makes the model raise


@pytest.mark.parametrize("rows_a_job", [1, 4])
async def test_worker_when_one_job_of_64_makes_the_model_raise_then_63_are_right_and_it_alone_fails(
    start_worker: StartWorker, producer: Producer, models: Path, rows_a_job: int
) -> None:
    made = manifest("picky", inputs=(spec("index", "int64"),), max_rows=N_JOBS * rows_a_job)
    picky = publish(models, onnx_models.raises_on_big_index(), made)
    await producer.register(picky)
    inputs = [np.arange(n, n + rows_a_job) % 10 for n in range(N_JOBS)]
    inputs[BAD][-1] = 99
    jobs = [job(picky, array) for array in inputs]
    await producer.submit(jobs)
    start_worker()
    records = await results(producer, [each.id for each in jobs])
    bad = records[BAD]
    assert (bad.state, bad.error_code, bad.output) == (State.FAILED, "model_error", None)
    assert "idx=99" in (bad.error or "")
    assert (bad.batch_rows, bad.batch_jobs) == (rows_a_job, 1)
    check_others(models, picky, inputs, records)
    assert {record.attempts for record in records} == {1}
    tickets, runs = zip(*((record.batch_id or "").rsplit(".", 1) for record in records), strict=True)
    assert len(set(tickets)) == 1
    further_runs = max(int(run) for run in runs) - 1
    assert further_runs <= 2 * np.log2(N_JOBS)
    print(f"\n{N_JOBS} jobs of {rows_a_job} rows, one raises: {further_runs} further runs, 1 claim of each job")  # noqa: T201  a figure


# --- a row that makes the worker's process die


class Supervisor:
    """Keeps one frail worker running, as a process manager or a container's restart policy does."""

    def __init__(self, start: Callable[[int], Process]) -> None:
        self._start = start
        self.deaths = 0
        self.process = start(0)

    def tend(self) -> None:
        """Replace a worker that was killed."""
        if self.process.is_running():
            return
        assert self.process.wait() == -signal.SIGKILL, self.process.output
        self.deaths += 1
        assert self.deaths < MAX_STARTS
        self.process = self._start(self.deaths)


@pytest.fixture
def supervise(redis_url: str, models: Path, tmp_path: Path) -> Iterator[Callable[[], Supervisor]]:
    """Start a frail worker and its supervisor; what was started ends with the test."""
    with ExitStack() as stack:

        def start(number: int) -> Process:
            env = {
                "FERRY_REDIS_URL": redis_url,
                "FERRY_MODELS_DIR": str(models),
                "FERRY_DATA_DIR": str(tmp_path / "data"),
                "FERRY_WORKER_NAME": f"frail-{number}",
                "FERRY_LEASE_S": LEASE_S,
                "FERRY_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
            }
            return stack.enter_context(running("tests.fakes.frail_worker", env, tmp_path / f"frail-{number}.log"))

        yield lambda: Supervisor(start)


async def results_under(supervisor: Supervisor, producer: Producer, jobs: list[Submission]) -> list[JobRecord]:
    """Return the records of all jobs once they are terminal, tending the worker meanwhile."""
    with anyio.fail_after(2 * GIVE_UP_S):
        while True:
            supervisor.tend()
            records = await producer.read_many([each.id for each in jobs])
            if all(record and record.state.is_terminal for record in records):
                return [record for record in records if record]
            await anyio.sleep(0.05)


async def test_worker_when_one_job_of_64_kills_its_process_then_63_are_right_and_it_alone_is_given_up(
    supervise: Callable[[], Supervisor], producer: Producer, models: Path
) -> None:
    frail = publish(
        models, onnx_models.doubled(), manifest("frail", outputs=(spec("y", "float32", 3),), max_rows=N_JOBS)
    )
    await producer.register(frail)
    inputs = [np.random.default_rng(n).random((1, 3), dtype=np.float32) for n in range(N_JOBS)]
    inputs[BAD][0, 1] = DEADLY
    jobs = [job(frail, array) for array in inputs]
    await producer.submit(jobs)
    supervisor = supervise()
    records = await results_under(supervisor, producer, jobs)
    bad = records[BAD]
    assert (bad.state, bad.error_code, bad.attempts) == (State.FAILED, "worker_lost", MAX_ATTEMPTS)
    check_others(models, frail, inputs, records)
    # All were in the first claim, which died; after that each was claimed by itself.
    others = [record for n, record in enumerate(records) if n != BAD]
    assert {record.attempts for record in others} == {2}
    assert {(record.batch_rows, record.batch_jobs) for record in others} == {(1, 1)}
    assert supervisor.deaths == MAX_ATTEMPTS
    assert supervisor.process.is_running()
    print(  # noqa: T201  a figure
        f"\n{N_JOBS} jobs, one kills its process: {bad.attempts} claims of it and as many deaths, "
        f"{max(record.attempts for record in others)} claims of every other job"
    )


# --- a row whose answer is no number


async def test_worker_when_one_job_of_64_has_no_finite_answer_then_the_manifest_says_what_becomes_of_it(
    start_worker: StartWorker, producer: Producer, models: Path
) -> None:
    signature = {"outputs": (spec("y", "float32", 3),), "max_rows": N_JOBS}
    served = [
        publish(
            models, onnx_models.reciprocal(), manifest(rule.value, **signature).model_copy(update={"non_finite": rule})
        )
        for rule in NonFinite
    ]
    inputs = [1 + np.random.default_rng(n).random((2, 3), dtype=np.float32) for n in range(N_JOBS)]
    inputs[BAD][1] = [0, np.nan, 4]
    ended = {}
    for model in served:
        await producer.register(model)
        jobs = [job(model, array) for array in inputs]
        await producer.submit(jobs)
        ended[model.non_finite] = (model, [each.id for each in jobs])
    start_worker()
    for rule, (model, ids) in ended.items():
        records = await results(producer, ids)
        check_others(models, model, inputs, records)
        assert {record.attempts for record in records} == {1}
        if rule is NonFinite.FAIL:
            assert (records[BAD].state, records[BAD].error_code) == (State.FAILED, "model_error")
            assert records[BAD].error == "output 'y' has Infinity in row 1"
            # Nothing was run again: it and its neighbours tell of the same batch.
            assert records[BAD].batch_jobs == 32
            assert sum(record.batch_id == records[BAD].batch_id for record in records) == 32
        else:
            shown = np.inf if rule is NonFinite.ALLOW else np.nan
            np.testing.assert_array_equal(output_of(model, records[BAD])[1], np.float32([shown, np.nan, 0.25]))
