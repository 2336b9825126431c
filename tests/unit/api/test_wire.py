from datetime import UTC, datetime

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access import ANYBODY
from api.catalog import Entry
from api.wire import JSONAnswer, model, prediction, timestamp
from ferry.jobs import JobRecord, State
from tests.manifests import manifest, spec

NOON_US = 1_787_313_600_000_000  # 2026-08-21T12:00:00Z


def record(state: State = State.QUEUED, **changes: object) -> JobRecord:
    return JobRecord("abc", "toy", "1", state, 1, False, NOON_US, NOON_US + 600_000_000, **changes)


def entry(**changes: object) -> Entry:
    return Entry(manifest(**changes), live_workers=2, waiting_rows=3)


def shown(job: JobRecord, known: Entry | None = None, **more: object) -> dict[str, object]:
    urls = {"base_url": "http://host:8000", "flower_url": "http://host:5555"}
    content = prediction(job, known, calls=ANYBODY.calls, **urls, **more)
    return orjson.loads(JSONAnswer(content).body)


def packed(known: Entry, *arrays: np.ndarray) -> bytes:
    return known.outputs.pack(arrays)


# --- times


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (NOON_US, "2026-08-21T12:00:00.000000Z"),
        (NOON_US + 999_999, "2026-08-21T12:00:00.999999Z"),
        (4_102_444_799_999_999, "2099-12-31T23:59:59.999999Z"),
    ],
)
def test_timestamp_when_given_microseconds_then_exact_iso_8601_in_utc(us: int | None, text: str | None) -> None:
    assert timestamp(us) == text


@given(st.integers(0, 250_000_000_000_000_000))
def test_timestamp_when_read_back_then_the_same_microsecond(us: int) -> None:
    text = timestamp(us)
    assert len(text) == 27
    moment = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert (moment.days * 86_400 + moment.seconds) * 1_000_000 + moment.microseconds == us


# --- predictions


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.QUEUED, "starting"),
        (State.RUNNING, "processing"),
        (State.SUCCEEDED, "succeeded"),
        (State.FAILED, "failed"),
        (State.CANCELED, "canceled"),
    ],
)
def test_prediction_when_in_a_state_then_replicates_word_for_it(state: State, status: str) -> None:
    body = shown(record(state))
    assert (body["status"], body["state"]) == (status, str(state))


def test_prediction_when_done_then_times_metrics_and_batch() -> None:
    body = shown(
        record(
            State.SUCCEEDED, attempts=2, started_us=NOON_US + 4_100, completed_us=NOON_US + 31_000, run_us=4_000,
            batch_id="ticket-7.2", batch_rows=32, batch_jobs=5,
        )
    )  # fmt: skip
    assert body["metrics"] == {"predict_time": 0.004, "total_time": 0.031}
    assert body["batch"] == {
        "id": "ticket-7.2", "rows": 32, "jobs": 5, "wait_ms": 4.1, "url": "http://host:5555/task/ticket-7",
    }  # fmt: skip
    assert (body["started_at"], body["completed_at"]) == ("2026-08-21T12:00:00.004100Z", "2026-08-21T12:00:00.031000Z")
    assert (body["created_at"], body["deadline"]) == ("2026-08-21T12:00:00.000000Z", "2026-08-21T12:10:00.000000Z")
    assert body["attempts"] == 2


def test_prediction_when_canceled_before_it_ran_then_no_batch_and_no_predict_time() -> None:
    body = shown(record(State.CANCELED, completed_us=NOON_US + 1_000_000, error_code="canceled", error="by request"))
    assert (body["batch"], body["metrics"]) == (None, {"total_time": 1.0})
    assert (body["error"], body["error_code"]) == ("by request", "canceled")


def test_prediction_when_it_runs_then_a_start_but_no_batch_yet() -> None:
    body = shown(record(State.RUNNING, started_us=NOON_US + 4_100, attempts=1))
    assert (body["batch"], body["metrics"]) == (None, {})
    assert body["started_at"] == "2026-08-21T12:00:00.004100Z"


def test_prediction_when_a_single_row_then_input_and_output_without_the_batch_axis() -> None:
    known = entry()
    job = record(State.SUCCEEDED, output=packed(known, np.array([[6, 4]])))
    single = JobRecord(**{name: getattr(job, name) for name in job.__slots__} | {"single": True})
    assert shown(job, known)["output"] == {"y": [[6.0, 4.0]]}
    assert shown(single, known)["output"] == {"y": [6.0, 4.0]}


def test_prediction_when_the_input_is_held_then_echoed() -> None:
    known = entry()
    job = record(input=known.inputs.pack([np.array([[1, 2, 3]])]))
    assert shown(job, known)["input"] == {"x": [[1.0, 2.0, 3.0]]}


def test_prediction_when_the_model_is_gone_then_no_data_but_the_rest() -> None:
    known = entry()
    done = shown(record(State.SUCCEEDED, output=packed(known, np.zeros((1, 2))), run_us=7))
    assert (done["output"], done["labels"], done["data_removed"]) == (None, None, True)
    assert done["metrics"] == {"predict_time": 7e-6}
    assert shown(record(input=b"1234"))["data_removed"] is False


def test_prediction_when_the_bytes_are_of_another_signature_then_the_data_is_removed() -> None:
    job = record(State.SUCCEEDED, output=packed(entry(), np.zeros((1, 2))), input=b"damaged")
    body = shown(job, entry(outputs=(spec("y", "float64", 2),)))
    assert (body["output"], body["labels"], body["input"], body["data_removed"]) == (None, None, None, True)


def test_prediction_when_there_are_labels_then_of_the_first_output() -> None:
    known = entry(outputs=(spec("scores", "float32", 2), spec("other", "float32", 2)), labels=("no", "yes"))
    output = packed(known, np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([[1, 0], [0, 1]]))
    assert shown(record(State.SUCCEEDED, output=output), known)["labels"] == ["yes", "no"]


def test_prediction_when_made_then_its_links_begin_with_the_base_url() -> None:
    url = "http://host:8000/v1/predictions/abc"
    assert shown(record())["urls"] == {"get": url, "cancel": f"{url}/cancel"}


# --- models


@pytest.mark.parametrize(
    ("created_at", "created"),
    [
        ("2026-08-21T12:00:00Z", 1787313600),
        ("2026-08-21T12:00:00.999+00:00", 1787313600),
        ("2026-08-21T14:00:00+02:00", 1787313600),
        ("", 0),
        ("yesterday", 0),
    ],
)
def test_model_when_it_has_a_date_then_as_unix_seconds_and_otherwise_0(created_at: str, created: int) -> None:
    dated = Entry(manifest().model_copy(update={"created_at": created_at}))
    body = model([dated], {})
    assert body["created"] == created
    assert body["latest_version"]["created_at"] == (created_at or None)


def test_model_when_versions_are_many_then_the_last_is_the_latest() -> None:
    body = model([entry(), entry(version="2")], {"latest": "2"})
    assert [version["id"] for version in body["versions"]] == ["1", "2"]
    assert body["latest_version"]["id"] == "2"
    assert (body["latest_version"]["live_workers"], body["latest_version"]["waiting_rows"]) == (2, 3)


def test_model_when_latest_was_moved_then_that_version_and_every_alias() -> None:
    body = model([entry(), entry(version="2")], {"latest": "1", "stable": "1"})
    assert body["latest_version"]["id"] == "1"
    assert body["aliases"] == {"latest": "1", "stable": "1"}
