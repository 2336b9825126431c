"""Ferry behind Debian's nginx with the configuration of docs/examples: prefix, TLS, uploads, waits, streams."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from ferry.client import Client
from tests import onnx_models
from tests.integration.conftest import publish
from tests.integration.sites import ROW, GatedWorker, Site, a_site
from tests.manifests import manifest, spec
from tests.nginx import PREFIX, Proxy, nginx_before, nginx_program
from tests.processes import eventually

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(nginx_program() is None, reason="no nginx: `make .tools/nginx`, or apt-get install nginx-light"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl"),
]
# `FERRY_TEST_UPLOAD_BYTES=2147483648 FERRY_TEST_WAIT_S=60 pytest tests/integration/test_nginx.py` is the whole trial.
UPLOAD_BYTES = int(os.environ.get("FERRY_TEST_UPLOAD_BYTES", str(8 * 2**20)))
WAIT_S = float(os.environ.get("FERRY_TEST_WAIT_S", "1"))
# So many chunks that a batch is never at its end when its first rows are seen.
N_ROWS = 100_000
SPOOFED = {
    "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.7;proto=http;host=evil.example",
}  # fmt: skip


def new_site(folder: Path) -> AbstractContextManager[Site]:
    """Run a site with `toy`: y = x + x."""
    publish(folder / "models", onnx_models.doubled(), manifest("toy", outputs=(spec("y", "float32", 3),), max_rows=16))
    return a_site(folder, folder / "models")


@contextmanager
def proxied(site: Site, folder: Path, *, strips: bool = True, **settings: str) -> Iterator[Proxy]:
    settings = {"FERRY_STORAGE_URL": str(folder / "files"), "FERRY_API_KEYS": "off"} | settings
    _, direct = site.start_api(**settings)
    with nginx_before(urlsplit(str(direct.base_url)).port or 0, folder / "nginx", strips=strips) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site without a worker."""
    with new_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def proxy(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example as it stands, and the one setting that it asks for."""
    with proxied(site, tmp_path_factory.mktemp("proxy"), FERRY_TRUSTED_PROXIES="127.0.0.1") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, GatedWorker]]:
    """The same with a worker."""
    folder = tmp_path_factory.mktemp("served")
    with new_site(folder) as site, proxied(site, folder, FERRY_TRUSTED_PROXIES="127.0.0.1") as proxy:
        yield proxy, site.start_worker(FERRY_STORAGE_URL=str(folder / "files"), FERRY_CHUNK_BYTES="65536")


@pytest.fixture(params=["strips", "strips and the API knows the prefix", "keeps", "public URL"])
def any_proxy(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Proxy]:
    settings = {
        "strips": {"FERRY_TRUSTED_PROXIES": "127.0.0.0/8"},
        "strips and the API knows the prefix": {"FERRY_TRUSTED_PROXIES": "127.0.0.1", "FERRY_ROOT_PATH": PREFIX},
        "keeps": {"FERRY_TRUSTED_PROXIES": "127.0.0.1", "FERRY_ROOT_PATH": PREFIX},
        "public URL": {"FERRY_PUBLIC_URL": f"https://ferry.example.org{PREFIX}"},
    }[request.param]
    with proxied(site, tmp_path, strips=request.param != "keeps", **settings) as proxy:
        yield proxy


def test_requests_when_the_example_is_set_up_as_it_says_then_a_key_is_needed(site: Site, tmp_path: Path) -> None:
    settings = {"FERRY_TRUSTED_PROXIES": "127.0.0.1", "FERRY_API_KEYS": "auto"}
    with proxied(site, tmp_path, **settings) as proxy, proxy.client() as client:
        assert client.post("/v1/predictions", json=ROW).status_code == 401


def test_urls_when_nginx_strips_or_keeps_the_prefix_then_they_lead_back_through_it(any_proxy: Proxy) -> None:
    with any_proxy.client() as client:
        answer = client.post("/v1/predictions", json=ROW, headers=SPOOFED)
        assert answer.status_code == 202
        base = any_proxy.url
        if answer.headers["location"].startswith("https://ferry.example.org"):
            base = f"https://ferry.example.org{PREFIX}"
        job_id = answer.json()["id"]
        where = f"{base}/v1/predictions/{job_id}"
        assert urljoin(str(answer.url), answer.headers["location"]) == where
        assert answer.json()["urls"]["get"] == where
        assert client.get(where.replace(base, any_proxy.url)).json()["id"] == job_id
        assert client.get("/v1/nothing").json()["instance"] == f"{PREFIX}/v1/nothing"
        # The prefix without a slash leads to the page, and every file of the page and of /docs is there.
        assert client.get(any_proxy.url, follow_redirects=True).status_code == 200
        for name in ("", "docs"):
            shown = client.get(f"/{name}")
            files = re.findall(r'(?:src|href)="([\w./-]*\w)"', shown.text)
            assert len(files) >= 3
            for file in files:
                assert client.get(urljoin(str(shown.url), file)).status_code == 200, file
        servers = client.get("/openapi.json").json().get("servers", [{"url": PREFIX}])
        assert urljoin(base, servers[0]["url"]) == base


def test_client_of_ours_when_it_talks_through_nginx_then_as_to_the_api(
    served: tuple[Proxy, GatedWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, _ = served
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    with Client(proxy.url) as client:
        assert client.predict("toy", {"x": [1.0, 2.0, 3.0]}).output == {"y": [2.0, 4.0, 6.0]}
        assert [model.name for model in client.models()] == ["toy"]


def test_upload_when_it_is_large_then_it_is_passed_on_as_it_comes(proxy: Proxy) -> None:
    piece = os.urandom(2**20)
    sent, seen_in_nginx = hashlib.sha256(), []
    head = b'--ferry\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    head += b'--ferry\r\nContent-Disposition: form-data; name="file"; filename="rows.bin"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        left = UPLOAD_BYTES
        while left:
            part = piece[:left]
            left -= len(part)
            sent.update(part)
            yield part
        seen_in_nginx.extend(proxy.buffered_files())
        yield b"\r\n--ferry--\r\n"

    with proxy.client(timeout_s=300) as client:
        stored = client.post(
            "/v1/files", content=body(), headers={"Content-Type": "multipart/form-data; boundary=ferry"}
        )
        assert stored.status_code == 200, stored.text
        assert stored.json()["bytes"] == UPLOAD_BYTES
        assert seen_in_nginx == []
        received = hashlib.sha256()
        with client.stream("GET", f"/v1/files/{stored.json()['id']}/content") as content:
            assert content.status_code == 200
            for part in content.iter_bytes():
                received.update(part)
        assert received.digest() == sent.digest()


def test_wait_when_no_worker_takes_the_job_then_nginx_waits_too(proxy: Proxy) -> None:
    with proxy.client(timeout_s=WAIT_S + 60) as client:
        answer = client.post("/v1/predictions", json=ROW, headers={"Prefer": f"wait={WAIT_S:g}"})
        assert (answer.status_code, answer.json()["status"]) == (202, "starting")
        assert answer.headers["preference-applied"] == f"wait={WAIT_S:g}"
        polled = client.get(urljoin(str(answer.url), answer.headers["location"]), params={"wait": WAIT_S})
        assert (polled.status_code, polled.json()["state"]) == (200, "queued")


def test_events_when_followed_then_each_comes_while_the_stream_is_open(proxy: Proxy) -> None:
    with proxy.client() as client, client.stream("GET", "/v1/stats/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        # Held back, the few hundred bytes of the first event would come at the end of the stream, in five minutes.
        assert next(line for line in lines if line.startswith("event:")) == "event: stats"


def test_output_when_followed_then_finished_rows_come_while_the_batch_runs(served: tuple[Proxy, GatedWorker]) -> None:
    proxy, worker = served
    rows = "".join(f'{{"x": [{number}, 0, 0]}}\n' for number in range(N_ROWS))
    with proxy.client() as client:
        form = {"purpose": "batch"}
        file = client.post("/v1/files", data=form, files={"file": ("rows.jsonl", rows.encode())}).json()
        asked = {"input_file_id": file["id"], "endpoint": "/v1/predictions", "completion_window": "24h", "model": "toy"}
        where = f"/v1/batches/{client.post('/v1/batches', json=asked).json()['id']}"
        eventually(lambda: client.get(where).json()["status"] == "in_progress", "the file is checked")
        with client.stream("GET", f"{where}/output") as output:
            assert output.status_code == 200
            pieces = output.iter_bytes()
            text = next(pieces)
            worker.hold()
            worker.wait_until_held()
            assert client.get(where).json()["status"] == "in_progress"
            worker.let_go()
            text += b"".join(pieces)
        ended = client.get(where).json()
        assert client.get(f"/v1/files/{ended['output_file_id']}/content").content == text
    assert text.count(b"\n") == N_ROWS


def test_connections_when_many_requests_go_through_then_none_is_lost(proxy: Proxy) -> None:
    with proxy.client() as client:
        statuses = [client.get("/v1/models").status_code for _ in range(200)]
    assert statuses == [200] * 200
    assert not (proxy.folder / "error.log").read_text().strip()


def test_spoofed_headers_when_they_come_past_nginx_then_ignored(site: Site) -> None:
    # FERRY_TRUSTED_PROXIES is empty: loopback is not trusted by itself.
    _, direct = site.start_api()
    answer = direct.post("/v1/predictions", json=ROW, headers=SPOOFED)
    url = answer.json()["urls"]["get"]
    assert httpx.URL(url).netloc == direct.base_url.netloc
    assert answer.headers["location"] == f"/v1/predictions/{answer.json()['id']}"
