"""Bulk batches with real workers on a real Redis: what is killed, deleted, cancelled or bad costs only its own rows."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from ferry.bulk.batch_records import BatchRecord, BatchStatus
from ferry.bulk.storage import Storage, storage_of
from ferry.jobs import State, Submission, new_job_id
from ferry.queue.connection import connect_async
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE, Settings
from ferry.tensors import TensorCodec
from tests.fakes.frail_worker import DEADLY
from tests.integration.bulk_desk import BulkDesk
from tests.integration.sites import Site, a_site
from tests.manifests import LIMITS, spec
from tests.namespaces import client_of
from tests.processes import GIVE_UP_S, eventually, running

pytestmark = pytest.mark.timeout(300)

N_ROWS = 40_000
# The least there may be: 5,461 rows of three floats.
CHUNK = {"FERRY_CHUNK_BYTES": "65536"}
N_CHUNKS = 8
# Of an endless loop of deaths.
MAX_STARTS = 12


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    with a_site(tmp_path, models) as made:
        yield made


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> BulkDesk:
    return BulkDesk(site, Storage(str(tmp_path / "data" / "files")))


def numbers(n_rows: int = N_ROWS) -> np.ndarray:
    return np.arange(1, 3 * n_rows + 1, dtype=np.float32).reshape(-1, 3)


def check_whole(desk: BulkDesk, record: BatchRecord, rows: np.ndarray) -> None:
    assert (record.status, record.total, record.completed, record.failed) == (
        BatchStatus.COMPLETED,
        len(rows),
        len(rows),
        0,
    )
    assert (record.errors, record.error_file_id) == ((), None)
    np.testing.assert_array_equal(desk.output(record), rows * 2)
    eventually(lambda: not desk.leftovers(), "nothing is left of the batch but its record")


def test_batch_when_its_worker_is_killed_amid_a_chunk_then_another_does_the_rest(site: Site, desk: BulkDesk) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    worker.wait_until_held()
    worker.process.signal(signal.SIGKILL)
    assert desk.record(batch_id).chunks == N_CHUNKS
    site.start_worker(**CHUNK)
    site.start_worker(**CHUNK)
    check_whole(desk, desk.ended(batch_id), numbers())


def test_batch_when_everything_is_killed_amid_a_chunk_then_it_goes_on_after_the_start(
    site: Site, desk: BulkDesk
) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    worker.wait_until_held()
    site.kill_redis()
    worker.process.signal(signal.SIGKILL)
    site.restart_redis()
    site.start_worker(**CHUNK)
    check_whole(desk, desk.ended(batch_id), numbers())


def test_batch_when_its_worker_wakes_up_after_another_did_its_chunk_then_nothing_changes(
    site: Site, desk: BulkDesk
) -> None:
    sleeper = site.start_worker(**CHUNK)
    sleeper.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    sleeper.wait_until_held()
    sleeper.process.signal(signal.SIGSTOP)
    site.start_worker(**CHUNK)
    record = desk.ended(batch_id)
    sleeper.let_go()
    sleeper.process.signal(signal.SIGCONT)
    eventually(lambda: "is held by another" in sleeper.process.output, "the sleeper hears that it lost the chunk")
    assert desk.record(batch_id) == record
    check_whole(desk, record, numbers())


def test_batch_when_a_job_comes_amid_a_chunk_then_it_is_served_on_the_same_ticket(site: Site, desk: BulkDesk) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    worker.wait_until_held()
    job_id = new_job_id()
    payload = TensorCodec([spec("x", "float32", 3)]).pack([np.float32([[1, 2, 3]])])

    async def submit() -> None:
        redis = connect_async(site.redis.url, NAMESPACE).redis
        await Producer(client_of(redis), LIMITS).submit([Submission(job_id, "toy", "1", 1, payload)])
        await redis.aclose(close_connection_pool=True)

    asyncio.run(submit())
    worker.let_go()
    check_whole(desk, desk.ended(batch_id), numbers())
    assert site.states([job_id]) == {State.SUCCEEDED}
    # Told of one ticket: the job, and steps of the batch.
    eventually(
        lambda: any("'jobs': 1" in line and "'steps'" in line for line in worker.process.output.splitlines()),
        "the ticket tells of both",
    )


def test_batch_when_its_file_is_deleted_amid_it_then_it_fails_with_what_is_done_and_the_next_is_untouched(
    site: Site, desk: BulkDesk
) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    file_id = desk.store_rows(numbers())
    batch_id, other = desk.open(file_id), desk.open(desk.store_rows(numbers(10)))
    worker.wait_until_held()
    desk.delete_file(file_id)
    worker.let_go()
    record = desk.ended(batch_id)
    assert record.status is BatchStatus.FAILED
    assert [(error.code, error.message) for error in record.errors] == [
        ("file_not_found", "the input file was deleted, or expired, before the batch was done")
    ]
    assert record.completed + record.failed == N_ROWS
    assert {line["error"]["code"] for line in desk.errors(record)} == {"batch_failed"}
    assert len(desk.errors(record)) == record.failed
    assert [line["row"] for line in desk.errors(record)] == list(range(record.completed + 1, N_ROWS + 1))
    check_whole(desk, desk.ended(other), numbers(10))
    assert worker.process.is_running()


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (BulkDesk.cancel, BatchStatus.CANCELLED, "batch_cancelled"),
        (BulkDesk.expire, BatchStatus.EXPIRED, "batch_expired"),
    ],
    ids=["cancelled", "expired"],
)
def test_batch_when_ended_amid_a_chunk_then_what_is_done_is_kept_and_each_row_stands_once(
    site: Site, desk: BulkDesk, end: Callable[[BulkDesk, str], object], status: BatchStatus, code: str
) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    lines = [
        json.dumps({"custom_id": f"id-{n}", "method": "POST", "url": "/v1/predictions", "body": {"input": {"x": row}}})
        for n, row in enumerate(numbers(3000).tolist())
    ]
    file_id = desk.store("\n".join(lines).encode(), "rows.jsonl")
    batch_id = desk.open(file_id, endpoint="/v1/predictions")
    worker.wait_until_held()
    end(desk, batch_id)
    eventually(lambda: desk.record(batch_id).ending, "the batch is on its way to its end")
    worker.let_go()
    record = desk.ended(batch_id)
    assert (record.status, record.total) == (status, 3000)
    assert 0 < record.completed < 3000, "the chunk that ran is kept"
    outputs = [json.loads(line) for line in desk.bytes_of(record.output_file_id).splitlines()]
    errors = desk.errors(record)
    assert [line["custom_id"] for line in outputs + errors] == [f"id-{n}" for n in range(3000)]
    assert {line["error"]["code"] for line in errors} == {code}
    assert {line["response"] for line in errors} == {None}
    assert [line["response"]["body"]["output"]["y"] for line in outputs] == (2 * numbers(3000)[: len(outputs)]).tolist()


def test_batch_when_one_row_kills_its_worker_then_it_alone_fails(site: Site, desk: BulkDesk, tmp_path: Path) -> None:
    rows = numbers(12_000) + 2 * np.float32(DEADLY)
    rows[7000, 0] = DEADLY
    env = site._env(FERRY_DATA_DIR=str(tmp_path / "data"), **CHUNK)
    with ExitStack() as stack:
        starts = 1
        worker = stack.enter_context(running("tests.fakes.frail_worker", env, tmp_path / "frail-1.log"))
        batch_id = desk.open(desk.store_rows(rows))

        def is_over() -> bool:
            nonlocal worker, starts
            if not worker.is_running():
                assert starts < MAX_STARTS
                starts += 1
                log = tmp_path / f"frail-{starts}.log"
                worker = stack.enter_context(running("tests.fakes.frail_worker", env, log))
            return desk.record(batch_id).status.is_terminal

        eventually(is_over, "the batch is over", give_up_s=4 * GIVE_UP_S)
    record = desk.record(batch_id)
    assert (record.status, record.completed, record.failed) == (BatchStatus.COMPLETED, 11_999, 1)
    (line,) = desk.errors(record)
    assert (line["row"], line["response"]["status_code"]) == (7001, 500)
    assert line["response"]["body"]["error"]["code"] == "worker_lost"
    output = desk.output(record)
    assert np.isnan(output[7000]).all()
    np.testing.assert_array_equal(np.delete(output, 7000, axis=0), np.delete(rows * 2, 7000, axis=0))
    assert starts - 1 == 2, "once in the slice, once alone"


@pytest.mark.parametrize(
    ("filename", "data", "code", "message"),
    [
        ("rows.npy", b"", "invalid_file", "the file is empty"),
        ("rows.npy", b"not an array", "invalid_file", "is named .npy, its content is not npy"),
        ("rows.parquet", b"PAR1 cut short", "invalid_file", "not a whole Parquet file"),
        ("rows.jsonl", b'{"custom_id": 1}\n', "missing_custom_id", "expected a custom_id"),
    ],
)
def test_batch_when_its_file_cannot_be_used_then_it_fails_and_says_why(
    site: Site, desk: BulkDesk, filename: str, data: bytes, code: str, message: str
) -> None:
    worker = site.start_worker(**CHUNK)
    record = desk.ended(desk.open(desk.store(data, filename)))
    assert record.status is BatchStatus.FAILED
    assert record.errors[0].code == code
    assert message in record.errors[0].message
    check_whole(desk, desk.ended(desk.open(desk.store_rows(numbers(100)))), numbers(100))
    assert worker.process.is_running()


def test_batch_when_files_lie_in_an_object_store_then_as_in_a_folder(site: Site, s3: Settings) -> None:
    desk = BulkDesk(site, storage_of(s3))
    where = {"FERRY_STORAGE_URL": s3.storage_url, "FERRY_STORAGE_OPTIONS": s3.storage_options}
    worker = site.start_worker(**CHUNK, **where)
    worker.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    worker.wait_until_held()
    worker.process.signal(signal.SIGKILL)
    site.start_worker(**CHUNK, **where)
    check_whole(desk, desk.ended(batch_id), numbers())
    eventually(lambda: not desk.storage.list_folder("batches"), "what it needed on its way is deleted")


def test_retry_when_its_worker_is_killed_amid_a_chunk_then_the_rows_that_never_ran_are_merged(
    site: Site, desk: BulkDesk
) -> None:
    worker = site.start_worker(**CHUNK)
    worker.hold()
    batch_id = desk.open(desk.store_rows(numbers()))
    worker.wait_until_held()
    desk.cancel(batch_id)
    worker.let_go()
    earlier = desk.ended(batch_id)
    assert earlier.status is BatchStatus.CANCELLED
    assert 0 < earlier.completed < N_ROWS
    worker.hold()
    retry_id = desk.retry(earlier)
    eventually(lambda: desk.record(retry_id).total == earlier.failed, "the failed rows are counted")
    worker.wait_until_held()
    worker.process.signal(signal.SIGKILL)
    site.start_worker(**CHUNK)
    record = desk.ended(retry_id)
    assert (record.status, record.completed, record.failed) == (BatchStatus.COMPLETED, earlier.failed, 0)
    np.testing.assert_array_equal(desk.output(record), numbers() * 2)
    eventually(lambda: not desk.leftovers(), "nothing is left of the batch but its record")
