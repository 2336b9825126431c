import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.bulk.batch_records import (
    BatchRecord,
    BatchStatus,
    Part,
    Place,
    batch_from_fields,
    errors_to_json,
    folder_of,
    index_key,
    is_batch_id,
    is_step,
    part_from_text,
    part_key,
    part_to_text,
    step_id,
)
from ferry.bulk.batches import batch_id_of, new_batch_id
from ferry.bulk.formats.base import FileFault
from ferry.queue.keys import BATCH_FIELDS

ID = "batch_abc"
NUMBERS = st.integers(0, 10**7)


@given(span=st.none() | st.tuples(NUMBERS, NUMBERS), skipped=st.lists(NUMBERS, max_size=5))
def test_place_when_written_and_read_then_the_same(span: tuple[int, int] | None, skipped: list[int]) -> None:
    place = Place(*(span or (None, None)), tuple(skipped))
    assert Place.from_text(place.to_text()) == place


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (Place(), "-"),
        (Place(skipped=(7,)), "- 7"),
        (Place(0, 0), "0 0"),
        (Place(16, 32, (3, 18)), "16 32 3 18"),
    ],
)
def test_place_when_written_then_as_the_scripts_read_it(place: Place, text: str) -> None:
    assert place.to_text() == text


def test_place_when_nothing_is_written_then_nothing_is_under_way() -> None:
    assert Place.from_text("") == Place()


@given(
    token=st.text("0123456789abcdef", min_size=1, max_size=32), completed=NUMBERS, failed=NUMBERS,
    output_bytes=NUMBERS, error_bytes=NUMBERS, output_rows=NUMBERS,
)  # fmt: skip
def test_part_when_written_and_read_then_the_same(
    token: str, completed: int, failed: int, output_bytes: int, error_bytes: int, output_rows: int
) -> None:
    part = Part(token, completed, failed, output_bytes, error_bytes, output_rows)
    assert part_from_text(part_to_text(part)) == part


def test_part_when_a_chunk_was_given_up_then_it_has_no_token() -> None:
    assert part_from_text("") == Part("", 0, 0)


def record(status: BatchStatus = BatchStatus.IN_PROGRESS, **changes: object) -> BatchRecord:
    known = {
        "model": "toy", "version": "1", "endpoint": "/v2/models/toy/infer", "input_file_id": "file-x",
        "filename": "in.npy", "size_bytes": 1, "completion_window": "1h", "metadata": {}, "created_us": 1,
        "expires_us": 2,
    }  # fmt: skip
    return BatchRecord(ID, status, **(known | changes))  # type: ignore[arg-type]


def test_rows_done_when_chunks_run_then_theirs_count_until_the_batch_is_over() -> None:
    rows = {"total": 100, "completed": 30, "failed": 5, "running_rows": 15}
    assert record(**rows).rows_done == 50
    assert record(BatchStatus.CANCELLING, **rows).rows_done == 50
    for status in BatchStatus:
        if status.is_terminal:
            assert record(status, **rows).rows_done == 35


def test_rows_done_when_a_chunk_is_counted_twice_for_a_moment_then_no_more_than_there_are() -> None:
    assert record(total=100, completed=90, running_rows=20).rows_done == 100
    assert record(completed=90, running_rows=20).rows_done == 110, "nobody knows how many there are"


def test_eta_when_it_runs_then_what_is_left_at_the_rate_of_late() -> None:
    assert record(total=100, completed=30, running_rows=20, rate=25.0).eta_s == 2.0
    assert record(total=100, completed=100, rate=25.0).eta_s == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"total": None}, {"rate": None}, {"rate": 0.0}, {"status": BatchStatus.VALIDATING},
        {"status": BatchStatus.CANCELLING}, {"status": BatchStatus.FINALIZING}, {"status": BatchStatus.COMPLETED},
    ],
)  # fmt: skip
def test_eta_when_it_cannot_be_said_then_none(changes: dict[str, object]) -> None:
    assert record(**({"total": 100, "completed": 30, "rate": 25.0} | changes)).eta_s is None


@pytest.mark.parametrize("name", ["completed", "failed", "expired", "cancelled"])
def test_ended_when_it_is_over_then_the_time_it_became_so(name: str) -> None:
    status = BatchStatus(name)
    assert status.is_terminal
    assert record(status, **{f"{name}_us": 7}, cancelling_us=5, finalizing_us=6).ended_us == 7


