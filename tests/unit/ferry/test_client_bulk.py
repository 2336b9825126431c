import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ferry.client import ApiError, ApiUnreachableError, AsyncClient, Client
from ferry.client_bulk_answers import BatchFault, BatchProgress, BatchTimings, RowCounts
from ferry.client_bulk_flows import LONGEST_PAUSE_S, create_batch_flow, wait_batch_flow
from ferry.client_flows import MAX_ATTEMPTS
from ferry.client_transfers import PIECE_BYTES
from ferry.errors import InvalidInputError, NotFoundError, WaitTimeoutError
from tests.fakes.bulk_api import URL, BulkApi, batch_body, problem

LINES = b'{"x": 1}\n{"x": 2}\n'
DROPPED = httpx.ConnectError("Connection refused")

Method = Callable[[Any], Any]


def blocking(api: BulkApi, call: Method) -> Any:
    with Client(URL, transport=api.transport, sleep=lambda _: None) as client:
        return call(client)


def on_a_loop(api: BulkApi, call: Method) -> Any:
    async def run() -> Any:
        async with AsyncClient(URL, transport=api.transport) as client:
            return await call(client)

    return asyncio.run(run())


EACH_CLIENT = pytest.mark.parametrize("on", [blocking, on_a_loop])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    return path


# --- files


