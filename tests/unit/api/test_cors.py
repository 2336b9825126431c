from typing import Any

import httpx
import pytest

from tests.fakes.memory_keys import MemoryKeys
from tests.unit.api.test_addresses import JOB, Opened, opened

__all__ = ["opened"]

pytestmark = pytest.mark.anyio
APP = "https://app.example"
OTHER = "https://other.example"


async def preflight(asking: httpx.AsyncClient, origin: str, method: str = "POST") -> httpx.Response:
    headers = {
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,x-stainless-os",
    }  # fmt: skip
    return await asking.options("/v1/predictions", headers=headers)


def cors_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


async def test_cors_when_not_set_then_no_page_elsewhere_may_read_an_answer(opened: Opened) -> None:
    async with opened() as asking:
        answer = await asking.post("/v1/predictions", json=JOB, headers={"Origin": APP})
        assert (answer.status_code, cors_headers(answer)) == (202, {})
        refused = await preflight(asking, APP)
        assert (refused.status_code, cors_headers(refused)) == (405, {})


@pytest.mark.parametrize("origins", [APP, f"https://a.example, {APP}"])
async def test_cors_when_an_origin_is_set_then_its_pages_may_call(opened: Opened, origins: str) -> None:
    async with opened(cors_origins=origins, finder=MemoryKeys()) as asking:
        allowed = await preflight(asking, APP)
        assert allowed.status_code == 200
        headers = cors_headers(allowed)
        assert headers["access-control-allow-origin"] == APP
        assert "access-control-allow-credentials" not in headers
        assert {"authorization", "idempotency-key", "x-stainless-os"} <= set(
            headers["access-control-allow-headers"].split(",")
        )
        # A refusal is the page's to read too.
        refused = await asking.post("/v1/predictions", json=JOB, headers={"Origin": APP})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, APP)
        assert "Origin" in refused.headers["vary"]
        assert {"Location", "Retry-After", "X-Request-ID", "RateLimit"} <= set(
            refused.headers["access-control-expose-headers"].split(", ")
        )


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "https://app.example.evil", "http://app.example", "https://APP.example:1"]
)
async def test_cors_when_another_origin_asks_then_refused(opened: Opened, origin: str) -> None:
    async with opened(cors_origins=APP) as asking:
        assert (await preflight(asking, origin)).status_code == 400
        answer = await asking.get("/v1/models", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


async def test_cors_when_all_origins_are_let_in_then_without_credentials(opened: Opened) -> None:
    async with opened(cors_origins="*") as asking:
        for answer in (
            await preflight(asking, OTHER, "DELETE"),
            await asking.get("/v1/models", headers={"Origin": OTHER}),
        ):
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("settings", "is_plain"), [({}, True), ({"cors_origins": APP}, False)])
async def test_cors_when_not_set_then_it_costs_a_request_nothing(
    opened: Opened, settings: dict[str, Any], is_plain: bool
) -> None:
    async with opened(**settings) as asking:
        app = asking._transport.app
        assert (app.entrance == app._enter) is is_plain
