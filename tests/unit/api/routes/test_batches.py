import asyncio
from typing import Any

import httpx
import pytest

from api.followers import MAX_FOLLOWERS
from ferry.bulk.batch_records import BatchSpec, BatchStatus, Opened, Part, part_key
from ferry.bulk.files import key_of
from ferry.bulk.formats.registry import OUTPUT_FORMATS
from tests.manifests import manifest
from tests.unit.api.conftest import Api
from tests.unit.api.routes.test_files import assert_refused

pytestmark = pytest.mark.anyio

URL = "/v1/batches"
ENDPOINT = "/v2/models/toy/infer"
UNKNOWN = "batch_" + "x" * 24
FIELDS = "input_file_id, endpoint, completion_window, metadata, output_expires_after, model"
CREATED_US = 1_800_000_000_000_000


async def file(api: Api, purpose: str = "batch") -> str:
    """Store a file; returns its id."""
    file_id = await api.files.reserve()
    with api.files.storage.create(key_of(file_id)) as upload:
        upload.write(b"{}")
    await api.files.create(file_id, size_bytes=2, filename="in.jsonl", purpose=purpose)
    return file_id


async def posted(api: Api, key: str | None = None, **changes: object) -> httpx.Response:
    """Ask for a batch of a new file, unless told otherwise; None leaves a field out."""
    body = {"input_file_id": changes.get("input_file_id") or await file(api), "endpoint": ENDPOINT} | changes
    body = {name: value for name, value in body.items() if value is not None}
    return await api.client.post(URL, json=body, headers={"idempotency-key": key} if key else {})


async def made(api: Api, **changes: object) -> dict[str, Any]:
    response = await posted(api, **changes)
    assert response.status_code == 200, response.text
    return response.json()


async def test_create_when_all_is_right_then_the_batch_validates_its_file(api: Api) -> None:
    file_id = await file(api)
    body = await made(api, input_file_id=file_id, completion_window="1h", metadata={"customer": "7"})
    nothing_yet = dict.fromkeys(
        (
            "errors", "output_file_id", "error_file_id", "in_progress_at", "finalizing_at", "completed_at", "failed_at",
            "expired_at", "cancelling_at", "cancelled_at", "format", "output_format",
        )
    )  # fmt: skip
    assert body == nothing_yet | {
        "notes": [],
        "id": body["id"],
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": "toy",
        "model_version": "1",
        "input_file_id": file_id,
        "completion_window": "1h",
        "status": "validating",
        "created_at": 1_800_000_000,
        "expires_at": 1_800_003_600,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": {"customer": "7"},
        "progress": {"rows_done": 0, "rows_per_s": None, "eta_s": None, "chunks": None, "chunks_done": 0},
        "timings": {"created": 1_800_000_000.0, "in_progress": None, "finalizing": None, "ended": None},
    }
    assert (await api.client.get(f"{URL}/{body['id']}")).json() == body


async def test_create_when_the_endpoint_names_no_model_then_the_one_asked_for_or_the_default(api: Api) -> None:
    await api.add_model(manifest("other", "1"))
    await api.add_model(manifest("other", "2"))
    for asked, model in (
        ({}, "toy:1"),
        ({"model": "other"}, "other:2"),
        ({"metadata": {"model": "other:1"}}, "other:1"),
    ):
        body = await made(api, endpoint="/v1/predictions", **asked)
        assert f"{body['model']}:{body['model_version']}" == model


async def test_create_when_output_expires_then_the_queue_is_told(api: Api) -> None:
    body = await made(api, output_expires_after={"anchor": "created_at", "seconds": 3600})
    assert api.batches.records[body["id"]].output_ttl_s == 3600


