"""Try a model: what a visitor draws or fills in becomes a job, and its whole life is shown."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.image_files import decode_image
from ferry.bulk.formats.images import to_row
from ferry.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    Preprocess,
    TensorSpec,
    read_manifest,
    sha256_of,
    write_manifest,
)
from tests import onnx_models
from tests.browser.conftest import OpenPage, add_model, draw
from tests.browser.strokes import RECORDED
from tests.e2e.conftest import Stack
from tests.processes import eventually

pytestmark = pytest.mark.timeout(300)
SEND = "Send as a job"


def send(page: Page) -> None:
    page.get_by_role("button", name=SEND).click()


@pytest.mark.parametrize("digit", RECORDED)
def test_digit_when_drawn_with_the_mouse_then_read_and_its_way_shown(page: Page, stack: Stack, digit: str) -> None:
    draw(page, RECORDED[digit])
    send(page)
    expect(page.locator("#try-answer")).to_have_text(f"Answer: {digit}")
    expect(page.locator(".life li")).to_contain_text(["waited", "ran", "in all"])
    expect(page.locator(".life li").last).to_contain_text("Succeeded")
    expect(page.locator(".scores tr")).to_have_count(10)
    expect(page.locator(".scores tr.best th")).to_have_text(digit)
    ticket = page.locator(".facts a")
    assert (ticket.get_attribute("href") or "").startswith(f"{stack.flower_url}/task/")
    expect(page.locator(".facts")).to_contain_text("1 row in the run")


def test_digit_when_cleared_or_taken_back_then_the_frame_follows(page: Page) -> None:
    inked = """document.querySelector('#try-frame').getContext('2d').getImageData(0, 0, 28, 28).data
        .filter((value, at) => at % 4 === 0 && value > 0).length"""
    draw(page, RECORDED["4"])
    both = page.evaluate(inked)
    page.get_by_role("button", name="Undo").click()
    assert 0 < page.evaluate(inked) != both
    page.get_by_role("button", name="Clear").click()
    assert page.evaluate(inked) == 0
    send(page)
    expect(page.locator("#try-error")).to_have_text("Draw a digit first, or take a sample.")


def test_sample_when_asked_for_with_the_keyboard_alone_then_sent_and_answered(page: Page) -> None:
    page.locator("#try-sample").focus()
    page.keyboard.press("Enter")
    note = page.locator("#try-sample-note")
    expect(note).to_have_text(re.compile(r"A sample \d is the input now\."))
    truth = re.findall(r"\d", note.inner_text())[0]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#try-answer")).to_have_text(f"Answer: {truth}")


def test_job_when_nothing_runs_it_then_shown_queued_and_canceled_on_demand(
    page: Page, paused: Callable[[], None]
) -> None:
    draw(page, RECORDED["3"])
    send(page)
    expect(page.locator(".life li[aria-current=step]")).to_contain_text("Queued")
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.locator("#try-answer")).to_have_text("The job was canceled.")
    expect(page.get_by_role("button", name="Cancel this job")).to_be_hidden()
    send(page)
    expect(page.locator("#try-answer")).to_have_text("Queued …")
    paused()
    expect(page.locator("#try-answer")).to_have_text("Answer: 3")


def test_snippets_when_run_as_shown_then_the_same_answer(page: Page) -> None:
    draw(page, RECORDED["5"])
    send(page)
    expect(page.locator("#try-answer")).to_have_text("Answer: 5")
    page.get_by_text("Copy what was just sent").click()
    curl = page.locator("#try-snippet").inner_text()
    done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["labels"] == "5"
    page.get_by_label("Python").check()
    program = page.locator("#try-snippet").inner_text()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "succeeded 5\n"
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#try-copied")).not_to_be_empty()


def served(stack: Stack, name: str) -> None:
    def live() -> bool:
        answer = httpx.get(f"{stack.api_url}/v1/models/{name}", timeout=60)
        return answer.status_code == 200 and answer.json()["versions"][-1]["live_workers"] > 0

    eventually(live, f"a worker serves {name}")


@pytest.mark.parametrize(
    ("name", "proto", "fields"),
    [
        ("pair", onnx_models.two_inputs_two_outputs(), 3),
        ("words", onnx_models.string_input(), 1),
        ("flags", onnx_models.identity("bool"), 1),
        ("free", onnx_models.dynamic_inner_axis(), 1),
    ],
)
def test_form_when_a_model_is_another_then_made_of_its_signature_and_its_example_works(
    stack: Stack, open_page: OpenPage, tmp_path: Path, name: str, proto: object, fields: int
) -> None:
    add_model(stack, onnx_models.save(proto, tmp_path / "m.onnx"), name)  # type: ignore[arg-type]
    served(stack, name)
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option(name)
    expect(page.locator("#try-fields .field")).to_have_count(fields)
    send(page)
    expect(page.locator("#try-answer")).to_have_text("Done.")
    expect(page.locator("#try-scores")).not_to_be_empty()


def test_form_when_a_model_has_no_rows_then_whole_tensors_and_bare_values(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    inputs = (
        TensorSpec(name="x", dtype="float32", shape=(None, 3), batch_axis=None),
        TensorSpec(name="factor", dtype="float32", batch_axis=None),
    )
    outputs = (TensorSpec(name="y", dtype="float32", shape=(None, 3), batch_axis=None),)
    put_by_hand(stack, onnx_models.save(onnx_models.scalar_input(), tmp_path / "m.onnx"), "scaled", inputs, outputs)
    served(stack, "scaled")
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option("scaled")
    expect(page.locator("#try-fields .field")).to_have_count(2)
    page.locator("#try-fields textarea").fill("[[1, 2, 3], [4, 5, 6]]")
    page.get_by_label("factor").fill("2")
    send(page)
    expect(page.locator("#try-answer")).to_have_text("Done.")
    assert json.loads(page.locator("#try-scores pre").inner_text()) == [[2, 4, 6], [8, 10, 12]]


def put_by_hand(
    stack: Stack, file: Path, name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    draft = stack.models_dir / name / ".draft"
    draft.mkdir(parents=True)
    shutil.copy(file, draft / MODEL_FILE)
    made = Manifest(name=name, version="1", inputs=inputs, outputs=outputs, sha256=sha256_of(file))
    assert not made.is_batched
    write_manifest(made, draft)
    draft.rename(stack.models_dir / name / "1")


def test_form_when_a_value_does_not_fit_then_the_words_of_the_api_at_its_place(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    add_model(stack, onnx_models.save(onnx_models.doubled(("N", 20)), tmp_path / "m.onnx"), "twenty")
    served(stack, "twenty")
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option("twenty")
    page.locator("#try-fields textarea").fill('[1, "two"]')
    send(page)
    error = page.locator("#try-error")
    expect(error).to_contain_text("#/input/x")
    page.locator("#try-fields textarea").fill("[1, 2")
    send(page)
    expect(error).to_contain_text("x: this is not JSON")


def test_image_when_dropped_then_the_row_that_a_bulk_worker_makes_of_it(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    how = Preprocess(mode="RGB", size=(5, 7), layout="CHW", scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    add_model(stack, onnx_models.save(onnx_models.doubled(("N", 3, 5, 7)), tmp_path / "m.onnx"), "photo")
    served(stack, "photo")
    say_preprocess(stack.models_dir / "photo" / "1", how)
    eventually(
        lambda: httpx.get(f"{stack.api_url}/v1/models/photo", timeout=60).json()["versions"][0]["inputs"][0][
            "preprocess"
        ],
        "the API knows how images become rows",
    )
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (33, 21, 3), dtype=np.uint8))
    png = io.BytesIO()
    picture.save(png, "PNG")
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option("photo")
    chooser = page.locator("#try-fields input[type=file]")
    chooser.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png.getvalue()})
    expect(page.get_by_text("a.png is the input now.")).to_be_visible()
    made = np.array(json.loads(page.locator("#try-fields textarea").input_value()), np.float32)
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 3, 5, 7), preprocess=how)
    # A grey value may be rounded the other way between the two passes of a resize.
    assert np.abs(made - to_row(picture, spec, how)[0]).max() <= 1.01 / 255 / 0.2
    send(page)
    expect(page.locator("#try-answer")).to_have_text("Done.")
    chooser.set_input_files({"name": "b.gif", "mimeType": "image/gif", "buffer": b"GIF89a"})
    expect(page.get_by_text("b.gif is neither a PNG nor a JPEG image")).to_be_visible()
    chooser.set_input_files({"name": "c.png", "mimeType": "image/png", "buffer": png.getvalue()[:50]})
    expect(page.get_by_text("c.png cannot be decoded")).to_be_visible()


def test_image_when_transparent_or_on_its_side_then_the_pixels_that_a_bulk_worker_sees(
    stack: Stack, open_page: OpenPage, tmp_path: Path
) -> None:
    how = Preprocess(mode="RGB", background=(10, 200, 30))
    add_model(stack, onnx_models.save(onnx_models.doubled(("N", None, None, 3)), tmp_path / "m.onnx"), "any-photo")
    served(stack, "any-photo")
    say_preprocess(stack.models_dir / "any-photo" / "1", how)
    eventually(lambda: all(knows_preprocess(stack) for _ in range(20)), "each API process knows how images become rows")
    rng = np.random.default_rng(2)
    clear, photo, moving = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (5, 8, 4), dtype=np.uint8)).save(clear, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.kron(rng.integers(0, 256, (2, 3, 3)), np.ones((8, 8, 1))).astype(np.uint8)).save(
        photo, "JPEG", quality=100, subsampling=0, exif=exif
    )
    frames = [Image.new("L", (4, 4), level) for level in (0, 200)]
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    page = open_page(stack.api_url)
    page.locator("#try-model").select_option("any-photo")
    chooser = page.locator("#try-fields input[type=file]")
    for name, kind, data in (("a.png", "image/png", clear), ("b.jpg", "image/jpeg", photo)):
        chooser.set_input_files({"name": name, "mimeType": kind, "buffer": data.getvalue()})
        expect(page.get_by_text(f"{name} is the input now.")).to_be_visible()
        made = np.array(json.loads(page.locator("#try-fields textarea").input_value()))
        seen = np.asarray(decode_image(data.getvalue(), how, Limits()))
        assert made.shape == seen.shape
        # Colours under transparency are rounded once more; two decoders of JPEG differ by a level or two.
        assert np.abs(made - seen).max() <= 3
    chooser.set_input_files({"name": "c.png", "mimeType": "image/png", "buffer": moving.getvalue()})
    expect(page.get_by_text("c.png is an animation")).to_be_visible()


def knows_preprocess(stack: Stack) -> bool:
    """Ask on a connection of its own, which any of the API processes may take."""
    shown = httpx.get(f"{stack.api_url}/v1/models/any-photo", timeout=60).json()
    return bool(shown["versions"][0]["inputs"][0]["preprocess"])


def say_preprocess(folder: Path, how: Preprocess) -> None:
    manifest = read_manifest(folder)
    spec = manifest.inputs[0].model_copy(update={"preprocess": how})
    write_manifest(Manifest.model_validate(manifest.model_copy(update={"inputs": (spec,)}).model_dump()), folder)
    assert (folder / MANIFEST_FILE).exists()
