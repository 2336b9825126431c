"""Prefix, public URL and proxies, by requests to the whole application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest

from api.app import build_app
from ferry.queue.producer import limits_of
from ferry.settings import Settings
from tests.fakes.memory_keys import MemoryKeys
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import manifest
from tests.unit.api.conftest import put_model

pytestmark = pytest.mark.anyio

PROXY = "10.1.2.3"
JOB = {"version": "toy", "input": {"x": [1, 2, 3]}}
SPOOFED = {
    "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.7;proto=https;host=evil.example",
}  # fmt: skip
Opened = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def opened(api_settings: Settings) -> Opened:
    """Return the API with other settings, asked from an address."""

    @asynccontextmanager
    async def opened(
        *, client: str = PROXY, finder: MemoryKeys | None = None, **settings: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        changed = Settings(_env_file=None, **api_settings.model_dump(exclude=set(settings)), **settings)
        queue = MemoryQueue(limits_of(changed))
        await queue.register(manifest())
        queue.beat({("toy", "1"): ""})
        put_model(changed.models_dir, manifest())
        app = build_app(changed, queue=queue, finder=finder)
        transport = httpx.ASGITransport(app, client=(client, 4711))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://inside:8000") as asking,
        ):
            yield asking

    return opened


async def places(asking: httpx.AsyncClient, path: str = "/v1/predictions", **headers: str) -> tuple[str, str]:
    """Submit a job; return the Location and the URL of its body, with ID for its id."""
    answer = await asking.post(path, json=JOB, headers=headers)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    return tuple(text.replace(body["id"], "ID") for text in (answer.headers["location"], body["urls"]["get"]))


async def test_urls_when_nothing_is_set_then_the_requests_own_host(opened: Opened) -> None:
    async with opened() as asking:
        assert await places(asking) == ("/v1/predictions/ID", "http://inside:8000/v1/predictions/ID")
        assert (await places(asking, Host="a.example"))[1] == "http://a.example/v1/predictions/ID"


@pytest.mark.parametrize("trusted", ["", "10.1.2.4", "192.0.2.0/24, ::1"])
async def test_forwarded_headers_when_not_from_a_trusted_proxy_then_ignored(opened: Opened, trusted: str) -> None:
    async with opened(trusted_proxies=trusted) as asking:
        assert await places(asking, **SPOOFED) == ("/v1/predictions/ID", "http://inside:8000/v1/predictions/ID")


@pytest.mark.parametrize("trusted", [PROXY, "10.0.0.0/8", "192.0.2.1,10.1.0.0/16"])
async def test_forwarded_headers_when_from_a_trusted_proxy_then_believed(opened: Opened, trusted: str) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example", "X-Forwarded-Prefix": "/ml/"}
    async with opened(trusted_proxies=trusted) as asking:
        assert await places(asking, **said) == ("/ml/v1/predictions/ID", "https://a.example/ml/v1/predictions/ID")
        said = {"Forwarded": "for=203.0.113.7;proto=https;host=b.example"}
        assert (await places(asking, **said))[1] == "https://b.example/v1/predictions/ID"


@pytest.mark.parametrize(
    "said",
    [
        {"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "a b", "X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Host": "a.example/path", "X-Forwarded-Prefix": "ml"},
        {"X-Forwarded-Host": 'a"x', "X-Forwarded-Prefix": "/a/../b"},
        {"X-Forwarded-Host": "user@a.example", "X-Forwarded-Prefix": "/a?b"},
        {"Forwarded": 'proto="ht tp";host="<a>"'},
    ],
)
async def test_forwarded_headers_when_no_such_thing_then_ignored(opened: Opened, said: dict[str, str]) -> None:
    async with opened(trusted_proxies=PROXY) as asking:
        assert await places(asking, **said) == ("/v1/predictions/ID", "http://inside:8000/v1/predictions/ID")


async def test_public_url_when_set_then_every_url_begins_with_it_whatever_a_request_says(opened: Opened) -> None:
    public = "https://example.org/ml/v1/predictions/ID"
    async with opened(public_url="https://example.org/ml/", trusted_proxies=PROXY) as asking:
        for path in ("/v1/predictions", "/ml/v1/predictions"):
            assert await places(asking, path, **SPOOFED) == (public, public)


@pytest.mark.parametrize("prefix", ["", "/ml"])
async def test_root_path_when_the_proxy_strips_it_or_keeps_it_then_the_same_answers(
    opened: Opened, prefix: str
) -> None:
    async with opened(root_path="/ml") as asking:
        location, url = await places(asking, f"{prefix}/v1/predictions")
        assert (location, url) == ("/ml/v1/predictions/ID", "http://inside:8000/ml/v1/predictions/ID")
        for path in ("/v1/models/toy", "/v1/models/toy/examples", "/v2/health/live", "/", "/static/main.js", "/docs"):
            assert (await asking.get(prefix + path)).status_code == 200, path
        missing = (await asking.get(f"{prefix}/v1/nothing")).json()
        assert missing["instance"] == "/ml/v1/nothing"
        assert missing["detail"] == "there is nothing at /ml/v1/nothing; see /ml/docs"
        listed = (await asking.get(f"{prefix}/v1/predictions/none")).json()
        assert listed["instance"] == "/ml/v1/predictions/none"


async def test_root_path_when_a_key_is_sent_with_and_without_it_then_one_job(opened: Opened) -> None:
    async with opened(root_path="/ml") as asking:
        for path in ("/v1/predictions", "/ml/v1/predictions"):
            answer = await asking.post(path, json=JOB, headers={"Idempotency-Key": "k"})
            assert answer.status_code == 202
        assert answer.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("path", ["/ml/ml/v1/models", "/mlx/v1/models", "/ML/v1/models", "/ml//v1/models", "/x/ml/v1"])
async def test_root_path_when_twice_or_not_whole_then_not_found(opened: Opened, path: str) -> None:
    async with opened(root_path="/ml") as asking:
        assert (await asking.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ml", 307), ("/ml/", 200), ("/ml/static/main.js", 200), ("/ml/v2/health/live", 200), ("/ml/metrics", 401),
        ("/ml/v1/models", 401), ("/ml/static/../v1/models", 401), ("/ml/%2Fv1/models", 401), ("/%6Dl/v1/models", 401),
        ("/ml/v1/dead-letters", 401), ("/ml/static/%2e%2e/%2e%2e/index.html", 404),
    ],
)  # fmt: skip
async def test_root_path_when_keys_are_needed_then_as_without_it(opened: Opened, path: str, status: int) -> None:
    async with opened(root_path="/ml", finder=MemoryKeys()) as asking:
        assert (await asking.get(path)).status_code == status


@pytest.mark.parametrize("said", ["/v1", "/static", "/x"])
async def test_forwarded_prefix_when_it_looks_like_a_path_of_ferry_then_no_path_changes(
    opened: Opened, said: str
) -> None:
    async with opened(trusted_proxies=PROXY, finder=MemoryKeys()) as asking:
        for path in ("/v1/models", f"{said}/v1/models", f"{said}/metrics"):
            expected = 404 if path.startswith("/static/") else 401
            assert (await asking.get(path, headers={"X-Forwarded-Prefix": said})).status_code == expected


@pytest.mark.parametrize("settings", [{"root_path": "/ml"}, {"public_url": "https://a.example/ml"}])
async def test_prefix_when_asked_for_without_a_slash_then_sent_to_the_page(
    opened: Opened, settings: dict[str, str]
) -> None:
    async with opened(**settings) as asking:
        answer = await asking.get("/ml")
    assert answer.status_code == 307
    assert answer.headers["location"] == settings.get("public_url", "/ml") + "/"


@pytest.mark.parametrize(
    ("settings", "servers"),
    [
        ({"root_path": "/ml"}, [{"url": "/ml"}]),
        ({"public_url": "https://a.example/ml"}, [{"url": "https://a.example/ml"}]),
        ({}, None),
    ],
)
async def test_openapi_when_there_is_a_prefix_then_its_server_has_it(
    opened: Opened, settings: dict[str, str], servers: list[dict[str, str]] | None
) -> None:
    async with opened(**settings) as asking:
        for _ in range(2):
            assert (await asking.get("/openapi.json")).json().get("servers") == servers


@pytest.mark.parametrize(("trusted", "client"), [("", PROXY), (PROXY, "203.0.113.7")])
async def test_log_when_a_trusted_proxy_names_the_client_then_its_address(
    opened: Opened, trusted: str, client: str
) -> None:
    lines: list[dict[str, object]] = []
    async with opened(trusted_proxies=trusted) as asking:
        asking._transport.app.state.services.door._log = lambda event, fields: lines.append(fields)
        await asking.get("/v1/models", headers=SPOOFED)
    assert [line["client"] for line in lines] == [client]
