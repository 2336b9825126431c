"""An internal error amid a request with an API key and rows: the log has the place of the error and none of them."""

import pytest
import structlog

from ferry.access import Scope
from ferry.jobs import Receipt, Submission
from ferry.logs import configure_logging
from tests.fakes.memory_keys import MemoryKeys
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio

ROW = [47.11, 8.15, 3.33]


@pytest.fixture
def key() -> list[str]:
    return []


@pytest.fixture
def api_keys(key: list[str]) -> MemoryKeys:
    keys = MemoryKeys()
    key.append(keys.create("ci", owner="ann", scopes=frozenset({Scope.SUBMIT}))[1])
    return keys


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/predictions/many"])
async def test_request_when_ferry_has_a_bug_then_the_log_has_neither_key_nor_rows(
    api: Api, key: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_format: str,
    path: str,
) -> None:  # fmt: skip
    async def broken(submissions: list[Submission]) -> list[Receipt]:
        raise RuntimeError(f"cannot pack {ROW} of {submissions} for {key}")

    monkeypatch.setattr(api.queue, "submit", broken)
    configure_logging(api.services.settings.model_copy(update={"log_format": log_format, "log_level": "debug"}))
    rows = {"input": {"x": ROW}} if path == "/v1/predictions" else {"inputs": [{"x": ROW}]}
    body = {"version": "toy"} | rows
    response = await api.client.post(path, json=body, headers={"Authorization": f"Bearer {key[0]}"})
    structlog.reset_defaults()
    detail = assert_problem(response, 500, "internal")
    written = capsys.readouterr().err
    assert f"POST {path} failed" in written
    assert "in broken" in written
    for text in (key[0][19:], "47.11", "8.15"):
        assert text not in written + detail