@pytest.mark.parametrize(
    ("changes", "param", "detail"),
    [
        ({"window": "1h"}, "#/window", f"unknown field 'window'; there are {FIELDS}"),
        ({"endpoint": None}, "#/endpoint", "endpoint is missing; expected /v1/predictions or /v2/models/NAME/infer"),
        (
            {"endpoint": "/v1/chat/completions"}, "#/endpoint",
            "endpoint '/v1/chat/completions' is not one; expected /v1/predictions, /v2/models/NAME/infer or "
            "/v2/models/NAME/versions/VERSION/infer",
        ),
        (
            {"completion_window": "a day"}, "#/completion_window",
            "completion_window 'a day' is no time from 1m to 30d; expected one such as 24h, 90m, 3600s or 7d",
        ),
        (
            {"metadata": {str(n): "x" for n in range(17)}}, "#/metadata",
            "metadata has 17 pairs, the limit is 16",
        ),
        ({"metadata": {"k" * 65: "x"}}, "#/metadata", "a key of metadata has 1 to 64 characters"),
        ({"metadata": {"k": "x" * 513}}, "#/metadata/k", "metadata 'k' must be a text of up to 512 characters"),
        ({"metadata": "x"}, "#/metadata", "metadata must be an object of texts"),
        (
            {"metadata": {"output_format": "xlsx"}}, "#/metadata/output_format",
            f"no output format 'xlsx'; there are {', '.join(OUTPUT_FORMATS)}",
        ),
        (
            {"output_expires_after": {"seconds": 3600}}, "#/output_expires_after",
            'expected {"anchor": "created_at", "seconds": N}',
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "#/output_expires_after/seconds",
            "expected a whole number, 3600 to 2592000",
        ),
        ({"endpoint": "/v1/predictions", "model": 7}, "#/model", 'model must be a name such as "mnist" or "mnist:1"'),
    ],
)  # fmt: skip
async def test_create_when_a_field_is_wrong_then_400_which_names_it(
    api: Api, changes: dict[str, object], param: str, detail: str
) -> None:
    assert assert_refused(await posted(api, **changes), 400, "invalid_input", param) == detail
    assert api.batches.records == {}


async def test_create_when_no_file_is_named_then_400(api: Api) -> None:
    response = await api.client.post(URL, json={"endpoint": ENDPOINT})
    detail = "input_file_id is missing; expected the id of a file (POST /v1/files)"
    assert assert_refused(response, 400, "invalid_input", "#/input_file_id") == detail


@pytest.mark.parametrize(
    ("content", "media_type", "status", "code", "param"),
    [
        (b"{", "application/json", 400, "malformed_request", None),
        (b"[]", "application/json", 400, "invalid_input", "#"),
        (b"{}", "text/csv", 415, "unsupported_media_type", None),
        (b" " * 20_001, "application/json", 413, "body_too_large", None),
    ],
)
async def test_create_when_the_body_is_no_json_object_then_said(
    api: Api, content: bytes, media_type: str, status: int, code: str, param: str | None
) -> None:
    response = await api.client.post(URL, content=content, headers={"content-type": media_type})
    assert_refused(response, status, code, param)


async def test_create_when_the_model_is_unknown_then_404(api: Api) -> None:
    for changes in ({"endpoint": "/v2/models/no/infer"}, {"endpoint": "/v1/predictions", "model": "no"}):
        assert "'no'" in assert_refused(await posted(api, **changes), 404, "not_found")
    response = await posted(api, endpoint="/v2/models/toy/versions/7/infer")
    assert "7" in assert_refused(response, 404, "not_found")


async def test_create_when_the_file_is_unknown_then_404(api: Api) -> None:
    detail = "no file 'file-gone'; POST /v1/files stores one, GET /v1/files lists them"
    assert assert_refused(await posted(api, input_file_id="file-gone"), 404, "not_found") == detail


async def test_create_when_the_file_is_an_output_then_400(api: Api) -> None:
    file_id = await file(api, purpose="batch_output")
    detail = f"file {file_id} was not stored with purpose=batch; store it again with that purpose"
    response = await posted(api, input_file_id=file_id)
    assert assert_refused(response, 400, "invalid_input", "#/input_file_id") == detail


async def test_create_when_the_queue_is_drained_then_503(api: Api) -> None:
    api.queue.drain("toy", "1")
    response = await posted(api)
    detail = "toy:1 takes no new batches: an operator lets its queue run empty (ferry queue resume toy:1)"
    assert assert_refused(response, 503, "queue_draining") == detail
    assert response.headers["retry-after"] == "30"


async def test_create_when_as_many_are_under_way_as_may_be_then_503_until_one_ends(api: Api) -> None:
    api.batches.max_open = 1
    first = await made(api)
    response = await posted(api)
    limit = api.services.settings.max_batches
    detail = f"{limit} batches are under way, which is the limit (FERRY_MAX_BATCHES); wait for one, or cancel one"
    assert assert_refused(response, 503, "queue_full") == detail
    assert response.headers["retry-after"] == "30"
    await api.client.post(f"{URL}/{first['id']}/cancel")
    await made(api)


