"""The page as a whole: light, closed to other hosts, readable by all, and made of text where others wrote it."""

from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ferry.manifest import Manifest, read_manifest, write_manifest
from tests import onnx_models
from tests.browser.conftest import OpenPage, add_model, draw
from tests.browser.strokes import RECORDED
from tests.browser.test_bulk import HOSTILE
from tests.e2e.conftest import Stack
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)
MOST_BYTES = 200_000
WIDTHS = (360, 800, 1440)


def used(page: Page) -> None:
    """Use every part, so that what it shows then is there."""
    draw(page, RECORDED["8"])
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-answer")).to_have_text("Answer: 8")
    page.get_by_text("Copy what was just sent").click()
    page.locator("#many-count").fill("300")
    page.locator("#many-send").click()
    expect(page.locator("#many-summary")).to_contain_text("300 of 300 succeeded")
    page.locator("#many-count").fill("0")
    page.locator("#many-send").click()
    rows = b'{"input": {"x": "no digit"}}\n{"input": {"x": ' + str([[0.0] * 28] * 28).encode() + b"}}\n"
    page.locator("#bulk-file").set_input_files({"name": "used.jsonl", "mimeType": "text/plain", "buffer": rows})
    page.get_by_role("button", name="Run the file").click()
    card = page.locator("article.batch").filter(has_text="used.jsonl").first
    expect(card.locator(".chip")).to_have_text("completed")
    expect(card.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#fleet-curves svg")).not_to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_page_when_used_then_axe_finds_no_violation(stack: Stack, open_page: OpenPage, scheme: str, width: int) -> None:
    page = open_page(stack.api_url, viewport={"width": width, "height": 900}, color_scheme=scheme)
    expect(page.locator("#try-model option")).not_to_have_count(0)
    used(page)
    results = Axe().run(page)
    found, passed = (len(results.response[kind]) for kind in ("violations", "passes"))
    print(f"{scheme} {width}: {found} violations, {passed} rules passed")
    assert found == 0, results.generate_report()
    assert passed > 20


def test_page_when_the_key_is_asked_for_then_axe_finds_no_violation_in_the_dialog(page: Page) -> None:
    page.evaluate("document.querySelector('#key-dialog').showModal()")
    assert Axe().run(page).violations_count == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_page_when_narrow_or_wide_then_nothing_to_scroll_sideways(
    stack: Stack, open_page: OpenPage, width: int
) -> None:
    page = open_page(stack.api_url, viewport={"width": width, "height": 900})
    expect(page.locator("#try-model option")).not_to_have_count(0)
    used(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_when_loaded_then_within_its_weight(stack: Stack, open_page: OpenPage) -> None:
    page = open_page(stack.api_url)
    expect(page.locator("#fleet-models tr")).not_to_have_count(0)
    sizes: dict[str, int] = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".filter((each) => !each.name.includes('/v1/')).map((each) => [each.name, each.decodedBodySize]))"
    )
    print(f"{sum(sizes.values())} bytes in {len(sizes)} files, not compressed")
    assert len(sizes) >= 18
    assert sum(sizes.values()) <= MOST_BYTES


def test_page_when_asked_for_then_headers_allow_its_own_files_alone(stack: Stack) -> None:
    with httpx.Client(base_url=stack.api_url) as client:
        for path in ("/", "/static/main.js", "/static/style.css"):
            answer = client.get(path)
            policy = answer.headers["content-security-policy"]
            assert answer.status_code == 200
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-cache"
            assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code in (200, 304)
        for name, value in sorted(client.get("/").headers.items()):
            print(f"{name}: {value}")
        assert client.get("/static/nothing.js").status_code == 404
        assert client.get("/static/../door.py").status_code == 404
        assert client.get("/static/%2e%2e/door.py").status_code == 404


def test_page_when_a_script_is_written_into_it_then_not_run(stack: Stack, browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(stack.api_url)
        refused = page.evaluate(
            "() => { try { document.body.innerHTML = '<b>x</b>'; return ''; } catch (error) { return error.name; } }"
        )
        assert refused == "TypeError"
        refused = page.evaluate(
            "() => { try { new Image().setAttribute('onerror', 'window.ran = 1'); return ''; }"
            " catch (error) { return error.name; } }"
        )
        assert refused == "TypeError"
        page.evaluate("() => { const script = document.createElement('script'); script.append('window.ran = 1'); "
                      "try { document.body.append(script); } catch {} }")  # fmt: skip
        assert page.evaluate("window.ran === undefined")


def test_model_when_described_and_labelled_like_markup_then_shown_as_text(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    add_model(stack, onnx_models.save(onnx_models.classes(3), tmp_path / "m.onnx"), "hostile")
    folder = stack.models_dir / "hostile" / "1"
    labels = (HOSTILE, "<b>b</b>", "&amp;")
    changed = read_manifest(folder).model_copy(update={"description": HOSTILE, "labels": labels})
    write_manifest(Manifest.model_validate(changed.model_dump()), folder)
    eventually(
        lambda: (
            httpx.get(f"{stack.api_url}/v1/models/hostile", timeout=60).json()["versions"][0]["labels"] == list(labels)
        ),
        "the API has seen the change",
    )
    eventually(
        lambda: httpx.get(f"{stack.api_url}/v1/models/hostile", timeout=60).json()["versions"][0]["live_workers"] > 0,
        "it is served",
    )
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option("hostile")
    expect(page.locator("#try-about")).to_have_text(HOSTILE)
    page.get_by_role("button", name="Send as a job").click()
    expect(page.locator("#try-answer")).to_contain_text("Answer: ")
    assert page.locator("main img").count() == 0
    assert page.locator("main b").count() == 0
