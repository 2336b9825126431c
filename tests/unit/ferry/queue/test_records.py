from dataclasses import fields

import msgpack
import pytest

from ferry.jobs import ClaimedJob, JobRecord, Receipt, State, Verdict
from ferry.profile import Tuning
from ferry.queue.keys import FIELDS
from ferry.queue.records import (
    changes_from_news,
    claimed_from_reply,
    heartbeat_from_reply,
    news_from_message,
    receipts_from_reply,
    record_from_fields,
    tuning_from_fields,
)
from tests.manifests import submission

QUEUED = {
    "model": b"toy", "version": b"1", "state": b"queued", "rows": b"3", "single": b"0",
    "created_us": b"1800000000000001", "deadline_us": b"1800000600000000", "input": b"\x00\xff",
}  # fmt: skip
DONE = {
    **QUEUED,
    "state": b"succeeded", "single": b"1", "attempts": b"2", "started_us": b"1800000000000002",
    "completed_us": b"1800000000000003", "run_us": b"42", "batch_id": b"ticket.1", "batch_rows": b"8",
    "batch_jobs": b"4", "output": b"7",
}  # fmt: skip


def reply(values: dict[str, bytes]) -> list[bytes | None]:
    return [values.get(field) for field in FIELDS]


def test_record_from_fields_when_queued_then_what_has_not_happened_is_none() -> None:
    assert record_from_fields("abc", reply(QUEUED)) == JobRecord(
        "abc", "toy", "1", State.QUEUED, 3, False, 1800000000000001, 1800000600000000, input=b"\x00\xff"
    )


def test_record_from_fields_when_done_then_every_field_has_its_type() -> None:
    record = record_from_fields("abc", reply(DONE | {"error_code": b"x", "error": "zu groß".encode()}))
    assert record is not None
    assert (record.single, record.attempts, record.run_us, record.batch_id) == (True, 2, 42, "ticket.1")
    assert (record.batch_rows, record.batch_jobs, record.output) == (8, 4, b"7")
    assert (record.started_us, record.completed_us) == (1800000000000002, 1800000000000003)
    assert (record.error_code, record.error) == ("x", "zu groß")
    assert [field.name for field in fields(record) if getattr(record, field.name) is None] == []


def test_record_from_fields_when_there_is_no_job_then_none() -> None:
    assert record_from_fields("abc", reply({})) is None


def test_record_from_fields_when_the_reply_is_short_then_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        record_from_fields("abc", reply(QUEUED)[:-1])


def test_news_from_message_when_jobs_ended_then_what_changed_of_each() -> None:
    message = msgpack.packb(
        [
            ["done", ["state", "succeeded", "completed_us", "9", "output", b"\xff", "attempts", 1, "secret", "no"]],
            ["late", ["state", "canceled", "error_code", "deadline_exceeded"]],
            ["large", []],
            ["empty", {}],  # cmsgpack writes an empty Lua table so
        ]
    )
    assert news_from_message(message) == {
        "done": {"state": State.SUCCEEDED, "completed_us": 9, "output": b"\xff", "attempts": 1},
        "late": {"state": State.CANCELED, "error_code": "deadline_exceeded"},
        "large": {},
        "empty": {},
    }


def test_changes_from_news_when_a_field_has_no_value_then_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        changes_from_news([b"state"])


def test_receipts_from_reply_when_verdicts_differ_then_one_receipt_each() -> None:
    jobs = [submission() for _ in Verdict]
    verdicts = [part for each in Verdict for part in (str(each).encode(), 7)]
    assert receipts_from_reply(jobs, [b"123", *verdicts]) == [Receipt(each, 123, 7) for each in Verdict]


def test_receipts_from_reply_when_a_verdict_is_missing_then_refused() -> None:
    with pytest.raises(ValueError, match="2 submissions, 1 verdicts"):
        receipts_from_reply([submission(), submission()], [b"123", b"accepted", 1])


def test_claimed_from_reply_when_jobs_were_taken_then_in_order() -> None:
    taken = claimed_from_reply([[b"a", b"3", 1, b"\x00"], [b"b", b"1", 2, b""]])
    assert taken == (ClaimedJob("a", 3, b"\x00", 1), ClaimedJob("b", 1, b"", 2))
    assert claimed_from_reply([]) == ()


def test_claimed_from_reply_when_a_payload_is_no_bytes_then_refused() -> None:
    with pytest.raises(TypeError, match="expected bytes from Redis, got 7"):
        claimed_from_reply([[b"a", b"3", 1, 7]])


@pytest.mark.parametrize(
    ("fields", "tuning"),
    [
        ((None, None), Tuning()),
        ((b"4", None), Tuning(max_rows=4)),
        ((None, b"0"), Tuning(max_wait_ms=0.0)),
        ((b"1", b"2.5"), Tuning(max_rows=1, max_wait_ms=2.5)),
    ],
)
def test_tuning_from_fields_when_read_then_what_was_set_live(
    fields: tuple[bytes | None, bytes | None], tuning: Tuning
) -> None:
    assert tuning_from_fields(*fields) == tuning


def test_heartbeat_from_reply_when_models_differ_then_each_has_its_own_line() -> None:
    models = [("toy", "1"), ("ghost", "2"), ("toy", "10")]
    heartbeat = heartbeat_from_reply(models, [[1, None, None], [0, None, None], [1, b"4", b"2.5"]])
    assert heartbeat.unknown == {("ghost", "2")}
    assert heartbeat.tuned == {("toy", "1"): Tuning(), ("ghost", "2"): Tuning(), ("toy", "10"): Tuning(4, 2.5)}


def test_heartbeat_from_reply_when_a_model_has_no_line_then_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        heartbeat_from_reply([("toy", "1"), ("toy", "2")], [[1, None, None]])