async def test_requests_when_redis_is_away_then_503(api: Api) -> None:
    batch_id, file_id = (await made(api))["id"], await file(api)
    api.batches.is_down = True
    for response in (
        await posted(api, input_file_id=file_id),
        await api.client.get(URL),
        await api.client.get(f"{URL}/{batch_id}"),
        await api.client.post(f"{URL}/{batch_id}/cancel"),
    ):
        assert_refused(response, 503, "queue_unavailable")
        assert response.headers["retry-after"] == "1"


async def test_create_when_redis_forgot_the_model_then_it_is_told_again(api: Api) -> None:
    del api.queue.lanes["toy", "1"]
    assert (await made(api))["status"] == "validating"
    assert ("toy", "1") in api.queue.lanes


async def test_create_when_redis_forgets_the_model_at_once_then_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgotten(spec: BatchSpec) -> Opened:
        return Opened.UNREGISTERED

    monkeypatch.setattr(api.batches, "open", forgotten)
    detail = "Redis forgot toy:1 twice; is it being wiped?"
    assert assert_refused(await posted(api), 503, "queue_unavailable") == detail


async def test_create_when_no_key_is_given_then_each_is_a_batch_of_its_own(api: Api) -> None:
    file_id = await file(api)
    assert (await made(api, input_file_id=file_id))["id"] != (await made(api, input_file_id=file_id))["id"]


@pytest.mark.parametrize("key", ["once", '"once"'])
async def test_create_when_the_same_comes_again_under_a_key_then_the_same_batch(api: Api, key: str) -> None:
    file_id = await file(api)
    first = await posted(api, "once", input_file_id=file_id, metadata={"a": "1", "b": "2"})
    assert "idempotent-replayed" not in first.headers
    api.batches.change(first.json()["id"], status=BatchStatus.IN_PROGRESS)
    again = await posted(api, key, input_file_id=file_id, metadata={"b": "2", "a": "1"})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.json()["status"] == "in_progress", "as it is now"
    assert again.headers["idempotent-replayed"] == "true"
    assert len(api.batches.records) == 1


async def test_create_when_the_file_is_gone_when_the_same_comes_again_then_the_same_batch(api: Api) -> None:
    file_id = await file(api)
    first = await posted(api, "once", input_file_id=file_id)
    await api.files.delete(file_id)
    again = await posted(api, "once", input_file_id=file_id)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_create_when_another_thing_comes_under_a_key_then_422(api: Api) -> None:
    file_id = await file(api)
    await posted(api, "once", input_file_id=file_id)
    response = await posted(api, "once", input_file_id=file_id, completion_window="1h")
    detail = "a batch was asked for under this Idempotency-Key with another body; choose another key"
    assert assert_refused(response, 422, "reused") == detail
    assert (await posted(api, "other", input_file_id=file_id)).status_code == 200


@pytest.mark.parametrize("key", ["k" * 256, "a b", '"'])
async def test_create_when_the_key_is_none_then_400(api: Api, key: str) -> None:
    detail = "expected 1 to 255 visible ASCII characters, quoted or not"
    assert assert_refused(await posted(api, key), 400, "invalid_input", "Idempotency-Key") == detail


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/cancel")])
async def test_requests_when_the_batch_is_unknown_then_404(api: Api, method: str, path: str) -> None:
    for batch_id in (UNKNOWN, "nothing", "batch_*"):
        response = await api.client.request(method, f"{URL}/{batch_id}{path}")
        assert "GET /v1/batches lists them" in assert_refused(response, 404, "not_found")
    detail = f"no batch {UNKNOWN!r}; GET /v1/batches lists them"
    assert (await api.client.request(method, f"{URL}/{UNKNOWN}{path}")).json()["detail"] == detail


