"""Bulk: a file dropped on the page, its progress, its errors, its output; found again after a reload."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.processes import ROOT

pytestmark = pytest.mark.timeout(300)
HOSTILE = "<img src=x onerror=alert(1)>"
BAD = (7, 1000, 1999)


def digits() -> np.ndarray:
    with np.load(ROOT / "models/mnist/1/samples/digits.npz") as file:
        return file["x"]


def rows_file(folder: Path, name: str, n_rows: int = 2000, bad: tuple[int, ...] = ()) -> Path:
    """Write rows as JSONL: bare bodies; those of `bad` do not fit the model."""
    images = digits()
    lines = []
    for row in range(n_rows):
        value = "no digit" if row in bad else (images[row % len(images)] / 255).round(3).tolist()
        lines.append(json.dumps({"input": {"x": value}}))
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def run_file(page: Page, path: Path) -> Locator:
    """Choose a file and run it; returns its batch's card."""
    page.locator("#bulk-file").set_input_files(path)
    expect(page.locator("#bulk-chosen")).to_contain_text(path.name)
    page.get_by_role("button", name="Run the file").click()
    card = page.locator("article.batch").filter(has_text=path.name)
    expect(card).to_have_count(1)
    return card


def test_file_when_2000_rows_with_3_bad_ones_then_output_and_errors(page: Page, tmp_path: Path) -> None:
    card = run_file(page, rows_file(tmp_path, "rows.jsonl", bad=BAD))
    expect(card.locator(".chip")).to_have_text("completed")
    expect(card).to_contain_text("1,997 of 2,000 rows done · 3 rows with an error")
    expect(card.locator("tbody tr")).to_have_count(3)
    assert card.locator("tbody td:first-child").all_inner_texts() == [str(row + 1) for row in BAD]
    expect(card.locator("tbody tr").first).to_contain_text("invalid_input")
    with page.expect_download() as coming:
        card.get_by_text("Download output").click()
    answers = [json.loads(line) for line in Path(coming.value.path()).read_text().splitlines()]
    assert len(answers) == 1997
    with page.expect_download() as coming:
        card.get_by_text("Download errors").click()
    assert len(Path(coming.value.path()).read_text().splitlines()) == 3


def test_file_when_another_format_is_asked_for_then_written_so(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "digits.npy"
    np.save(path, (digits()[:300] / 255).astype(np.float32))
    page.locator("#bulk-format").select_option("csv")
    card = run_file(page, path)
    expect(card.locator(".chip")).to_have_text("completed")
    with page.expect_download() as coming:
        card.get_by_text("Download output").click()
    assert len(Path(coming.value.path()).read_text().splitlines()) == 301
    assert coming.value.suggested_filename.endswith(".csv")


def test_file_when_dropped_on_the_page_then_taken(page: Page) -> None:
    data = page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['{}'], 'dropped.jsonl')); return data; }"
    )
    page.dispatch_event("#bulk-drop", "drop", {"dataTransfer": data})
    expect(page.locator("#bulk-chosen")).to_contain_text("dropped.jsonl")


@pytest.mark.parametrize(
    ("made", "is_kept"), [("items.add(new File(['{}'], 'x'))", True), ("setData('text/plain', '1')", False)]
)
def test_file_when_dropped_beside_its_place_then_the_page_stays(page: Page, made: str, *, is_kept: bool) -> None:
    answer = page.evaluate(
        f"() => {{ const dataTransfer = new DataTransfer(); dataTransfer.{made}; "
        "return document.body.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true})); }"
    )
    assert answer is not is_kept


def test_batch_when_the_page_is_reloaded_amid_it_then_found_again_and_finished(
    page: Page, paused: Callable[[], None], tmp_path: Path
) -> None:
    run_file(page, rows_file(tmp_path, "reloaded.jsonl"))
    page.reload()
    card = page.locator("article.batch").filter(has_text="reloaded.jsonl")
    expect(card).to_have_count(1)
    expect(card.get_by_role("button", name="Cancel")).to_be_visible()
    paused()
    expect(card.locator(".chip")).to_have_text("completed")
    expect(card).to_contain_text("2,000 of 2,000 rows done")


def test_batch_when_canceled_then_said_and_over(page: Page, paused: Callable[[], None], tmp_path: Path) -> None:
    card = run_file(page, rows_file(tmp_path, "canceled.jsonl"))
    card.get_by_role("button", name="Cancel").click()
    expect(card.locator(".chip")).to_have_text("cancelled")
    expect(card.get_by_role("button", name="Cancel")).to_be_hidden()
    paused()


def test_file_when_named_and_filled_like_markup_then_shown_as_text(page: Page, tmp_path: Path) -> None:
    path = tmp_path / f"{HOSTILE}.jsonl"
    row = {"custom_id": HOSTILE, "method": "POST", "url": "/v1/predictions", "body": {"input": {"x": HOSTILE}}}
    path.write_text(json.dumps(row) + "\n")
    card = run_file(page, path)
    expect(card.locator("h3")).to_contain_text(HOSTILE)
    expect(card.locator(".chip")).to_have_text("completed")
    expect(card.locator("tbody tr")).to_have_count(1)
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [("empty.jsonl", b"", "the file is empty"), ("no.csv", b"\x93NUMPY\x01\x00", "is named .csv, its content is npy")],
)
def test_file_when_the_api_or_a_worker_refuses_it_then_its_words(
    page: Page, name: str, data: bytes, words: str
) -> None:
    page.locator("#bulk-file").set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": data})
    page.get_by_role("button", name="Run the file").click()
    told = page.locator("#bulk-error").or_(page.locator("article.batch").filter(has_text=name))
    expect(told.filter(has_text=words)).to_have_count(1)


def test_file_when_none_is_chosen_then_said(page: Page) -> None:
    page.get_by_role("button", name="Run the file").click()
    expect(page.locator("#bulk-error")).to_have_text("Choose a file first.")
