from api import batch_wire
from ferry.bulk.batch_records import BatchRecord, BatchStatus
from ferry.bulk.formats.base import FileFault

ID = "batch_" + "a" * 24
CREATED_US = 1_800_000_000_123_456


def record(status: BatchStatus = BatchStatus.VALIDATING, **changes: object) -> BatchRecord:
    known = {
        "model": "mnist", "version": "1", "endpoint": "/v2/models/mnist/infer", "input_file_id": "file-abc",
        "filename": "in.npy", "size_bytes": 1000, "completion_window": "24h", "metadata": {},
        "created_us": CREATED_US, "expires_us": CREATED_US + 86_400_000_000,
    }  # fmt: skip
    return BatchRecord(ID, status, **(known | changes))  # type: ignore[arg-type]


def test_batch_when_it_was_just_made_then_all_that_openai_shows_and_nothing_has_happened() -> None:
    assert batch_wire.batch(record()) == {
        "id": ID,
        "object": "batch",
        "endpoint": "/v2/models/mnist/infer",
        "model": "mnist",
        "model_version": "1",
        "errors": None,
        "notes": [],
        "input_file_id": "file-abc",
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": 1_800_000_000,
        "in_progress_at": None,
        "expires_at": 1_800_086_400,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": None,
        "format": None,
        "output_format": None,
        "progress": {"rows_done": 0, "rows_per_s": None, "eta_s": None, "chunks": None, "chunks_done": 0},
        "timings": {"created": 1_800_000_000.123456, "in_progress": None, "finalizing": None, "ended": None},
    }


def test_batch_when_it_runs_then_progress_with_the_rows_of_running_chunks() -> None:
    shown = batch_wire.batch(
        record(
            BatchStatus.IN_PROGRESS, in_progress_us=CREATED_US + 2_000_000, total=1000, completed=290, failed=10,
            chunks=10, done=3, rate=300.0, running_rows=100, format="npy", output_format="csv", metadata={"a": "b"},
        )
    )  # fmt: skip
    assert shown["status"] == "in_progress"
    assert shown["request_counts"] == {"total": 1000, "completed": 290, "failed": 10}
    assert shown["progress"] == {"rows_done": 400, "rows_per_s": 300.0, "eta_s": 2.0, "chunks": 10, "chunks_done": 3}
    assert (shown["in_progress_at"], shown["timings"]["in_progress"]) == (1_800_000_002, 1_800_000_002.123456)
    assert (shown["format"], shown["output_format"], shown["metadata"]) == ("npy", "csv", {"a": "b"})


def test_batch_when_it_is_done_then_files_times_and_no_estimate() -> None:
    shown = batch_wire.batch(
        record(
            BatchStatus.COMPLETED, in_progress_us=CREATED_US + 1, finalizing_us=CREATED_US + 2_000_000,
            completed_us=CREATED_US + 3_000_000, total=10, completed=9, failed=1, chunks=1, done=1, rate=5.0,
            output_file_id="file-out", error_file_id="file-err",
        )
    )  # fmt: skip
    assert (shown["output_file_id"], shown["error_file_id"]) == ("file-out", "file-err")
    assert (shown["finalizing_at"], shown["completed_at"]) == (1_800_000_002, 1_800_000_003)
    assert (shown["timings"]["finalizing"], shown["timings"]["ended"]) == (1_800_000_002.123456, 1_800_000_003.123456)
    assert (shown["progress"]["rows_done"], shown["progress"]["eta_s"]) == (10, None)


def test_batch_when_it_failed_then_its_errors_as_a_list() -> None:
    faults = (FileFault("missing_custom_id", "expected a custom_id", 3, "custom_id"), FileFault("invalid_file", "no"))
    shown = batch_wire.batch(record(BatchStatus.FAILED, failed_us=CREATED_US, errors=faults))
    assert shown["errors"] == {
        "object": "list",
        "data": [
            {"code": "missing_custom_id", "message": "expected a custom_id", "param": "custom_id", "line": 3},
            {"code": "invalid_file", "message": "no", "param": None, "line": None},
        ],
    }
    assert shown["failed_at"] == 1_800_000_000


def test_batch_when_the_check_of_its_file_left_notes_then_they_are_shown() -> None:
    shown = batch_wire.batch(record(BatchStatus.IN_PROGRESS, notes=("2 files were skipped", "other")))
    assert shown["notes"] == ["2 files were skipped", "other"]
