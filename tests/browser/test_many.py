"""Send many: hundreds of jobs from one click, and batches that are seen to form."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import onnx_models
from tests.browser.conftest import OpenPage, add_model
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.timeout(300)
COUNTS = """Object.fromEntries([...document.querySelectorAll('#many-counts div')].map(
    (each) => [each.firstChild.textContent, each.lastChild.textContent]))"""


def send(page: Page, count: str) -> None:
    page.locator("#many-count").fill(count)
    page.locator("#many-send").click()


def test_many_when_500_are_sent_then_all_succeed_in_shared_runs(page: Page) -> None:
    send(page, "500")
    summary = page.locator("#many-summary")
    expect(summary).to_contain_text("500 of 500 succeeded")
    found = re.search(r"in ([\d,]+) batch(?:es)? of ([\d.,]+) rows on average.* ([\d.]+) % right", summary.inner_text())
    assert found, summary.inner_text()
    batches, right = int(found[1].replace(",", "")), float(found[3])
    assert batches < 250
    assert right >= 95
    assert page.evaluate(COUNTS) == {"to send": "0", "waiting": "0", "running": "0", "succeeded": "500"}
    assert page.locator("#many-batches .bars").get_attribute("d", timeout=1000).count("M") == batches  # type: ignore[union-attr]
    assert page.locator("#many-times .dots").get_attribute("d", timeout=1000).count("M") == 500  # type: ignore[union-attr]
    page.get_by_text("The last batches").click()
    expect(page.locator("#many-last a").first).to_have_attribute("href", re.compile(r"/task/"))


def test_many_when_stopped_then_what_waits_is_canceled(page: Page, paused: Callable[[], None]) -> None:
    send(page, "150")
    expect(page.locator("#many-counts")).to_contain_text("waiting150")
    page.get_by_role("button", name="Stop and cancel").click()
    expect(page.locator("#many-summary")).to_have_text("150 jobs: none succeeded.")
    assert page.evaluate(COUNTS)["canceled"] == "150"


def test_many_when_jobs_fail_then_counted_and_the_first_error_shown(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    add_model(stack, onnx_models.save(onnx_models.raises_on_big_index(100), tmp_path / "m.onnx"), "raises")
    page = open_page(stack.api_url)
    page.locator("#many-model").select_option("raises")
    send(page, "20")
    expect(page.locator("#many-summary")).to_have_text("20 jobs: none succeeded.")
    expect(page.locator("#many-note")).to_contain_text("The first that failed: InvalidArgument")
    assert page.evaluate(COUNTS)["failed"] == "20"


@pytest.mark.parametrize("count", ["0", "2001", "1.5", ""])
def test_many_when_the_number_is_none_then_told_what_is(page: Page, count: str) -> None:
    send(page, count)
    expect(page.locator("#many-error")).to_have_text("Rows: expected a whole number from 1 to 2,000.")
