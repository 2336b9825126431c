from dataclasses import fields, replace

import msgpack
import pytest

from ferry.jobs import ClaimedJob, JobLimits, JobRecord, LimitsLeft, Outcome, Receipt, State, Verdict
from ferry.profile import Tuning
from ferry.queue.keys import FIELDS, SMALL_INPUT_BYTES
from ferry.queue.records import (
    changes_from_news,
    claimed_from_reply,
    echoed_input,
    heartbeat_from_reply,
    large_inputs,
    news_from_message,
    receipts_from_reply,
    record_from_fields,
    settle_groups,
    tuning_from_fields,
)
from tests.manifests import submission

QUEUED = {
    "model": b"toy:1", "state": b"queued", "rows": b"3", "single": b"0",
    "created_us": b"1800000000000001", "deadline_us": b"1800000600000000",
}  # fmt: skip
DONE = {
    **QUEUED,
    "state": b"succeeded", "single": b"1", "attempts": b"2", "started_us": b"1800000000000002",
    "completed_us": b"1800000000000003", "batch": b"ticket.1 8 4 42", "output": b"7",
}  # fmt: skip


def reply(values: dict[str, bytes]) -> list[bytes | None]:
    return [values.get(field) for field in FIELDS]


def test_record_from_fields_when_queued_then_what_has_not_happened_is_none() -> None:
    assert record_from_fields("abc", reply(QUEUED), b"\x00\xff") == JobRecord(
        "abc", "toy", "1", State.QUEUED, 3, False, 1800000000000001, 1800000600000000, input=b"\x00\xff"
    )


def test_record_from_fields_when_done_then_every_field_has_its_type() -> None:
    record = record_from_fields(
        "abc", reply(DONE | {"error_code": b"x", "error": "zu groß".encode(), "replay_of": b"old"}), b"in"
    )
    assert record is not None
    assert (record.single, record.attempts, record.run_us, record.batch_id) == (True, 2, 42, "ticket.1")
    assert (record.batch_rows, record.batch_jobs, record.output) == (8, 4, b"7")
    assert (record.started_us, record.completed_us) == (1800000000000002, 1800000000000003)
    assert (record.error_code, record.error, record.replay_of) == ("x", "zu groß", "old")
    assert [field.name for field in fields(record) if getattr(record, field.name) is None] == []


def test_record_from_fields_when_there_is_no_job_then_none() -> None:
    assert record_from_fields("abc", reply({})) is None


def test_record_from_fields_when_the_reply_is_short_then_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        record_from_fields("abc", reply(QUEUED)[:-1])


def test_news_from_message_when_jobs_ended_then_what_changed_of_each() -> None:
    shared = ["state", "succeeded", "completed_us", "9", "attempts", "1", "batch", "t.1 8 4 42", "secret", "no"]
    message = msgpack.packb(
        [
            [shared, ["one", "two"], [b"\xff", b""]],
            [["state", "canceled", "error_code", "deadline_exceeded"], ["late"], []],
            [[], ["large"], []],
            [{}, ["empty"], {}],  # cmsgpack writes an empty Lua table so
        ]
    )
    done = {"state": State.SUCCEEDED, "completed_us": 9, "attempts": 1, "batch_id": "t.1", "batch_rows": 8,
            "batch_jobs": 4, "run_us": 42}  # fmt: skip
    assert news_from_message(message) == {
        "one": done | {"output": b"\xff"},
        "two": done | {"output": b""},
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


def test_receipts_from_reply_when_limits_are_told_then_each_job_has_those_of_its_key() -> None:
    first, second = JobLimits("k1", 4.0, 9), JobLimits("k2", None, 3)
    jobs = [replace(submission(), limits=limits) for limits in (first, second, None)]
    verdicts = [part for _ in jobs for part in (b"accepted", 7)]
    tail = [second.packed().encode(), -1, 0, 2, first.packed().encode(), 0, 250, 8]
    left = [receipt.left for receipt in receipts_from_reply(jobs, [b"123", *verdicts, *tail])]
    assert left == [LimitsLeft(0, 8, 250), LimitsLeft(None, 2, 0), None]


def test_receipts_from_reply_when_a_verdict_is_missing_then_refused() -> None:
    with pytest.raises(ValueError, match="2 submissions, a reply of 3 parts"):
        receipts_from_reply([submission(), submission()], [b"123", b"accepted", 1])


def test_claimed_from_reply_when_jobs_were_taken_then_in_order() -> None:
    reply = [b"77", 8, b"a", b"3", 1, b"\x00", b"req-1", b"70", b"b", b"1", 2, b"", b"", b"71"]
    first, second = ClaimedJob("a", 3, b"\x00", 1, 77, "req-1", 70), ClaimedJob("b", 1, b"", 2, 77, "", 71)
    assert claimed_from_reply(reply, {}) == (first, second)
    assert claimed_from_reply([b"77", 8], {}) == claimed_from_reply([], {}) == ()


def test_claimed_from_reply_when_inputs_are_large_then_those_that_were_read_and_empty_where_gone() -> None:
    rest = [b"", b"70"]
    reply = [b"77", 8, b"a", b"3", 1, None, *rest, b"b", b"1", 1, b"x", *rest, b"c", b"1", 1, None, *rest]
    assert large_inputs(reply) == [b"a", b"c"]
    assert [job.payload for job in claimed_from_reply(reply, {b"a": b"large", b"c": None})] == [b"large", b"x", b""]


def test_claimed_from_reply_when_a_payload_is_no_bytes_then_refused() -> None:
    with pytest.raises(TypeError, match="expected bytes from Redis, got 7"):
        claimed_from_reply([b"77", 8, b"a", b"3", 1, 7, b"", b"70"], {})


def test_echoed_input_when_all_of_it_was_read_then_shown() -> None:
    assert echoed_input(b"x" * SMALL_INPUT_BYTES) == b"x" * SMALL_INPUT_BYTES
    assert echoed_input(b"x" * (SMALL_INPUT_BYTES + 1)) is echoed_input(b"") is None


def test_settle_groups_when_neighbours_share_their_run_then_one_group() -> None:
    first = Outcome("a", "t.1", 2, 2, 42, 1, 77, output=b"1")
    outcomes = [first, replace(first, job_id="b"), replace(first, job_id="c", output=None, error_code="x", error="it"),
                replace(first, job_id="d", attempt=2)]  # fmt: skip
    assert settle_groups(outcomes) == [
        2, "t.1 2 2 42", 1, 77, "", "", "a", b"1", "b", b"1",
        1, "t.1 2 2 42", 1, 77, "x", "it", "c", b"",
        1, "t.1 2 2 42", 2, 77, "", "", "d", b"1",
    ]  # fmt: skip
    assert settle_groups([]) == []


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
    lines = [[1, None, None, None], [0, None, None, None], [1, b"4", b"2.5", b"why"], [2, None, None, None]]
    heartbeat = heartbeat_from_reply([*models, ("toy", "11")], [*lines, [b"toy:3"]])
    assert heartbeat.unknown == {("ghost", "2")}
    assert heartbeat.other == {("toy", "11")}
    assert heartbeat.switched == {("toy", "10"): "why"}
    assert heartbeat.unloaded == {("toy", "3")}
    tuned = {("toy", "1"): Tuning(), ("ghost", "2"): Tuning(), ("toy", "10"): Tuning(4, 2.5), ("toy", "11"): Tuning()}
    assert heartbeat.tuned == tuned


def test_heartbeat_from_reply_when_a_model_has_no_line_then_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        heartbeat_from_reply([("toy", "1"), ("toy", "2")], [[1, None, None, None], []])