async def test_list_when_there_are_none_then_empty(api: Api) -> None:
    body = (await api.client.get(URL)).json()
    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_list_when_there_are_many_then_pages_the_newest_first(api: Api) -> None:
    batches = [await made(api) for _ in range(3)][::-1]
    first = (await api.client.get(URL, params={"limit": 2})).json()
    assert (first["data"], first["has_more"]) == (batches[:2], True)
    assert (first["first_id"], first["last_id"]) == (batches[0]["id"], batches[1]["id"])
    second = (await api.client.get(URL, params={"limit": 2, "after": first["last_id"]})).json()
    assert (second["data"], second["has_more"]) == (batches[2:], False)
    assert (await api.client.get(URL)).json()["data"] == batches


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x"])
async def test_list_when_the_page_is_none_then_400(api: Api, query: str) -> None:
    assert_refused(await api.client.get(f"{URL}?{query}"), 400, "invalid_input", "query/limit")


async def test_list_when_it_goes_on_after_nothing_then_404(api: Api) -> None:
    response = await api.client.get(URL, params={"after": UNKNOWN})
    assert assert_refused(response, 404, "not_found") == f"no batch {UNKNOWN!r} to go on after"


async def test_cancel_when_nobody_looked_at_the_file_then_cancelled_at_once(api: Api) -> None:
    batch_id = (await made(api))["id"]
    body = (await api.client.post(f"{URL}/{batch_id}/cancel")).json()
    assert (body["status"], body["cancelling_at"], body["cancelled_at"]) == ("cancelled", 1_800_000_000, 1_800_000_000)


async def test_cancel_when_it_runs_then_cancelling_and_again_the_same(api: Api) -> None:
    batch_id = (await made(api))["id"]
    api.batches.change(batch_id, status=BatchStatus.IN_PROGRESS, total=10, chunks=2)
    for _ in range(2):
        response = await api.client.post(f"{URL}/{batch_id}/cancel")
        assert (response.status_code, response.json()["status"]) == (200, "cancelling")
    api.batches.change(batch_id, status=BatchStatus.CANCELLED, cancelled_us=CREATED_US)
    response = await api.client.post(f"{URL}/{batch_id}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize(
    "status", [BatchStatus.FINALIZING, BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED]
)
async def test_cancel_when_it_is_over_or_nearly_then_409_and_nobody_should_retry(api: Api, status: BatchStatus) -> None:
    batch_id = (await made(api))["id"]
    api.batches.change(batch_id, status=status)
    response = await api.client.post(f"{URL}/{batch_id}/cancel")
    detail = f"batch {batch_id} is {status.value} and cannot be cancelled any more"
    assert assert_refused(response, 409, "conflict") == detail
    assert response.headers["x-should-retry"] == "false"


