"""Files in a real API process on a real Redis: the openai client, memory, clients that leave, an object store."""

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest
import redis
from openai import OpenAI

from ferry.bulk.storage import PART_BYTES, Storage, storage_of
from ferry.errors import NotFoundError, StorageError
from ferry.local.ports import PortWish, choose_ports
from ferry.settings import Settings
from tests.namespaces import KEYS
from tests.processes import GIVE_UP_S, Process, eventually, running

pytestmark = pytest.mark.timeout(300)

HOST = "127.0.0.1"
LINES = b'{"x": [1.0, 2.0, 3.0]}\n' * 10
LARGE_BYTES = 300 * 2**20
# A process that held the upload would grow by three times this.
MOST_GROWTH_BYTES = 100 * 2**20
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"
FORM = {"content-type": "multipart/form-data; boundary=b"}
# The beginning of an upload whose client will send no more.
BEGUN = (
    f"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['content-type']}\r\nContent-Length: 99999999\r\n\r\n"
).encode() + HEAD + b"x" * (3 * 2**20)  # fmt: skip


class Api:
    """An API process and its clients."""

    def __init__(self, process: Process, port: int, files: Path) -> None:
        self.process = process
        self.url = f"http://{HOST}:{port}"
        self.port = port
        self.files = files
        self.http = httpx.Client(base_url=self.url, timeout=GIVE_UP_S)
        self.openai = OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)

    def is_live(self) -> bool:
        try:
            return self.http.get("/v2/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def stored(self) -> list[Path]:
        """Every file in the storage, half written ones too."""
        return [path for path in self.files.rglob("*") if path.is_file()]

    def close(self) -> None:
        self.http.close()
        self.openai.close()


@pytest.fixture
def start_api(redis_url: str, models: Path, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    with ExitStack() as stack:

        def start(**settings: str) -> Api:
            (port,) = choose_ports(PortWish("API", HOST))
            env = {
                "FERRY_REDIS_URL": redis_url,
                "FERRY_MODELS_DIR": str(models),
                "FERRY_DATA_DIR": str(tmp_path / "data"),
                "FERRY_API_PORT": str(port.number),
                "FERRY_API_PROCESSES": "1",
                **settings,
            }
            process = stack.enter_context(running("api", env, tmp_path / f"api-{port.number}.log"))
            api = Api(process, port.number, tmp_path / "data" / "files")
            stack.callback(api.close)
            eventually(api.is_live, "the API is live")
            return api

        yield start


@pytest.fixture
def api(start_api: Callable[..., Api]) -> Api:
    return start_api()


def test_openai_client_when_it_does_all_it_can_with_files_then_it_works(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    files = api.openai.files
    with path.open("rb") as content:
        made = files.create(file=content, purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(LINES), "in.jsonl", "batch", "processed")
    assert made.expires_at == made.created_at + 3600
    assert files.retrieve(made.id) == made
    assert files.content(made.id).read() == LINES
    others = [files.create(file=(f"{n}.csv", b"x\n%d\n" % n), purpose="batch") for n in range(4)]
    ids = [made.id, *(other.id for other in others)]
    assert [each.id for each in files.list(limit=2)] == ids[::-1]  # follows its pages by itself
    assert [each.id for each in files.list(order="asc", limit=2, purpose="batch")] == ids
    assert files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        files.retrieve(made.id)
    assert [each.id for each in files.list()] == ids[:0:-1]


def test_openai_client_when_it_asks_for_what_is_wrong_then_its_usual_exceptions(start_api: Callable[..., Api]) -> None:
    api = start_api(FERRY_MAX_FILE_BYTES="1024", FERRY_MAX_FILES="1")
    files = api.openai.files
    with pytest.raises(openai.BadRequestError) as caught:
        files.create(file=("in.jsonl", LINES), purpose="assistants")
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "invalid_input", "purpose", "invalid_request_error",
    )  # fmt: skip
    assert "'batch'" in caught.value.message
    with pytest.raises(openai.NotFoundError) as unknown:
        files.content("file-" + "x" * 24)
    assert unknown.value.code == "not_found"
    with pytest.raises(openai.APIStatusError) as large:
        files.create(file=("in.jsonl", b"x" * 1025), purpose="batch")
    assert large.value.status_code == 413
    files.create(file=("in.jsonl", LINES), purpose="batch")
    with pytest.raises(openai.InternalServerError) as full:
        files.create(file=("in.jsonl", LINES), purpose="batch")
    assert full.value.code == "storage_unavailable"
    assert len(api.stored()) == 1


def memory_of(process: Process, name: str) -> int:
    """Return a line of a process's status in bytes: VmRSS, or VmHWM for the most there was."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(kilobytes) * 1024


def test_api_when_a_large_file_goes_up_and_down_then_its_memory_stays(api: Api) -> None:
    line = b'{"custom_id": "row", "body": ' + b"1" * 993 + b"}\r\n"
    piece = (line * 70)[: 2**16]
    api.openai.files.create(file=("small.jsonl", LINES), purpose="batch")
    before = memory_of(api.process, "VmRSS")
    sent = hashlib.sha256()

    def body() -> Iterator[bytes]:
        yield HEAD
        for _ in range(LARGE_BYTES // len(piece)):
            sent.update(piece)
            yield piece
        yield TAIL

    response = api.http.post("/v1/files", content=body(), headers=FORM)
    assert response.status_code == 200, response.text
    made = response.json()
    assert (made["bytes"], made["sha256"]) == (LARGE_BYTES, sent.hexdigest())
    read = hashlib.sha256()
    with api.http.stream("GET", f"/v1/files/{made['id']}/content") as stream:
        for received in stream.iter_raw():
            read.update(received)
    assert read.hexdigest() == sent.hexdigest()
    growth = memory_of(api.process, "VmHWM") - before
    assert growth < MOST_GROWTH_BYTES, growth


def test_api_when_it_stores_a_large_file_then_others_are_served_meanwhile(api: Api) -> None:
    served = 0

    def body() -> Iterator[bytes]:
        nonlocal served
        yield HEAD
        for _ in range(20):
            yield b"x" * 2**20
            served += httpx.get(f"{api.url}/v2/health/live", timeout=GIVE_UP_S).status_code == 200
        yield TAIL

    assert api.http.post("/v1/files", content=body(), headers=FORM).status_code == 200
    assert served == 20


def test_api_when_a_client_leaves_amid_its_upload_then_nothing_is_left(api: Api, redis_url: str) -> None:
    with socket.create_connection((HOST, api.port), timeout=GIVE_UP_S) as client:
        client.sendall(BEGUN)
        eventually(lambda: any(path.stat().st_size for path in api.stored()), "some of it is stored")
    eventually(lambda: not api.stored(), "it is deleted again")
    with redis.Redis.from_url(redis_url) as client:
        eventually(lambda: not client.keys(f"{KEYS.file}*"), "nobody remembers it")
    assert api.openai.files.list().data == []


def test_api_when_a_file_expires_then_it_is_deleted_with_its_bytes(
    start_api: Callable[..., Api], redis_url: str
) -> None:
    made = start_api().openai.files.create(file=("in.jsonl", LINES), purpose="batch")
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(KEYS.file_ends, {made.id: 1})
    api = start_api()  # sweeps when it starts
    eventually(lambda: not api.stored(), "the bytes are gone")
    with pytest.raises(openai.NotFoundError):
        api.openai.files.retrieve(made.id)


def test_api_when_it_is_killed_amid_an_upload_then_another_deletes_what_is_left(
    start_api: Callable[..., Api], redis_url: str
) -> None:
    api = start_api()
    with socket.create_connection((HOST, api.port), timeout=GIVE_UP_S) as client:
        client.sendall(BEGUN)
        eventually(lambda: any(path.stat().st_size for path in api.stored()), "some of it is stored")
        os.kill(api.process.pid, 9)
        api.process.wait()
    with redis.Redis.from_url(redis_url) as client:
        (reserved,) = client.zrange(KEYS.file_ends, 0, -1)
        client.zadd(KEYS.file_ends, {reserved: 1})
        api = start_api()
        eventually(lambda: not client.keys(f"{KEYS.file}*"), "nobody remembers it")
    assert api.stored() == []


def unfinished(settings: Settings) -> bool:
    """Say whether the store has pieces of uploads that were not finished."""
    url = json.loads(settings.storage_options)["endpoint_url"]
    return "<UploadId>" in httpx.get(f"{url}/bucket?uploads").text


def test_storage_when_it_is_an_object_store_then_as_in_a_folder(s3: Settings) -> None:
    storage: Storage = storage_of(s3)
    content = os.urandom(1000) * (3 * PART_BYTES // 1000)
    for key, written in (("files/small", b"abc"), ("files/large", content)):
        upload = storage.create(key)
        for start in range(0, len(written), 2**20):
            upload.write(written[start : start + 2**20])
        with pytest.raises(NotFoundError):
            storage.size_bytes(key)
        upload.commit()
        upload.abort()
        assert storage.size_bytes(key) == len(written)
    with storage.open("files/large") as file:
        file.seek(PART_BYTES - 1)
        assert file.read(2) == content[PART_BYTES - 1 : PART_BYTES + 1]
    assert storage.read_range("files/small", 1, 99) == b"bc"
    assert storage.list_folder("files") == {"files/large": len(content), "files/small": 3}
    storage.delete("files/small")
    storage.delete("files/small")
    storage.delete_folder("files")
    storage.delete_folder("files")
    assert storage.list_folder("files") == {}


@pytest.mark.parametrize("size", [10, 2 * PART_BYTES])
def test_storage_when_an_upload_to_an_object_store_is_given_up_then_nothing_is_left(s3: Settings, size: int) -> None:
    storage = storage_of(s3)
    upload = storage.create("files/half")
    upload.write(b"x" * size)
    upload.abort()
    del upload
    assert storage.list_folder("files") == {}
    assert not unfinished(s3)


def test_storage_when_the_bucket_is_missing_or_the_store_away_then_a_storage_error(s3: Settings) -> None:
    def write(settings: Settings) -> None:
        with storage_of(settings).create("files/x") as upload:
            upload.write(b"x")

    with pytest.raises(StorageError):
        write(s3.model_copy(update={"storage_url": "s3://nobody"}))
    (port,) = choose_ports(PortWish("store", HOST))
    options = {"endpoint_url": f"http://{HOST}:{port.number}", "config_kwargs": {"retries": {"max_attempts": 0}}}
    away = s3.model_copy(update={"storage_options": json.dumps(options)})
    with pytest.raises(StorageError, match="does not answer or refuses"):
        write(away)
    with pytest.raises(StorageError):
        storage_of(away).size_bytes("files/x")


def test_api_when_files_lie_in_an_object_store_then_the_client_sees_no_difference(
    s3: Settings, start_api: Callable[..., Api]
) -> None:
    api = start_api(FERRY_STORAGE_URL=s3.storage_url, FERRY_STORAGE_OPTIONS=s3.storage_options)
    content = LINES * 100_000
    made = api.openai.files.create(file=("in.jsonl", content), purpose="batch")
    assert api.openai.files.content(made.id).read() == content
    part = api.http.get(f"/v1/files/{made.id}/content", headers={"range": "bytes=-5"})
    assert (part.status_code, part.content) == (206, content[-5:])
    assert api.openai.files.delete(made.id).deleted
    assert storage_of(s3).list_folder("files") == {}
