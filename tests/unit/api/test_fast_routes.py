"""The shortcut serves what FastAPI would have served, and only what matches exactly."""

import pytest

from api.fast_routes import _EXACT, _handler_of
from api.routes.predict import predict
from api.routes.predictions import create_prediction
from tests.unit.api.conftest import Api, assert_problem


def scope(method: str, path: str, **more: object) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, **more}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/predictions"),
        ("GET", "/v1/predictions/"),
        ("GET", "/v1/predictions/a/b"),
        ("POST", "/v1/predictions/a/cancel"),
        ("PUT", "/predict"),
        ("GET", "/docs"),
        ("HEAD", "/v1/predictions/abc"),
        ("GET", "/v2/models/toy/infer"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/toy/versions/1/infer"),
        ("POST", "/v2/models/infer"),
    ],
)
def test_shortcut_when_the_request_does_not_match_exactly_then_left_to_fastapi(method: str, path: str) -> None:
    assert _handler_of(scope(method, path)) is None


def test_shortcut_when_it_matches_then_the_documented_function() -> None:
    assert _handler_of(scope("POST", "/v1/predictions")) == (create_prediction, "/v1/predictions")
    assert _handler_of(scope("POST", "/predict")) == (predict, "/predict")
    assert _handler_of(scope("GET", "/v1/predictions/abc")) is not None
    assert _handler_of(scope("POST", "/v2/models/toy/infer")) is not None


def test_shortcut_when_the_app_stands_below_a_path_then_left_to_fastapi() -> None:
    assert _handler_of(scope("POST", "/predict", root_path="/ferry")) is None


@pytest.mark.anyio
async def test_shortcut_when_a_route_is_on_it_then_fastapi_documents_it_too(api: Api) -> None:
    paths = (await api.client.get("/openapi.json")).json()["paths"]
    for method, path in _EXACT:
        assert method.lower() in paths[path]


@pytest.mark.anyio
async def test_shortcut_when_the_handler_has_a_bug_then_a_problem_without_its_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(job_id: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(api.queue, "read", broken)
    response = await api.client.get("/v1/predictions/abc")
    assert "secret" not in assert_problem(response, 500, "internal")
