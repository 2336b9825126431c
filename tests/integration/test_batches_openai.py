"""/v1/batches with the unmodified openai client, a real API and a real worker: every status, every file, its errors."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from ferry.queue.admin import Admin
from ferry.queue.connection import connect
from ferry.settings import NAMESPACE
from tests.integration.sites import Site, a_site
from tests.namespaces import KEYS, client_of
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)

ENDPOINT = "/v2/models/toy/infer"
# The least there may be, so that a file of some thousand lines is several chunks.
CHUNK = {"FERRY_CHUNK_BYTES": "65536"}
MANY = 3000
UNKNOWN = "batch_" + "x" * 24
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class Client:
    """What users do with the openai client."""

    site: Site
    openai: OpenAI

    def store(self, data: bytes, name: str = "rows.jsonl") -> str:
        return self.openai.files.create(file=(name, data), purpose="batch").id

    def create(self, input_file_id: str, **more: Any) -> Batch:
        asked = {"endpoint": ENDPOINT, "completion_window": "24h", "input_file_id": input_file_id} | more
        return self.openai.batches.create(**asked)

    def get(self, batch: Batch) -> Batch:
        return self.openai.batches.retrieve(batch.id)

    def until(self, batch: Batch, *statuses: str) -> Batch:
        """Poll a batch, as users do, until it has one of these statuses."""
        eventually(lambda: self.get(batch).status in statuses, f"the batch is {' or '.join(statuses)}")
        return self.get(batch)

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """Return the lines of a file of a batch; none of no file."""
        if file_id is None:
            return []
        return [json.loads(line) for line in self.openai.files.content(file_id).text.splitlines()]


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    with a_site(tmp_path, models) as made:
        yield made


@pytest.fixture
def start_client(site: Site, tmp_path: Path) -> Callable[..., Client]:
    """Start an API and return its client, with the client's own retries and waits."""

    def start(**settings: str) -> Client:
        _, http = site.start_api(FERRY_DATA_DIR=str(tmp_path / "data"), **settings)
        sending = OpenAI(base_url=f"{str(http.base_url).rstrip('/')}/v1", api_key="any")
        site._stack.callback(sending.close)
        return Client(site, sending)

    return start


@pytest.fixture
def client(start_client: Callable[..., Client]) -> Client:
    return start_client()


def tries(error: openai.APIStatusError) -> int:
    """Return how often the client had asked when it gave up."""
    return int(error.response.request.headers["x-stainless-retry-count"]) + 1


def line(number: int, **changes: object) -> bytes:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [float(number), 1.0, 2.0]}]
    asked = {"custom_id": f"row-{number}", "method": "POST", "url": ENDPOINT, "body": {"inputs": inputs}} | changes
    return json.dumps(asked).encode() + b"\n"


def lines(n_rows: int) -> bytes:
    return b"".join(map(line, range(n_rows)))


def check_rows(client: Client, batch: Batch, n_rows: int, code: str = "") -> None:
    """Check that every row stands once, in order: those that ran in the output, others in the error file.

    Without a code all ran.
    """
    outputs, errors = client.lines(batch.output_file_id), client.lines(batch.error_file_id)
    assert [each["custom_id"] for each in outputs + errors] == [f"row-{n}" for n in range(n_rows)]
    for number, each in enumerate(outputs):
        assert (each["response"]["status_code"], each["error"]) == (200, None)
        assert each["response"]["body"]["outputs"][0]["data"] == [2.0 * number, 2.0, 4.0]
    assert {(each["response"], each["error"]["code"]) for each in errors} == ({(None, code)} if code else set())
    counts = batch.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (n_rows, len(outputs), len(errors))


