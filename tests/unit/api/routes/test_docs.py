import re

import pytest

from api.routes import docs
from api.routes.pages import STATIC
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio


async def test_docs_when_opened_then_every_file_comes_from_here(api: Api) -> None:
    page = await api.client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await api.client.head("/docs")).status_code == 200
    paths = set(re.findall(r'(?:src|href)="(static/[^"]+)"', page.text))
    assert len(paths) == 4
    for path in paths:
        answer = await api.client.get(f"/{path}")
        assert answer.status_code == 200
        assert answer.content
    assert not re.findall(r"https?:", page.text)
    assert not re.findall(r"https?:", (STATIC / "docs.js").read_text())


async def test_docs_when_they_leave_then_scripts_of_this_origin_alone_may_be_run(api: Api) -> None:
    policy = (await api.client.get("/docs")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["redoc.standalone.js", "none.css", "%2e%2e", "..%2f__init__.py"])
async def test_file_when_swagger_ui_does_not_need_it_then_404(api: Api, name: str) -> None:
    assert (await api.client.get(f"/static/swagger-ui/{name}")).status_code == 404


async def test_openapi_when_there_is_no_prefix_then_no_server_is_named(api: Api) -> None:
    described = (await api.client.get("/openapi.json")).json()
    assert described["info"]["title"] == "Ferry"
    assert "servers" not in described


def test_folder_when_the_package_is_missing_then_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docs, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="install fastapi-offline"):
        docs._folder()
