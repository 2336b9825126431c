"""Real sockets on a real API process: refused uploads, half-closed clients, the limit of connections, a drip."""

import http.client
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests

from tests.integration.sites import HOST, Site, a_site
from tests.processes import GIVE_UP_S, eventually

pytestmark = pytest.mark.timeout(300)

BODY = b"x" * 50_000_000
WRONG = {"Authorization": "Bearer ferry_0000000000000000_wrong", "Content-Type": "application/json"}
LIVE = "/v2/health/live"


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    with a_site(tmp_path, models) as site:
        yield site


def with_httpx(url: str, file: Path) -> int:
    return httpx.post(url, content=BODY, headers=WRONG, timeout=GIVE_UP_S).status_code


def with_httpx_in_chunks(url: str, file: Path) -> int:
    pieces = (BODY[:500_000] for _ in range(100))
    return httpx.post(url, content=pieces, headers=WRONG, timeout=GIVE_UP_S).status_code


def with_requests(url: str, file: Path) -> int:
    return requests.post(url, data=BODY, headers=WRONG, timeout=GIVE_UP_S).status_code


def with_urllib(url: str, file: Path) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(url, BODY, WRONG), timeout=GIVE_UP_S).status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def with_http_client(url: str, file: Path) -> int:
    connection = http.client.HTTPConnection(httpx.URL(url).netloc.decode(), timeout=GIVE_UP_S)
    connection.request("POST", httpx.URL(url).path, BODY, WRONG)
    status = connection.getresponse().status
    connection.close()
    return status


def with_curl(url: str, file: Path, *options: str) -> int:
    headers = [word for name, value in WRONG.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *headers, *options]
    return int(subprocess.run([*command, "-T", file, "-X", "POST", url], check=True, capture_output=True).stdout)


def with_curl_that_does_not_ask(url: str, file: Path) -> int:
    return with_curl(url, file, "-H", "Expect:")


UPLOADS: list[Callable[[str, Path], int]] = [
    with_httpx, with_httpx_in_chunks, with_requests, with_urllib, with_http_client, with_curl,
    with_curl_that_does_not_ask,
]  # fmt: skip


def exchange(client: httpx.Client, request: bytes, *, is_half_closed: bool = False) -> bytes:
    """Send bytes; returns all that comes until the server ends the connection."""
    address = (HOST, client.base_url.port or 0)
    with socket.create_connection(address, GIVE_UP_S) as connection:
        connection.sendall(request)
        if is_half_closed:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(2**16):
            received += data
        return received


def test_upload_when_refused_then_every_client_sees_the_status(site: Site, tmp_path: Path) -> None:
    _, client = site.start_api(FERRY_API_KEYS="on")
    _, open_client = site.start_api(FERRY_MAX_BODY_BYTES="1000000")
    file = tmp_path / "body"
    file.write_bytes(BODY)
    for upload in UPLOADS:
        assert upload(f"{client.base_url}/v1/predictions", file) == 401, upload.__name__
        assert upload(f"{open_client.base_url}/v1/predictions", file) == 413, upload.__name__
    assert client.get(LIVE).status_code == open_client.get(LIVE).status_code == 200


def test_half_close_when_after_the_request_then_answered_each_time(site: Site) -> None:
    _, client = site.start_api()
    for version in (b"1.1", b"1.0"):
        request = b"GET /v1/models HTTP/" + version + b"\r\nHost: ferry\r\n\r\n"
        answers = [exchange(client, request, is_half_closed=True) for _ in range(20)]
        assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 20


def test_limits_when_broken_then_counted_logged_and_others_are_served(site: Site) -> None:
    process, client = site.start_api()
    for request, status in (
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
    ):
        assert exchange(client, request)[9:12] == status
    eventually(lambda: "connections refused or cut off: " in process.output, "one line says so")
    eventually(
        lambda: 'ferry_connections_cut_total{reason="head_too_large"} 1.0' in client.get("/metrics").text, "it counts"
    )
    assert client.get(LIVE).status_code == 200


def test_connections_when_more_than_the_limit_are_silent_then_honest_clients_are_served(site: Site) -> None:
    _, client = site.start_api(FERRY_MAX_CONNECTIONS="50")
    address = (HOST, client.base_url.port or 0)
    silent = [socket.create_connection(address, GIVE_UP_S) for _ in range(200)]
    try:
        for _ in range(20):
            assert httpx.get(f"{client.base_url}{LIVE}", timeout=GIVE_UP_S).status_code == 200
        assert client.get(LIVE).status_code == 200
    finally:
        for connection in silent:
            connection.close()