async def test_requests_when_the_verb_is_wrong_then_405_which_names_the_right_ones(api: Api) -> None:
    for path, allowed in (("", "GET, POST"), (f"/{UNKNOWN}", "GET"), (f"/{UNKNOWN}/cancel", "POST")):
        response = await api.client.request("DELETE", URL + path)
        assert_refused(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allowed


# --- the output while it runs


def finish_chunk(api: Api, batch_id: str, number: int, data: bytes, n_rows: int) -> None:
    """Store a chunk's part, as a worker does."""
    with api.files.storage.create(part_key(batch_id, number, "t", "out")) as upload:
        upload.write(data)
    part = Part("t", n_rows, 0, len(data), 0, n_rows)
    api.batches.parts.setdefault(batch_id, {})[number] = part


async def end_batch(api: Api, batch_id: str, data: bytes) -> str:
    """Make the output file and end the batch; returns the file's id."""
    file_id = await api.files.reserve()
    with api.files.storage.create(key_of(file_id)) as upload:
        upload.write(data)
    await api.files.create(file_id, size_bytes=len(data), filename="out.csv", purpose="batch_output")
    api.batches.change(batch_id, status=BatchStatus.COMPLETED, output_file_id=file_id)
    return file_id


async def following(api: Api, batch_id: str) -> asyncio.Future[httpx.Response]:
    """Return a request for the output that is under way."""
    reading = asyncio.ensure_future(api.client.get(f"{URL}/{batch_id}/output"))
    while not api.services.followers.n_open:  # noqa: ASYNC110 - the application says nothing
        await asyncio.sleep(0)
    return reading


async def test_output_when_the_batch_runs_then_its_parts_and_then_the_rest(api: Api) -> None:
    batch_id = (await made(api))["id"]
    api.batches.change(batch_id, status=BatchStatus.IN_PROGRESS, output_format="csv", chunks=2)
    finish_chunk(api, batch_id, 0, b'"a"\n1\n2\n', 2)
    reading = await following(api, batch_id)
    await end_batch(api, batch_id, b'"a"\n1\n2\n3\n')
    response = await reading
    assert (response.status_code, response.content) == (200, b'"a"\n1\n2\n3\n')
    assert response.headers["content-type"] == "text/csv"
    assert "content-length" not in response.headers
    assert (await api.client.get(f"{URL}/{batch_id}/output?from_row=1")).content == b"2\n3\n"
    assert api.services.followers.n_open == 0


async def test_output_when_the_format_is_not_known_then_waits_for_it(api: Api) -> None:
    batch_id = (await made(api))["id"]
    reading = await following(api, batch_id)
    api.batches.change(batch_id, output_format="jsonl")
    await end_batch(api, batch_id, b"{}\n")
    assert (await reading).content == b"{}\n"


async def test_output_when_the_format_stays_unknown_then_told_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.batches.FORMAT_WAIT_S", 0)
    batch_id = (await made(api))["id"]
    response = await api.client.get(f"{URL}/{batch_id}/output")
    assert (response.status_code, response.headers["retry-after"]) == (504, "1")
    assert response.json()["code"] == "wait_timeout"
    assert api.services.followers.n_open == 0


async def test_output_when_it_is_one_whole_file_then_refused(api: Api) -> None:
    batch_id = (await made(api, metadata={"output_format": "parquet"}))["id"]
    response = await api.client.get(f"{URL}/{batch_id}/output")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_input")
    assert "output_format jsonl, csv, tsv" in response.json()["detail"]


async def test_output_when_the_batch_failed_without_one_then_conflict(api: Api) -> None:
    batch_id = (await made(api))["id"]
    api.batches.change(batch_id, status=BatchStatus.FAILED)
    assert (await api.client.get(f"{URL}/{batch_id}/output")).status_code == 409


async def test_output_when_its_file_was_deleted_then_not_found(api: Api) -> None:
    batch_id = (await made(api))["id"]
    file_id = await end_batch(api, batch_id, b"{}\n")
    await api.files.delete(file_id)
    response = await api.client.get(f"{URL}/{batch_id}/output")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert (await api.client.get(f"{URL}/{UNKNOWN}/output")).status_code == 404


async def test_output_when_as_many_follow_as_may_then_told_to_come_back(api: Api) -> None:
    batch_id = (await made(api))["id"]
    await end_batch(api, batch_id, b"{}\n")
    for _ in range(MAX_FOLLOWERS):
        api.services.followers.enter()
    response = await api.client.get(f"{URL}/{batch_id}/output")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["code"] == "queue_full"
    api.services.followers.leave()
    assert (await api.client.get(f"{URL}/{batch_id}/output")).status_code == 200


@pytest.mark.parametrize("from_row", ["-1", "x", "1e3", str(10**16)])
async def test_output_when_the_row_is_no_number_then_refused(api: Api, from_row: str) -> None:
    batch_id = (await made(api))["id"]
    assert (await api.client.get(f"{URL}/{batch_id}/output?from_row={from_row}")).status_code == 400


@pytest.mark.parametrize("query", ["fromrow=2", "from_row=1&limit=3"])
async def test_output_when_a_query_parameter_is_unknown_then_refused_naming_it(api: Api, query: str) -> None:
    batch_id = (await made(api))["id"]
    response = await api.client.get(f"{URL}/{batch_id}/output?{query}")
    assert response.status_code == 400
    assert response.json()["detail"].endswith("; there is from_row")


# --- failed rows, again


async def ended(api: Api, **changes: object) -> dict[str, Any]:
    """Return a batch that is over and of which rows failed."""
    body = await made(api, **changes)
    files = [await file(api, "batch_output") for _ in range(2)]
    api.batches.change(
        body["id"], status=BatchStatus.COMPLETED, output_file_id=files[0], error_file_id=files[1], total=9, failed=2
    )
    return body


async def retried(api: Api, batch_id: str, key: str | None = None, **changes: Any) -> httpx.Response:
    body = {"metadata": {"retry_of": batch_id} | changes.pop("metadata", {})} | changes
    return await api.client.post(URL, json=body, headers={"idempotency-key": key} if key else {})


async def test_retry_when_rows_failed_then_a_batch_of_the_same_file_model_and_options(api: Api) -> None:
    await api.add_model(manifest("other", "1"))
    earlier = await ended(api, endpoint="/v1/predictions", model="other", metadata={"join": "id", "errors": "inline"})
    await api.add_model(manifest("other", "2"))
    response = await retried(api, earlier["id"], completion_window="1h")
    assert response.status_code == 200, response.text
    body = response.json()
    same = ("input_file_id", "endpoint", "model", "model_version")
    assert {name: body[name] for name in same} == {name: earlier[name] for name in same}
    assert body["metadata"] == {"join": "id", "errors": "inline", "retry_of": earlier["id"]}
    first, record = api.batches.records[earlier["id"]], api.batches.records[body["id"]]
    assert (record.retry_output_id, record.retry_error_id) == (first.output_file_id, first.error_file_id)
    assert record.expires_us - record.created_us == 3_600_000_000


async def test_retry_when_the_same_is_named_again_then_that_is_fine(api: Api) -> None:
    earlier = await ended(api, metadata={"join": "id"})
    same = {
        "input_file_id": earlier["input_file_id"],
        "endpoint": ENDPOINT,
        "model": "toy:1",
        "metadata": {"join": "id"},
    }
    assert (await retried(api, earlier["id"], **same)).status_code == 200


async def test_retry_when_it_comes_again_with_its_key_after_a_file_went_then_the_same_batch(api: Api) -> None:
    earlier = await ended(api)
    first = await retried(api, earlier["id"], "k")
    await api.files.delete(str(api.batches.records[earlier["id"]].error_file_id))
    again = await retried(api, earlier["id"], "k")
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first.json()["id"], "true")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": "file-" + "x" * 24}, "#/input_file_id"),
        ({"endpoint": "/v1/predictions"}, "#/endpoint"),
        ({"model": "toy:2"}, "#/model"),
        ({"metadata": {"output_format": "csv"}}, "#/metadata/output_format"),
        ({"metadata": {"join": "name"}}, "#/metadata/join"),
        ({"metadata": {"retry_of": 7}}, "#/metadata/retry_of"),
        ({"metadata": {"retry_of": ""}}, "#/metadata/retry_of"),
    ],
)
async def test_retry_when_something_else_is_asked_for_then_refused(
    api: Api, changes: dict[str, Any], param: str
) -> None:
    earlier = await ended(api, metadata={"join": "id"})
    response = await retried(api, earlier["id"], **changes)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"status": BatchStatus.IN_PROGRESS}, "is in_progress; its failed rows can be run when it is over"),
        ({"error_file_id": None}, "so there is nothing to run again"),
        ({"status": BatchStatus.FAILED, "error_file_id": None}, "failed as a whole, see its `errors`"),
    ],
)
async def test_retry_when_there_is_nothing_to_run_again_then_conflict(
    api: Api, changes: dict[str, Any], detail: str
) -> None:
    earlier = await ended(api)
    api.batches.change(earlier["id"], **changes)
    response = await retried(api, earlier["id"])
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert detail in response.json()["detail"]


@pytest.mark.parametrize("what", ["input", "output", "error"])
async def test_retry_when_a_file_is_gone_then_not_found_and_says_which(api: Api, what: str) -> None:
    earlier = await ended(api)
    await api.files.delete(getattr(api.batches.records[earlier["id"]], f"{what}_file_id"))
    response = await retried(api, earlier["id"])
    assert response.status_code == 404
    assert f"the {what} file of batch {earlier['id']} was deleted, or its time is over" in response.json()["detail"]
    assert (await retried(api, UNKNOWN)).status_code == 404


async def test_create_when_errors_are_to_be_elsewhere_then_refused(api: Api) -> None:
    response = await posted(api, metadata={"errors": "nowhere"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "#/metadata/errors"


@pytest.mark.parametrize("member", ["model", "endpoint", "input_file_id", "metadata", "completion_window"])
async def test_create_batch_when_a_member_is_many_numbers_then_400(api: Api, member: str) -> None:
    body = {"input_file_id": "file-1", "endpoint": "/v1/predictions", member: [1] * 40}
    response = await api.client.post("/v1/batches", json=body)
    assert response.status_code == 400, response.text