def test_batch_when_it_goes_well_then_each_status_on_its_way_and_both_files(client: Client) -> None:
    bad = line(7, body={"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]})
    file_id = client.store(lines(7) + bad + b"".join(map(line, range(8, 20))))
    batch = client.create(file_id, metadata={"customer": "7"})
    assert (batch.object, batch.status, batch.endpoint, batch.input_file_id) == (
        "batch",
        "validating",
        ENDPOINT,
        file_id,
    )
    assert (batch.completion_window, batch.metadata, batch.errors) == ("24h", {"customer": "7"}, None)
    assert batch.expires_at == batch.created_at + 86_400
    assert client.get(batch) == batch, "no worker is there yet"
    worker = client.site.start_worker(is_held=True)
    worker.wait_until_held()
    running = client.get(batch)
    assert (running.status, running.in_progress_at is not None) == ("in_progress", True)
    assert running.request_counts is not None
    assert (running.request_counts.total, running.request_counts.completed) == (20, 0)
    assert running.model_extra is not None
    assert running.model_extra["progress"]["chunks"] == 1
    redis = connect(client.site.redis.url, NAMESPACE).redis
    admin = Admin(client_of(redis))
    admin.pause("toy", "1")  # or the same worker would take the next step at once
    worker.let_go()
    finalizing = client.until(batch, "finalizing", *ENDED)
    assert (finalizing.status, finalizing.output_file_id, finalizing.completed_at) == ("finalizing", None, None)
    assert finalizing.finalizing_at is not None
    admin.resume("toy", "1")
    redis.close()
    done = client.until(batch, *ENDED)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (20, 19, 1)
    assert batch.created_at <= (done.in_progress_at or 0) <= (done.finalizing_at or 0) <= (done.completed_at or 0)
    outputs, (error,) = client.lines(done.output_file_id), client.lines(done.error_file_id)
    assert [each["custom_id"] for each in outputs] == [f"row-{n}" for n in range(20) if n != 7]
    assert outputs[3]["response"]["body"]["outputs"][0]["data"] == [6.0, 2.0, 4.0]
    assert (error["custom_id"], error["error"], error["response"]["status_code"]) == ("row-7", None, 400)
    assert error["response"]["body"]["error"]["code"] == "invalid_input"
    for made in (done.output_file_id, done.error_file_id):
        assert made is not None
        file = client.openai.files.retrieve(made)
        assert (file.purpose, file.status) == ("batch_output", "processed")
        assert file.bytes == len(client.openai.files.content(made).read())
    assert {each.id for each in client.openai.files.list(purpose="batch_output")} == {
        done.output_file_id, done.error_file_id,
    }  # fmt: skip


def test_batch_when_cancelled_amid_a_chunk_then_cancelling_then_cancelled_with_what_was_done(client: Client) -> None:
    worker = client.site.start_worker(is_held=True, **CHUNK)
    batch = client.create(client.store(lines(MANY)))
    worker.wait_until_held()
    cancelling = client.openai.batches.cancel(batch.id)
    assert (cancelling.status, cancelling.cancelling_at is not None) == ("cancelling", True)
    assert client.get(batch).status == "cancelling"
    assert client.openai.batches.cancel(batch.id).status == "cancelling", "again is no error"
    worker.let_go()
    done = client.until(batch, *ENDED)
    assert (done.status, done.cancelled_at is not None) == ("cancelled", True)
    assert done.output_file_id is not None
    assert done.error_file_id is not None
    check_rows(client, done, MANY, "batch_cancelled")
    assert client.openai.batches.cancel(batch.id).status == "cancelled"


def test_batch_when_cancelled_before_its_file_is_read_then_cancelled_at_once(client: Client) -> None:
    batch = client.create(client.store(lines(1)))
    done = client.openai.batches.cancel(batch.id)
    assert (done.status, done.output_file_id, done.error_file_id) == ("cancelled", None, None)


def test_batch_when_its_window_closes_then_expired_with_what_was_done(client: Client) -> None:
    worker = client.site.start_worker(is_held=True, **CHUNK)
    batch = client.create(client.store(lines(MANY)))
    worker.wait_until_held()
    client.site.direct.zadd(KEYS.batch_ends, {batch.id: 1})
    eventually(lambda: client.site.direct.hget(KEYS.batch + batch.id, "ending"), "the keeper closes the batch")
    worker.let_go()
    done = client.until(batch, *ENDED)
    assert (done.status, done.expired_at is not None) == ("expired", True)
    assert done.output_file_id is not None
    check_rows(client, done, MANY, "batch_expired")


def test_batch_when_its_file_is_bad_then_failed_with_each_line_and_no_cancel(client: Client) -> None:
    data = line(0) + line(1, url="/v1/other") + b"{\n" + line(2, custom_id=None) + line(3)
    batch, twice = (client.create(client.store(each)) for each in (data, line(0) + line(1) + line(0)))
    client.site.start_worker()
    batch, twice = client.until(batch, *ENDED), client.until(twice, *ENDED)
    assert (batch.status, batch.failed_at is not None, batch.output_file_id) == ("failed", True, None)
    assert batch.errors is not None
    assert batch.errors.object == "list"
    assert [(each.line, each.code) for each in batch.errors.data or []] == [
        (2, "url_mismatch"), (3, "invalid_json_line"), (4, "missing_custom_id"),
    ]  # fmt: skip
    assert twice.errors is not None
    assert [(each.line, each.code) for each in twice.errors.data or []] == [(3, "duplicate_custom_id")]
    assert all(each.message for each in batch.errors.data or [])
    with pytest.raises(openai.ConflictError) as caught:
        client.openai.batches.cancel(batch.id)
    assert (caught.value.code, caught.value.status_code) == ("conflict", 409)
    assert f"batch {batch.id} is failed and cannot be cancelled any more" in caught.value.message
    assert tries(caught.value) == 1, "the client is told not to try again"


def test_batch_when_asked_for_what_is_wrong_then_the_clients_usual_exceptions(client: Client) -> None:
    file_id = client.store(lines(1))
    wrong: list[tuple[type[openai.APIStatusError], dict[str, Any], str, str | None]] = [
        (openai.BadRequestError, {"endpoint": "/v1/chat/completions"}, "invalid_input", "#/endpoint"),
        (openai.BadRequestError, {"completion_window": "soon"}, "invalid_input", "#/completion_window"),
        (openai.BadRequestError, {"metadata": {"output_format": "doc"}}, "invalid_input", "#/metadata/output_format"),
        (openai.BadRequestError, {"extra_body": {"priority": 1}}, "invalid_input", "#/priority"),
        (openai.NotFoundError, {"endpoint": "/v2/models/no/infer"}, "not_found", None),
        (openai.NotFoundError, {"input_file_id": "file-" + "x" * 24}, "not_found", None),
    ]
    for error, changes, code, param in wrong:
        with pytest.raises(error) as caught:
            client.create(**({"input_file_id": file_id} | changes))
        assert (caught.value.code, caught.value.param, caught.value.type) == (code, param, "invalid_request_error")
        assert tries(caught.value) == 1
    for asking in (client.openai.batches.retrieve, client.openai.batches.cancel):
        with pytest.raises(openai.NotFoundError, match=f"no batch '{UNKNOWN}'"):
            asking(UNKNOWN)
    with pytest.raises(openai.NotFoundError):
        client.openai.batches.list(after=UNKNOWN)
    assert client.openai.batches.list().data == []


def test_batches_when_there_are_many_then_listed_page_by_page_the_newest_first(client: Client) -> None:
    file_id = client.store(lines(1))
    ids = [client.create(file_id).id for _ in range(5)][::-1]
    assert [batch.id for batch in client.openai.batches.list(limit=2)] == ids, "it follows its pages by itself"
    assert client.openai.batches.list(limit=2).has_more
    assert not client.openai.batches.list(limit=5).has_more


def test_batch_when_sent_again_under_its_key_then_the_same_and_run_once(client: Client) -> None:
    file_id, key = client.store(lines(3)), {"Idempotency-Key": "once"}
    first = client.create(file_id, extra_headers=key)
    assert client.create(file_id, extra_headers=key) == first
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.create(file_id, metadata={"another": "one"}, extra_headers=key)
    assert caught.value.code == "reused"
    client.site.start_worker()
    done = client.until(first, *ENDED)
    check_rows(client, done, 3)
    assert client.create(file_id, extra_headers=key) == done
    assert [batch.id for batch in client.openai.batches.list()] == [first.id]


def test_file_when_sent_again_under_its_key_then_stored_once(client: Client) -> None:
    sent = {"file": ("rows.jsonl", lines(3)), "purpose": "batch", "extra_headers": {"Idempotency-Key": "once"}}
    first = client.openai.files.create(**sent)
    assert client.openai.files.create(**sent) == first
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.openai.files.create(**sent | {"file": ("rows.jsonl", lines(4))})
    assert caught.value.code == "reused"
    assert [file.id for file in client.openai.files.list()] == [first.id]
    assert client.openai.files.content(first.id).read() == lines(3)


def test_batch_when_too_many_are_under_way_then_the_client_is_told_to_wait(start_client: Callable[..., Client]) -> None:
    client = start_client(FERRY_MAX_BATCHES="1")
    file_id = client.store(lines(1))
    first = client.create(file_id)
    client.openai = client.openai.with_options(max_retries=0)  # it would wait as long as it is told, twice
    with pytest.raises(openai.InternalServerError) as caught:
        client.create(file_id)
    assert (caught.value.status_code, caught.value.code) == (503, "queue_full")
    assert caught.value.response.headers["retry-after"] == "30"
    client.openai.batches.cancel(first.id)
    assert client.create(file_id).status == "validating"


def test_batch_when_output_has_its_own_time_and_format_then_both_are_kept(client: Client) -> None:
    client.site.start_worker()
    batch = client.create(
        client.store(b"x_0,x_1,x_2\n1,2,3\n4,5,6\n", "rows.csv"),
        metadata={"output_format": "csv"},
        extra_body={"output_expires_after": {"anchor": "created_at", "seconds": 3600}},
    )
    done = client.until(batch, *ENDED)
    assert (done.status, done.errors) == ("completed", None)
    assert done.output_file_id is not None
    assert done.model_extra is not None
    assert (done.model_extra["format"], done.model_extra["output_format"]) == ("csv", "csv")
    file = client.openai.files.retrieve(done.output_file_id)
    assert file.filename == f"{batch.id}_output.csv"
    assert (file.expires_at or 0) - file.created_at in (3600, 3601)
    assert client.openai.files.content(done.output_file_id).text.splitlines()[1:] != []