@EACH_CLIENT
def test_upload_when_the_file_is_there_then_it_is_stored(on: Any, path: Path) -> None:
    api = BulkApi()
    file = on(api, lambda client: client.upload_file(path, expires_after_s=3600))
    assert (api.files["file-in"], api.names["file-in"]) == (LINES, "in.jsonl")
    assert api.forms == [{"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}]
    assert (file.id, file.filename, file.size_bytes, file.purpose) == ("file-in", "in.jsonl", len(LINES), "batch")
    assert file.created_at == datetime.fromtimestamp(1_700_000_000, UTC)


@EACH_CLIENT
def test_upload_when_the_file_is_large_then_it_goes_in_pieces(on: Any, path: Path) -> None:
    size = 2 * PIECE_BYTES + 5
    path.write_bytes(b"7" * size)
    api, told = BulkApi(), list[tuple[int, int]]()
    on(api, lambda client: client.upload_file(path, on_progress=lambda *said: told.append(said)))
    assert told == [(PIECE_BYTES, size), (2 * PIECE_BYTES, size), (size, size)]
    assert api.files["file-in"] == b"7" * size


@EACH_CLIENT
def test_upload_when_told_to_come_back_then_the_whole_file_goes_again(on: Any, path: Path) -> None:
    api = BulkApi()
    api.replies["POST /v1/files"] = [problem(503, "storage_unavailable", "full", retry_after="0")]
    on(api, lambda client: client.upload_file(path))
    assert len(api.requests) == 2
    assert api.files["file-in"] == LINES


@pytest.mark.parametrize("name", ['a"b.csv', "a\\b.csv", "ä.csv"])
def test_upload_when_the_name_has_odd_signs_then_it_is_a_form(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LINES)
    api = BulkApi()
    blocking(api, lambda client: client.upload_file(tmp_path / name))
    assert api.names["file-in"] == name.replace('"', "%22")


def test_upload_when_there_is_no_file_then_nothing_is_sent(tmp_path: Path) -> None:
    api = BulkApi()
    with pytest.raises(InvalidInputError, match=r"cannot read .*gone.csv: No such file"):
        blocking(api, lambda client: client.upload_file(tmp_path / "gone.csv"))
    assert api.requests == []


@EACH_CLIENT
def test_upload_when_the_file_shrinks_meanwhile_then_says_so(on: Any, path: Path) -> None:
    path.write_bytes(b"7" * (3 * PIECE_BYTES))

    def shrink(sent: int, _: int) -> None:
        with path.open("r+b") as file:
            file.truncate(PIECE_BYTES)

    with pytest.raises(InvalidInputError, match=f"became {2 * PIECE_BYTES} bytes shorter"):
        on(BulkApi(), lambda client: client.upload_file(path, on_progress=shrink))


@EACH_CLIENT
def test_file_and_delete_when_it_is_stored_then_it_is_read_and_gone(on: Any) -> None:
    api = BulkApi()
    api.store("file-out", b"out")
    assert on(api, lambda client: client.file("file-out")).size_bytes == 3
    assert on(api, lambda client: client.delete_file("file-out")) is None
    with pytest.raises(ApiError, match="no file 'file-out'"):
        on(api, lambda client: client.file("file-out"))


@EACH_CLIENT
def test_download_when_the_connection_breaks_then_goes_on_where_it_was(on: Any, tmp_path: Path) -> None:
    api, told = BulkApi(), list[tuple[int, int]]()
    api.store("file-out", b"0123456789abcdef")
    api.breaks = 1
    on(api, lambda client: client.download_file("file-out", tmp_path / "out", lambda *said: told.append(said)))
    assert (tmp_path / "out").read_bytes() == b"0123456789abcdef"
    assert [request.headers["range"] for request in api.requests[1:]] == ["bytes=0-", "bytes=8-"]
    assert told == [(8, 16), (12, 16), (16, 16)]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_download_when_it_was_given_up_then_the_next_goes_on_there(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"0123456789abcdef")
    api.breaks = 1
    content = "GET /v1/files/file-out/content"
    api.replies[content] = [None, *[DROPPED] * MAX_ATTEMPTS]
    with pytest.raises(ApiUnreachableError):
        blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert [each.name for each in tmp_path.iterdir()] == ["out.file-out.part"]
    assert api.asked.count(content) == MAX_ATTEMPTS
    api.replies.clear()
    blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"0123456789abcdef"
    assert api.requests[-1].headers["range"] == "bytes=8-"


def test_download_when_the_server_knows_no_ranges_then_begins_again(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"0123456789abcdef")
    api.breaks, api.has_ranges = 1, False
    blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"0123456789abcdef"


def test_download_when_the_server_is_busy_then_comes_back(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"0123")
    api.replies["GET /v1/files/file-out/content"] = [problem(503, "storage_unavailable", "s3", retry_after="2")]
    blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"0123"


def test_download_when_the_file_is_empty_then_so_is_the_target(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"")
    blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b""


def test_download_when_the_checksum_differs_then_nothing_is_left(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"0123")
    api.are_sums_wrong = True
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(ApiError, match="came damaged"):
        blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("reply", [problem(404, "not_found", "no file"), problem(500, "internal", "oh")])
def test_download_when_refused_then_raises_at_once(tmp_path: Path, reply: httpx.Response) -> None:
    api = BulkApi()
    api.store("file-out", b"0123")
    api.replies["GET /v1/files/file-out/content"] = [reply]
    with pytest.raises(ApiError):
        blocking(api, lambda client: client.download_file("file-out", tmp_path / "out"))
    assert len(api.requests) == 2


def test_download_when_the_folder_is_missing_then_says_so(tmp_path: Path) -> None:
    api = BulkApi()
    api.store("file-out", b"0123")
    with pytest.raises(InvalidInputError, match=r"cannot write .*: No such file or directory"):
        blocking(api, lambda client: client.download_file("file-out", tmp_path / "no" / "out"))


# --- batches


@EACH_CLIENT
def test_create_batch_when_a_model_is_named_then_its_route_is_the_endpoint(on: Any) -> None:
    api = BulkApi()
    batch = on(
        api,
        lambda client: client.create_batch(
            "file-in", model="mnist:2", completion_window="1h", metadata={"join": "id"}, output_expires_after_s=7200,
            idempotency_key="key",
        ),
    )  # fmt: skip
    assert (batch.id, batch.status, batch.is_done) == ("batch_1", "validating", False)
    assert api.created == [
        {
            "input_file_id": "file-in", "endpoint": "/v2/models/mnist/versions/2/infer", "completion_window": "1h",
            "metadata": {"join": "id"}, "output_expires_after": {"anchor": "created_at", "seconds": 7200},
        }
    ]  # fmt: skip
    assert api.requests[0].headers["idempotency-key"] == "key"


def test_create_batch_when_least_is_said_then_least_is_sent() -> None:
    api = BulkApi()
    blocking(api, lambda client: client.create_batch("file-in", model="mnist"))
    assert api.created == [
        {"input_file_id": "file-in", "endpoint": "/v2/models/mnist/infer", "completion_window": "24h"}
    ]
    assert "idempotency-key" not in api.requests[0].headers


def test_create_batch_when_the_endpoint_names_no_model_then_it_is_named_beside() -> None:
    api = BulkApi()
    blocking(api, lambda client: client.create_batch("file-in", model="mnist", endpoint="/v1/predictions"))
    assert (api.created[0]["endpoint"], api.created[0]["model"]) == ("/v1/predictions", "mnist")


def test_create_batch_when_nothing_is_named_then_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="name a model"):
        next(create_batch_flow("file-in"))


@EACH_CLIENT
def test_batch_when_read_then_has_typed_fields(on: Any) -> None:
    life = {
        "status": "in_progress",
        "counts": (10, 3, 1),
        "rate": 2.0,
        "faults": 1,
        "metadata": {"a": "b"},
        "notes": ["n"],
    }
    batch = on(BulkApi(life), lambda client: client.batch("batch_1"))
    assert (batch.model, batch.model_version, batch.endpoint) == ("mnist", "1", "/v2/models/mnist/infer")
    assert batch.counts == RowCounts(10, 3, 1)
    assert batch.progress == BatchProgress(4, 2.0, 3.0, 3, 1)
    assert batch.timings == BatchTimings(1_700_000_000.25, 1_700_000_001.0, None, None)
    assert batch.errors == (BatchFault("invalid_json_line", "wrong 1", None, 1),)
    assert batch.notes == ("n",)
    assert batch.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert batch.completed_at is None
    assert (batch.metadata, batch.raw["object"]) == ({"a": "b"}, "batch")
    assert (batch.is_done, batch.has_succeeded) == (False, False)


def test_batch_when_the_server_has_no_extras_then_is_read_all_the_same() -> None:
    bare = {key: value for key, value in batch_body(status="completed").items() if key not in ("progress", "timings")}
    api = BulkApi()
    api.replies["GET /v1/batches/batch_1"] = [httpx.Response(200, json=bare | {"request_counts": None})]
    batch = blocking(api, lambda client: client.batch("batch_1"))
    assert (batch.progress, batch.timings, batch.counts) == (BatchProgress(), BatchTimings(), RowCounts())
    assert batch.notes == ()
    assert batch.has_succeeded


@EACH_CLIENT
def test_batches_when_listed_then_the_page_asked_for(on: Any) -> None:
    api = BulkApi()
    api.n_batches = 5
    page = on(api, lambda client: client.batches(after="batch_2", limit=2))
    assert [batch.id for batch in page] == ["batch_3", "batch_4"]


@EACH_CLIENT
def test_cancel_batch_then_it_is_cancelling(on: Any) -> None:
    assert on(BulkApi(), lambda client: client.cancel_batch("batch_1")).status == "cancelling"


@EACH_CLIENT
def test_check_model_when_it_is_not_served_then_says_what_there_is(on: Any) -> None:
    assert on(BulkApi(), lambda client: client.check_model("mnist:2")) == ("float32", "int64")
    assert on(BulkApi(), lambda client: client.check_model("mnist")) == ("float32", "int64")
    assert on(BulkApi(), lambda client: client.check_model("mnist:1")) == ("float32",)
    with pytest.raises(ApiError, match="no model 'mnits'; there are mnist:1"):
        on(BulkApi(), lambda client: client.check_model("mnits"))
    with pytest.raises(NotFoundError, match="model 'mnist' has no version '7'; it has 1, 2"):
        on(BulkApi(), lambda client: client.check_model("mnist:7"))


def test_wait_batch_when_it_goes_on_then_asks_at_growing_pauses_and_tells() -> None:
    delays, told = list[float](), list[str]()
    lives = [{"status": "validating"}, *[{"status": "in_progress"}] * 9, {"status": "completed"}]
    api = BulkApi(*lives)
    with Client(URL, transport=api.transport, sleep=delays.append) as client:
        batch = client.wait_batch("batch_1", on_progress=lambda batch: told.append(batch.status))
    assert batch.has_succeeded
    assert told == [life["status"] for life in lives]
    assert delays[:3] == pytest.approx([0, 0.2, 0.3])
    assert delays[-1] == LONGEST_PAUSE_S


def test_wait_batch_when_it_is_not_over_in_time_then_raises() -> None:
    now_s = 0.0
    flow = wait_batch_flow("batch_1", 0.3, clock=lambda: now_s)
    running = httpx.Response(200, json=batch_body(status="in_progress"))
    next(flow)
    assert flow.send(running).delay_s == pytest.approx(0.2)
    now_s = 0.2
    assert flow.send(running).delay_s == pytest.approx(0.1)
    now_s = 0.3
    with pytest.raises(WaitTimeoutError, match=r"batch batch_1 is still in_progress after 0.3 s; it goes on"):
        flow.send(running)


@EACH_CLIENT
def test_wait_batch_when_nobody_answers_then_raises(on: Any) -> None:
    api = BulkApi({"status": "in_progress"})
    api.replies["GET /v1/batches/batch_1"] = [None, DROPPED]
    with pytest.raises(ApiUnreachableError):
        on(api, lambda client: client.wait_batch("batch_1"))


# --- rows while the batch runs


def rows_with(api: BulkApi, **how: Any) -> list[bytes]:
    with Client(URL, transport=api.transport, sleep=lambda _: None) as client:
        return list(client.batch_output("batch_1", **how))


def rows_on_a_loop(api: BulkApi, **how: Any) -> list[bytes]:
    async def run() -> list[bytes]:
        async with AsyncClient(URL, transport=api.transport) as client:
            return [row async for row in client.batch_output("batch_1", **how)]

    return asyncio.run(run())


EACH_READER = pytest.mark.parametrize("read", [rows_with, rows_on_a_loop])


@EACH_READER
@pytest.mark.parametrize("breaks", [0, 1, 3])
def test_output_when_the_stream_breaks_then_every_row_once(
    read: Callable[..., list[bytes]], breaks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry.client_output.RESUME_PAUSE_S", 0)
    api = BulkApi()
    api.output = b"id,text\n" + b"".join(b"%d,x\n" % n for n in range(50))
    api.breaks = breaks
    assert b"".join(read(api)) == api.output
    assert len(api.requests) == breaks + 1


@EACH_READER
def test_output_when_from_a_row_then_without_a_header(read: Callable[..., list[bytes]]) -> None:
    api = BulkApi()
    api.output = b"id\n0\n1\n2\n"
    assert read(api, from_row=1) == [b"1\n", b"2\n"]
    assert api.requests[0].url.params["from_row"] == "1"


def test_output_when_json_lines_break_before_the_first_row_then_it_comes_all_the_same() -> None:
    api = BulkApi()
    api.output, api.output_type, api.breaks = b'{"n": 1}\n', "application/jsonl", 2
    assert rows_with(api) == [b'{"n": 1}\n']


def test_output_when_it_breaks_in_the_header_then_the_header_comes_once() -> None:
    api = BulkApi()
    api.output, api.breaks = b"identifier\n0\n", 2
    assert rows_with(api) == [b"identifier\n", b"0\n"]


def test_output_when_it_breaks_after_the_header_then_the_header_comes_once() -> None:
    api = BulkApi()
    api.output, api.breaks = b"id\n0123\n", 1
    assert rows_with(api) == [b"id\n", b"0123\n"]


@EACH_READER
def test_output_when_the_api_is_away_for_a_moment_then_goes_on(
    read: Callable[..., list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry.client_output.RESUME_PAUSE_S", 0)
    api = BulkApi()
    api.replies["GET /v1/batches/batch_1/output"] = [DROPPED, problem(504, "wait_timeout", "later"), DROPPED]
    assert read(api) == [b"id\n", b"1\n"]


def test_output_when_the_api_stays_away_then_says_so() -> None:
    api = BulkApi()
    api.replies["GET /v1/batches/batch_1/output"] = [DROPPED] * 3
    with pytest.raises(ApiUnreachableError):
        rows_with(api, patience_s=-1)


@EACH_READER
def test_output_when_refused_then_says_why(read: Callable[..., list[bytes]]) -> None:
    api = BulkApi()
    api.replies["GET /v1/batches/batch_1/output"] = [problem(400, "invalid_input", "the output is parquet")]
    with pytest.raises(ApiError, match="the output is parquet"):
        read(api)