def test_ended_when_it_is_on_its_way_then_none() -> None:
    for status in BatchStatus:
        if not status.is_terminal:
            assert record(status, cancelling_us=5, finalizing_us=6).ended_us is None


FIELDS: dict[str, str] = {
    "status": "failed", "ending": "failed", "model": "my:toy:12", "endpoint": "/v1/predictions",
    "input_file_id": "file-x", "filename": "Füße.npy", "size_bytes": "10", "format": "npy", "output_format": "csv",
    "completion_window": "1h", "metadata": '{"a": "b"}', "output_ttl_s": "7200.0", "created_us": "1",
    "in_progress_us": "2", "failed_us": "4", "expires_us": "9", "total": "100", "completed": "60", "failed": "40",
    "chunks": "4", "done": "3", "width": "80", "errors": '[{"code": "c", "message": "m"}]', "notes": '["n"]',
    "output_file_id": "file-o",    "error_file_id": "file-e", "rate": "12.500", "rate_us": "3",
}  # fmt: skip


def read(fields: dict[str, str], places: list[bytes] | None = None) -> BatchRecord | None:
    values = [fields[name].encode() if name in fields else None for name in BATCH_FIELDS]
    return batch_from_fields(ID, values, places or [])


def test_batch_from_fields_when_all_are_there_then_each_in_its_type() -> None:
    assert read(FIELDS) == BatchRecord(
        ID, BatchStatus.FAILED, "my:toy", "12", "/v1/predictions", "file-x", "Füße.npy", 10, "1h", {"a": "b"}, 1, 9,
        completed=60, failed=40, output_ttl_s=7200.0, ending=BatchStatus.FAILED, format="npy", output_format="csv",
        in_progress_us=2, failed_us=4, total=100, chunks=4, done=3, width=80, errors=(FileFault("c", "m"),),
        notes=("n",),        output_file_id="file-o", error_file_id="file-e", rate=12.5, rate_us=3,
    )  # fmt: skip


def test_batch_from_fields_when_it_was_just_made_then_the_rest_is_unknown() -> None:
    made = {name: FIELDS[name] for name in (
        "model", "endpoint", "input_file_id", "filename", "size_bytes", "completion_window", "metadata", "created_us",
        "expires_us",
    )}  # fmt: skip
    found = read(made | {"status": "validating", "output_ttl_s": "", "completed": "0", "failed": "0"})
    assert found is not None
    assert (found.output_ttl_s, found.total, found.chunks, found.errors, found.notes) == (None, None, None, (), ())


def test_batch_from_fields_when_there_is_none_then_none() -> None:
    assert read({}) is None
    assert read({"done": "1"}) is None, "what a late write left"


def test_batch_from_fields_when_steps_are_open_then_the_rows_they_have_done() -> None:
    found = read(FIELDS, [b"-", b"16 32", b"100 200 7", b"- 3"])
    assert found is not None
    assert found.running_rows == 116


def test_errors_when_written_then_as_the_wire_has_them_and_read_back_the_same() -> None:
    faults = (
        FileFault("missing_custom_id", "expected \u201cone\u201d", 3, "custom_id"),
        FileFault("invalid_file", "no"),
    )
    text = errors_to_json(faults)
    assert json.loads(text)[1] == {"code": "invalid_file", "message": "no", "param": None, "line": None}
    found = read(FIELDS | {"errors": text})
    assert found is not None
    assert found.errors == faults


def test_ids_when_made_then_batch_ids_and_no_steps() -> None:
    assert new_batch_id() != new_batch_id()
    assert batch_id_of("a") == batch_id_of("a") != batch_id_of("b")
    for batch_id in (new_batch_id(), batch_id_of("a"), ID):
        assert is_batch_id(batch_id)
        assert not is_step(batch_id)
        for step in ("index", 17, "assemble"):
            assert is_step(step_id(batch_id, step))
            assert not is_batch_id(step_id(batch_id, step))


@pytest.mark.parametrize("text", ["", "batch_", "batch", "file-abc", "batch_" + "x" * 65, "batch_ä", "batch_a-b"])
def test_is_batch_id_when_it_is_none_then_no(text: str) -> None:
    assert not is_batch_id(text)


def test_keys_when_asked_for_then_all_of_a_batch_lie_in_its_folder() -> None:
    assert folder_of(ID) == "batches/batch_abc"
    assert index_key(ID) == "batches/batch_abc/index"
    assert part_key(ID, 3, "token", "out") == "batches/batch_abc/parts/3-token.out"
