"""The API killed and started again while the page is open: said, and mended by itself."""

import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, draw
from tests.browser.strokes import RECORDED
from tests.chaos.redis_part import free_port
from tests.e2e.conftest import Stack
from tests.processes import Process, eventually

pytestmark = pytest.mark.timeout(300)


def test_page_when_the_api_is_killed_and_started_again_then_said_and_mended(
    stack: Stack, open_page: OpenPage, paused: Callable[[], None], tmp_path: Path
) -> None:
    port = free_port()
    # One process: the others of several end in order when the first is killed, and answer what comes until then.
    ours = {"FERRY_API_PORT": str(port), "FERRY_API_PROCESSES": "1"}
    env = {**stack.env, "FERRY_REDIS_URL": str(stack.run_info["redis_url"]), **ours}
    url = f"http://127.0.0.1:{port}"

    def start() -> Process:
        process = Process("api", env, tmp_path / "api.log")
        eventually(lambda: _is_ready(url), "the API is up")
        return process

    def kill(process: Process) -> None:
        process.signal(signal.SIGKILL)
        process.wait()
        eventually(lambda: not _is_ready(url), "the API is gone")

    api = start()
    try:
        page = open_page(url)
        expect(page.locator("#fleet-models tr")).not_to_have_count(0)
        page.locator("#many-count").fill("300")
        page.locator("#many-send").click()
        expect(page.locator("#many-counts")).to_contain_text("waiting300")
        draw(page, RECORDED["6"])
        page.get_by_role("button", name="Send as a job").click()
        expect(page.locator("#try-answer")).to_have_text("Queued …")
        kill(api)
        expect(page.locator("#connection")).to_be_visible()
        expect(page.locator("#connection")).to_contain_text(
            "What was accepted goes on; this page looks again by itself."
        )
        expect(page.locator("#try-life .error")).to_contain_text("the job goes on, and is looked for again")
        expect(page.locator("#many-note")).to_contain_text("the jobs go on, and are looked for again")
        api = start()
        expect(page.locator("#connection")).to_be_hidden()
        paused()
        expect(page.locator("#try-answer")).to_have_text("Answer: 6")
        expect(page.locator("#many-summary")).to_contain_text("300 of 300 succeeded")
        draw(page, RECORDED["6"])
        kill(api)
        page.get_by_role("button", name="Send as a job").click()
        expect(page.locator("#try-error")).to_have_text("the API cannot be reached.")
    finally:
        api.end()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
