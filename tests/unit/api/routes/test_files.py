import hashlib
from typing import Any

import httpx
import pytest

from api.uploads import MOST_FORM_BYTES
from ferry.bulk.files import key_of
from ferry.errors import StorageError
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

URL = "/v1/files"
LINES = b'{"x": 1}\n{"x": 2}\n'
FORM = {"content-type": "multipart/form-data; boundary=b"}


async def posted(api: Api, content: bytes = LINES, name: str = "in.jsonl", **fields: str) -> httpx.Response:
    return await api.client.post(URL, data={"purpose": "batch"} | fields, files={"file": (name, content)})


async def stored(api: Api, content: bytes = LINES, name: str = "in.jsonl", **fields: str) -> dict[str, Any]:
    response = await posted(api, content, name, **fields)
    assert response.status_code == 200, response.text
    return response.json()


def part(head: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"


PURPOSE = part('name="purpose"', b"batch")
FILE = part('name="file"; filename="in.jsonl"', LINES)


def assert_refused(response: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """Check that it is a problem body with the object that OpenAI's clients read; returns the detail."""
    body = response.json()
    kind = "server_error" if status >= 500 else "invalid_request_error"
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert body["error"] == {"message": body["detail"], "type": kind, "param": param, "code": code}
    return body["detail"]


def assert_nothing_left(api: Api) -> None:
    assert api.files.reserved == {}
    assert api.files.records == {}
    root = api.services.settings.data_dir.absolute()
    assert [path for path in root.rglob("*") if path.is_file()] == []


async def test_create_when_the_form_is_right_then_the_file(api: Api) -> None:
    body = await stored(api)
    assert body == {
        "id": body["id"],
        "object": "file",
        "bytes": len(LINES),
        "created_at": 1_800_000_000,
        "expires_at": 1_800_000_600,
        "filename": "in.jsonl",
        "purpose": "batch",
        "status": "processed",
        "sha256": hashlib.sha256(LINES).hexdigest(),
    }
    assert (await api.client.get(f"{URL}/{body['id']}")).json() == body


async def test_create_when_it_says_how_long_then_so_long(api: Api) -> None:
    body = await stored(api, **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})
    assert body["expires_at"] - body["created_at"] == 3600


@pytest.mark.parametrize(
    "body",
    [
        FILE + PURPOSE + b"--b--\r\n",
        PURPOSE + part('name="other"', b"1") + part('name="x"; filename="y"', b"2") + FILE + b"--b--ignored",
    ],
)
async def test_create_when_parts_come_in_any_order_or_are_unknown_then_the_file(api: Api, body: bytes) -> None:
    response = await api.client.post(URL, content=body, headers=FORM)
    assert response.json()["bytes"] == len(LINES), response.text


@pytest.mark.parametrize("size", [1, 2**20 - 1, 2**20, 2**20 + 1, 3_000_000])
async def test_create_when_it_comes_in_pieces_then_every_byte_is_there(api: Api, size: int) -> None:
    content = (b"\r\n--b\r\n-" * (size // 8 + 1))[:size]  # looks like a boundary now and then
    body = await stored(api, content)
    assert body["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await api.client.get(f"{URL}/{body['id']}/content")).content == content


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "assistants"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"expires_after[seconds]": "3599"}, "expires_after[seconds]"),
        ({"expires_after[seconds]": "2592001"}, "expires_after[seconds]"),
        ({"expires_after[seconds]": "1e4"}, "expires_after[seconds]"),
        ({"expires_after[anchor]": "last_active_at"}, "expires_after[anchor]"),
        ({"expires_after[anchor]": "created_at"}, "expires_after[seconds]"),
    ],
)
async def test_create_when_a_field_is_wrong_then_400_and_nothing_is_left(
    api: Api, fields: dict[str, str], param: str
) -> None:
    assert_refused(await posted(api, **fields), 400, "invalid_input", param)
    assert_nothing_left(api)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (PURPOSE, "file"),
        (FILE, "purpose"),
        (PURPOSE + FILE + FILE, "file"),
        (PURPOSE + part('name="file"; filename="a"', b""), "file"),
        (PURPOSE + part(f'name="file"; filename="{"a" * 256}"', b"x"), "file"),
        (FILE + part('name="purpose"', b"fine-tune"), "purpose"),
    ],
)
async def test_create_when_a_part_is_missing_or_wrong_then_400_and_nothing_is_left(
    api: Api, body: bytes, param: str
) -> None:
    response = await api.client.post(URL, content=body + b"--b--\r\n", headers=FORM)
    assert_refused(response, 400, "invalid_input", param)
    assert_nothing_left(api)


