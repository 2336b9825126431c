"""Every HTTP client of ours reaches this machine itself, whatever proxies the environment names."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import pytest
from botocore.utils import get_environ_proxies
from httpx_aiohttp import AiohttpTransport

from ferry.client import ApiUnreachableError, AsyncClient, Client
from ferry.loopback import exempt_loopback
from tests.processes import GIVE_UP_S, ROOT

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
BODY = b'{"object": "list", "data": [], "results": [], "has_more": false}'


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SixServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture(params=["127.0.0.1", "localhost", "[::1]"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, and proxies in the environment at which nobody listens."""
    kind, host = (SixServer, "::1") if request.param == "[::1]" else (ThreadingHTTPServer, "127.0.0.1")
    try:
        server = kind((host, 0), Answer)
    except OSError:
        pytest.skip("this machine has no IPv6")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{dead.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield f"http://{request.param}:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_environment_when_it_names_a_proxy_then_a_plain_client_goes_there(url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_client_when_the_environment_names_a_proxy_then_this_machine_is_asked_itself(url: str) -> None:
    with Client(url) as client:
        assert client.models() == ()


def test_client_when_the_api_is_elsewhere_then_the_proxy_is_used(url: str) -> None:
    with Client("http://ferry.invalid") as client, pytest.raises(ApiUnreachableError, match="refused"):
        client.models()


@pytest.mark.parametrize("transport", [None, AiohttpTransport])
async def test_async_client_when_the_environment_names_a_proxy_then_this_machine_is_asked_itself(
    url: str, transport: type[AiohttpTransport] | None, anyio_backend: str
) -> None:
    async with AsyncClient(url, transport=transport() if transport else None) as client:
        assert await client.models() == ()


def test_process_when_loopback_is_exempt_then_libraries_go_there_themselves(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "a.example")
    monkeypatch.setenv("no_proxy", "a.example")
    exempt_loopback(os.environ)
    assert httpx.get(url).status_code == 200
    # S3 storage on this machine: s3fs asks through botocore's choice of a proxy, which knows no IPv6 address.
    assert get_environ_proxies(url) == {} or "[::1]" in url

    async def ask() -> int:
        async with aiohttp.ClientSession(trust_env=True) as session, session.get(url) as answer:
            return answer.status

    assert asyncio.run(ask()) == 200


def test_command_when_the_environment_names_a_proxy_then_this_machine_is_asked_itself(url: str) -> None:
    asked = [sys.executable, "-m", "ferry.cli.main", "batch", "list", "--url", url]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
