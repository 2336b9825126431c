"""The fleet: who serves what, how fast, the measured curve, and dead letters brought back with a click."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from ferry.queue.connection import connect
from ferry.queue.consumer import Consumer
from ferry.settings import NAMESPACE
from tests import onnx_models
from tests.browser.conftest import OpenPage, add_model, ferry
from tests.e2e.conftest import Stack
from tests.namespaces import KEYS, client_of
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)


def row_of(page: Page, name: str) -> str:
    return page.locator("#fleet-models tr").filter(has_text=name).inner_text()


def test_fleet_when_work_is_done_then_its_numbers_and_the_curve_behind_the_batch_size(page: Page, stack: Stack) -> None:
    page.locator("#fleet-title").scroll_into_view_if_needed()
    row = page.locator("#fleet-models tr").filter(has_text="mnist:1 (latest)")
    expect(row.locator("td").first).to_have_text("2")
    figure = page.locator("#fleet-curves figure").filter(has_text="mnist:1")
    served = httpx.get(f"{stack.api_url}/v1/models/mnist", timeout=60).json()["versions"][0]
    expect(figure).to_contain_text(f"runs up to {served['max_rows']:,} rows at once")
    expect(figure.locator(".marked")).to_have_text(f"max_rows {served['max_rows']:,}")
    assert figure.locator("circle").count() == len(served["profile"]["sizes"])
    page.locator("#many-count").fill("300")
    page.locator("#many-send").click()
    # What is sent and answered pushes the fleet out of sight, where it is not painted.
    expect(page.locator("#many-summary")).to_contain_text("300 of 300 succeeded")
    page.locator("#fleet-title").scroll_into_view_if_needed()
    expect(page.locator("#fleet [data-stat=jobs]")).to_have_text(re.compile(r"[1-9]"))
    expect(row.locator("td").nth(4)).to_have_text(re.compile(r"[1-9]"))
    link = page.locator("#fleet-flower a")
    assert link.get_attribute("href") == stack.flower_url


def test_fleet_when_a_queue_is_paused_then_said(page: Page, stack: Stack) -> None:
    ferry(stack, "queue", "pause", "mnist")
    try:
        expect(page.locator("#fleet-models th").filter(has_text="mnist:1")).to_contain_text("paused")
    finally:
        ferry(stack, "queue", "resume", "mnist")


def test_models_when_one_is_added_then_offered_by_what_the_numbers_tell(
    page: Page, stack: Stack, tmp_path: Path
) -> None:
    page.context.add_init_script("window.setInterval = () => 0")
    page.reload()
    expect(page.locator(".flow [data-stat=waiting]")).to_have_text("0")
    add_model(stack, onnx_models.save(onnx_models.doubled(), tmp_path / "m.onnx"), "late")
    expect(page.locator("#try-model option[value=late]")).to_be_attached()


def test_dead_letter_when_replayed_with_a_click_then_a_new_job_and_off_the_list(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    add_model(stack, onnx_models.save(onnx_models.doubled(), tmp_path / "m.onnx"), "doomed")
    models = f"{stack.api_url}/v1/models/doomed"

    def served_by() -> int:
        known = httpx.get(models, timeout=60)
        return known.json()["versions"][0]["live_workers"] if known.status_code == 200 else 0

    eventually(lambda: served_by() == 2, "both workers serve it")
    ferry(stack, "models", "unload", "doomed:1")
    eventually(lambda: served_by() == 0, "nobody serves it")
    body = {"version": "doomed", "input": {"x": [1, 2, 3]}}
    job_id = httpx.post(f"{stack.api_url}/v1/predictions", json=body, timeout=60).json()["id"]
    die_with(stack, job_id)
    page = open_page(stack.api_url)
    expect(page.locator("#dead-note")).to_have_text("1 job given up, since workers died with each.")
    page.get_by_role("button", name=f"Replay {job_id}").click()
    expect(page.locator("#dead-done")).to_have_text(re.compile(r"Replayed as job \w+\."))
    expect(page.locator("#dead-note")).to_have_text("None: no job was given up.")
    ferry(stack, "models", "load", "doomed:1")
    replayed = re.findall(r"job (\w+)\.", page.locator("#dead-done").inner_text())[0]
    answer = httpx.get(f"{stack.api_url}/v1/predictions/{replayed}?wait=30", timeout=60).json()
    assert (answer["state"], answer["output"], answer["replay_of"]) == ("succeeded", {"y": [2, 4, 6]}, job_id)


def die_with(stack: Stack, job_id: str) -> None:
    """Play a worker that dies with a job again and again, until it is given up."""
    with connect(str(stack.run_info["redis_url"]), NAMESPACE).redis as redis:
        worker = Consumer(client_of(redis), worker="by-hand", lease_s=5)

        def is_given_up() -> bool:
            for token in {worker.claim("doomed", "1", max_rows=10).token} if redis.zcard(KEYS.leases) == 0 else ():
                redis.zadd(KEYS.leases, {token: 1}, xx=True)
            shown = httpx.get(f"{stack.api_url}/v1/predictions/{job_id}", timeout=60).json()
            return shown["error_code"] == "worker_lost"

        eventually(is_given_up, "the job is given up")