@pytest.mark.parametrize(
    "body", [b"", b"{}", PURPOSE + FILE, PURPOSE + FILE[:-10], b"--b\r\n\r\nx\r\n--b--", b"--b\r\nno header\r\n\r\n"]
)
async def test_create_when_it_is_no_whole_form_then_400_and_nothing_is_left(api: Api, body: bytes) -> None:
    assert_refused(await api.client.post(URL, content=body, headers=FORM), 400, "malformed_request")
    assert_nothing_left(api)


async def test_create_when_no_boundary_is_named_then_400(api: Api) -> None:
    headers = {"content-type": "multipart/form-data"}
    assert_refused(await api.client.post(URL, content=b"x", headers=headers), 400, "malformed_request")


@pytest.mark.parametrize("headers", [{"content-type": "application/json"}, {}, FORM | {"content-encoding": "gzip"}])
async def test_create_when_it_is_of_another_type_then_415(api: Api, headers: dict[str, str]) -> None:
    assert_refused(await api.client.post(URL, content=b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("is_declared", [True, False])
async def test_create_when_the_file_is_too_large_then_413_and_nothing_is_left(api: Api, is_declared: bool) -> None:
    content = b"x" * (3_000_001 if not is_declared else 3_000_001 + MOST_FORM_BYTES)
    assert "FERRY_MAX_FILE_BYTES" in assert_refused(await posted(api, content), 413, "body_too_large")
    assert_nothing_left(api)


async def test_create_when_there_is_much_beside_the_file_then_413(api: Api) -> None:
    assert_refused(await posted(api, other="x" * MOST_FORM_BYTES), 413, "body_too_large")
    assert_nothing_left(api)


async def test_create_when_the_client_goes_away_then_nothing_is_left(api: Api) -> None:
    messages = [{"type": "http.request", "body": PURPOSE + FILE, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    headers = [(b"content-type", FORM["content-type"].encode())]
    scope = {
        "type": "http", "method": "POST", "path": URL, "raw_path": URL.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("ferry", 80), "client": ("c", 1),
    }  # fmt: skip
    await api.app(scope, receive, send)
    assert_nothing_left(api)


async def test_create_when_the_storage_is_full_then_503_and_nothing_is_left(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, data: bytes) -> None:
            raise StorageError("the file storage takes no more", retry_after_s=5)

        def abort(self) -> None:
            pass

    monkeypatch.setattr(api.files.storage, "create", lambda key: Full())
    response = await posted(api)
    assert_refused(response, 503, "storage_unavailable")
    assert response.headers["retry-after"] == "5"
    assert_nothing_left(api)


async def test_create_when_there_are_too_many_files_then_503(api: Api) -> None:
    api.files.max_files = 1
    await stored(api)
    assert "FERRY_MAX_FILES" in assert_refused(await posted(api), 503, "storage_unavailable")


async def test_create_when_redis_goes_at_the_end_then_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = api.files.storage.create

    def last(key: str) -> object:
        api.files.is_down = True
        return commit(key)

    monkeypatch.setattr(api.files.storage, "create", last)
    assert_refused(await posted(api), 503, "queue_unavailable")
    assert api.files.records == {}


async def keyed(api: Api, key: str, content: bytes = LINES, name: str = "in.jsonl") -> httpx.Response:
    headers = {"idempotency-key": key}
    return await api.client.post(URL, data={"purpose": "batch"}, files={"file": (name, content)}, headers=headers)


@pytest.mark.parametrize("again", ["once", '"once"'])
async def test_create_when_the_same_comes_again_under_a_key_then_the_file_that_is_there(api: Api, again: str) -> None:
    first, second = await keyed(api, "once"), await keyed(api, again)
    assert (first.status_code, second.status_code, second.json()) == (200, 200, first.json())
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert (list(api.files.records), api.files.reserved) == ([first.json()["id"]], {})
    assert list(api.files.storage.list_folder("files")) == [key_of(first.json()["id"])]
    content = await api.client.get(f"{URL}/{first.json()['id']}/content")
    assert content.content == LINES


@pytest.mark.parametrize("other", [{"content": b"x"}, {"name": "other.jsonl"}])
async def test_create_when_another_file_comes_under_a_key_then_422_and_nothing_is_left_of_it(
    api: Api, other: dict[str, Any]
) -> None:
    file_id = (await keyed(api, "once")).json()["id"]
    detail = "another file was stored under this Idempotency-Key; choose another key"
    assert assert_refused(await keyed(api, "once", **other), 422, "reused") == detail
    assert list(api.files.storage.list_folder("files")) == [key_of(file_id)]
    assert (await keyed(api, "another", **other)).status_code == 200


async def test_create_when_the_file_of_a_key_was_deleted_then_a_new_one(api: Api) -> None:
    first = (await keyed(api, "once")).json()["id"]
    await api.client.request("DELETE", f"{URL}/{first}")
    second = await keyed(api, "once")
    assert (second.status_code, second.json()["id"] != first, "idempotent-replayed" in second.headers) == (
        200, True, False,
    )  # fmt: skip


async def test_create_when_the_key_is_none_then_400(api: Api) -> None:
    assert_refused(await keyed(api, "a b"), 400, "invalid_input", "Idempotency-Key")
    assert_nothing_left(api)


async def test_list_when_there_are_none_then_empty(api: Api) -> None:
    body = (await api.client.get(URL)).json()
    assert body == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_list_when_there_are_many_then_pages_in_the_order_asked_for(api: Api) -> None:
    ids = [(await stored(api))["id"] for _ in range(3)]
    first = (await api.client.get(URL, params={"limit": 2})).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    assert (first["first_id"], first["last_id"]) == (ids[2], ids[1])
    second = (await api.client.get(URL, params={"limit": 2, "after": first["last_id"]})).json()
    assert ([each["id"] for each in second["data"]], second["has_more"]) == (ids[:1], False)
    ascending = (await api.client.get(URL, params={"order": "asc", "purpose": "batch"})).json()
    assert [each["id"] for each in ascending["data"]] == ids
    assert (await api.client.get(URL, params={"purpose": "batch_output"})).json()["data"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=up"])
async def test_list_when_the_page_is_none_then_400(api: Api, query: str) -> None:
    name = query.partition("=")[0]
    assert_refused(await api.client.get(f"{URL}?{query}"), 400, "invalid_input", f"query/{name}")


async def test_list_when_it_goes_on_after_nothing_then_404(api: Api) -> None:
    assert_refused(await api.client.get(f"{URL}?after=file-x"), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/content"), ("DELETE", "")])
async def test_requests_when_the_file_is_unknown_then_404(api: Api, method: str, path: str) -> None:
    for file_id in ("file-" + "x" * 24, "nothing", "..%2fetc"):
        assert_refused(await api.client.request(method, f"{URL}/{file_id}{path}"), 404, "not_found")


async def test_delete_when_there_then_said_and_gone(api: Api) -> None:
    file_id = (await stored(api))["id"]
    response = await api.client.request("DELETE", f"{URL}/{file_id}", headers={"content-type": "application/json"})
    assert (response.status_code, response.json()) == (200, {"id": file_id, "object": "file", "deleted": True})
    assert_refused(await api.client.get(f"{URL}/{file_id}"), 404, "not_found")
    assert_nothing_left(api)


async def test_content_when_read_then_whole_with_a_safe_name_and_its_type(api: Api) -> None:
    body = await stored(api, name='../"a".jsonl')
    response = await api.client.get(f"{URL}/{body['id']}/content")
    assert (response.status_code, response.content) == (200, LINES)
    assert response.headers["content-type"] == "application/jsonl"
    assert response.headers["content-length"] == str(len(LINES))
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"].startswith('attachment; filename="')
    assert ".." not in response.headers["content-disposition"]


async def test_content_when_a_range_is_asked_for_then_206_with_it(api: Api) -> None:
    url = f"{URL}/{(await stored(api))['id']}/content"
    response = await api.client.get(url, headers={"range": "bytes=2-4"})
    assert (response.status_code, response.content) == (206, LINES[2:5])
    assert response.headers["content-range"] == f"bytes 2-4/{len(LINES)}"
    tag = {"range": "bytes=-1", "if-range": response.headers["etag"]}
    assert (await api.client.get(url, headers=tag)).content == LINES[-1:]
    other = {"range": "bytes=-1", "if-range": '"another"'}
    assert (await api.client.get(url, headers=other)).content == LINES
    several = await api.client.get(url, headers={"range": "bytes=0-1,3-4"})
    assert (several.status_code, several.content) == (200, LINES)


async def test_content_when_the_range_lies_behind_the_end_then_416(api: Api) -> None:
    url = f"{URL}/{(await stored(api))['id']}/content"
    response = await api.client.get(url, headers={"range": f"bytes={len(LINES)}-"})
    assert_refused(response, 416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(LINES)}"


async def test_content_when_the_bytes_are_gone_then_404(api: Api) -> None:
    file_id = (await stored(api))["id"]
    api.files.storage.delete(key_of(file_id))
    assert_refused(await api.client.get(f"{URL}/{file_id}/content"), 404, "not_found")


async def test_requests_when_redis_is_down_then_503(api: Api) -> None:
    api.files.is_down = True
    for response in (await posted(api), await api.client.get(URL), await api.client.get(f"{URL}/file-x")):
        assert_refused(response, 503, "queue_unavailable")
