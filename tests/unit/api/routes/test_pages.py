"""The page is served as it lies in api/static, and nothing beside it."""

import re

import pytest

from api.routes.pages import STATIC
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio
MOST_BYTES = 200_000


async def test_page_when_asked_for_then_html_whose_files_are_all_served(api: Api) -> None:
    page = await api.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    paths = set(re.findall(r'(?:src|href)="(static/[^"]+)"', page.text))
    assert len(paths) == 3
    for path in paths:
        assert (await api.client.get(f"/{path}")).status_code == 200
    assert (await api.client.head("/")).status_code == 200


async def test_page_when_read_then_every_url_is_relative_to_it_and_no_script_or_style_within() -> None:
    html = "".join(file.read_text() for file in STATIC.glob("*.html"))
    assert not re.findall(r'(?:src|href)="(?:/|[a-z]+:)', html)
    assert not re.findall(r"<script(?![^>]*src=)|<style| on\w+=| style=", html)
    for file in STATIC.glob("*.js"):
        text = file.read_text()
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text), file
        assert not re.findall(r"""(?<!endpoint: )["'`]/(?:v1|v2|static|docs|openapi)""", text), file
        assert not [url for url in re.findall(r"https?://[\w.]+", text) if url != "http://www.w3.org"], file


async def test_page_when_weighed_then_light() -> None:
    assert sum(file.stat().st_size for file in STATIC.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize("path", ["/static/", "/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py"])
async def test_static_when_it_is_no_file_of_the_page_then_404(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 404


async def test_modules_when_they_import_each_other_then_what_is_exported_there() -> None:
    exported = {
        file.name: set(re.findall(r"^export (?:async )?(?:function\*? |const |class )(\w+)", file.read_text(), re.M))
        for file in STATIC.glob("*.js")
    }
    for file in STATIC.glob("*.js"):
        for names, source in re.findall(r'^import \{ ([^}]+) \} from "\./([\w.]+)";', file.read_text(), re.M):
            assert set(names.split(", ")) <= exported[source], f"{file.name} from {source}"
            used = file.read_text().split(f'from "./{source}";', 1)[1]
            assert all(re.search(rf"\b{name}\b", used) for name in names.split(", ")), f"{file.name}: {names}"
