"""The page in a real browser: Debian's Chromium, driven by Playwright, on a stack as `ferry up` starts it.

`make test-browser` installs what this needs and runs it.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.strokes import Stroke
from tests.e2e.conftest import FERRY, Stack, stack, start_stack
from tests.processes import GIVE_UP_S, ROOT

__all__ = ["stack", "start_stack"]

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
# Bounds for a broken machine.
expect.set_options(timeout=GIVE_UP_S * 500)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    assert CHROMIUM, "there is no Chromium: `make test-browser` installs it as root; else apt-get install chromium"
    # Chromium's own sandbox is not for root.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
    yield browser
    browser.close()


class Watch:
    """What went on in a context: requests, and complaints that no page of ours may cause."""

    def __init__(self, context: BrowserContext) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, kind: str, text: str) -> None:
        # An answer of 400 and above is told as an error too, whoever handles it.
        if kind == "error" and "Failed to load resource" not in text and "net::ERR" not in text:
            self.complaints.append(text)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open the page of an API in a context of its own; afterwards: nothing asked of another host, no complaint."""
    opened: list[tuple[BrowserContext, Watch, str]] = []

    def open_(api_url: str, **how: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})  # type: ignore[arg-type]
        watch = Watch(context)
        opened.append((context, watch, urlsplit(api_url).netloc))
        page = context.new_page()
        page.set_default_timeout(GIVE_UP_S * 500)
        page.goto(api_url)
        return page

    yield open_
    for context, watch, host in opened:
        context.close()
        assert watch.hosts == {host}
        assert watch.complaints == []


@pytest.fixture
def page(open_page: OpenPage, stack: Stack) -> Page:
    """The page, once it knows the model that ships."""
    page = open_page(stack.api_url)
    expect(page.locator("#try-model option")).not_to_have_count(0)
    return page


def draw(page: Page, strokes: list[Stroke]) -> None:
    """Draw on the sheet with the mouse."""
    sheet = page.locator("#try-sheet")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()


def ferry(stack: Stack, *words: str) -> str:
    """Run a command beside the stack; returns what it prints."""
    done = subprocess.run(
        [FERRY, *words], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def paused(stack: Stack) -> Iterator[Callable[[], None]]:
    """The model that ships with its queue paused, until what this returns is called."""
    ferry(stack, "queue", "pause", "mnist")
    yield lambda: ferry(stack, "queue", "resume", "mnist") and None
    ferry(stack, "queue", "resume", "mnist")


def add_model(stack: Stack, path: Path, name: str) -> None:
    ferry(stack, "models", "add", str(path), "--name", name)
