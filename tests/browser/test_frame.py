"""MNIST's frame: a digit drawn anywhere, in any size, becomes the field that the data set would have of it."""

from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from tests.browser.strokes import OTHERS, RECORDED, Stroke
from tests.e2e.conftest import Stack

# Where MNIST's own centres of mass are: 14.5 from the first pixel's corner, within 0.3 (1,000 digits that ship).
CENTRE = 14.5
FRAME = "async (strokes) => Array.from((await import('/static/frame.js')).frameDigit(strokes))"


def framed(page: Page, strokes: list[Stroke]) -> np.ndarray:
    points = [[{"x": x, "y": y} for x, y in stroke] for stroke in strokes]
    return np.array(page.evaluate(FRAME, points), np.float32).reshape(28, 28)


def moved(strokes: list[Stroke], scale: float, x: float, y: float) -> list[Stroke]:
    return [[(scale * px + x, scale * py + y) for px, py in stroke] for stroke in strokes]


@pytest.mark.parametrize("digit", RECORDED)
def test_frame_when_a_digit_is_smaller_and_elsewhere_then_the_same_field(page: Page, digit: str) -> None:
    whole = framed(page, RECORDED[digit])
    small = framed(page, moved(RECORDED[digit], 0.21, 3, -1))
    assert np.allclose(whole, small, atol=1e-4)
    ys, xs = np.mgrid[:28, :28] + 0.5
    assert (whole * xs).sum() / whole.sum() == pytest.approx(CENTRE, abs=0.3)
    assert (whole * ys).sum() / whole.sum() == pytest.approx(CENTRE, abs=0.3)
    inked = np.argwhere(whole >= 0.5)
    sides = np.ptp(inked, axis=0) + 1
    assert 18 <= sides.max() <= 21
    assert (whole.min(), whole.max()) == (0, 1)


def test_frame_when_there_is_one_point_or_none_then_a_dot_in_the_middle_or_nothing(page: Page) -> None:
    dot = framed(page, [[(0.9, 0.1)]])
    assert 0 < dot.sum() < 12
    assert dot[13:16, 13:16].max() == 1
    assert page.evaluate("async () => (await import('/static/frame.js')).frameDigit([])") is None


def test_frame_when_hands_are_unlike_the_recorded_then_the_model_reads_them(page: Page, stack: Stack) -> None:
    fields = [framed(page, strokes) for _, _, strokes in OTHERS]
    answer = asked(stack, fields)
    for (digit, how, _), label, scores in zip(OTHERS, answer["labels"], answer["output"]["probabilities"], strict=True):
        print(f"{digit} {how}: {label}, {scores[int(digit)]:.3f} for {digit}")
    right = sum(digit == label for (digit, _, _), label in zip(OTHERS, answer["labels"], strict=True))
    plain = asked(stack, [shrunk(strokes) for _, _, strokes in OTHERS])["labels"]
    lost = [f"{digit} {how} as {label}" for (digit, how, _), label in zip(OTHERS, plain, strict=True) if label != digit]
    print(f"{right} of {len(OTHERS)} right; the sheet just shrunk: {len(OTHERS) - len(lost)}, read wrongly: {lost}")
    assert right >= 18
    assert len(OTHERS) - len(lost) < right


def asked(stack: Stack, fields: list[np.ndarray]) -> dict[str, Any]:
    body = {"version": "mnist", "input": {"x": np.stack(fields).tolist()}}
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        return client.post("/v1/predictions", json=body, headers={"Prefer": "wait"}).json()


def shrunk(strokes: list[Stroke], *, size: int = 560, pen: float = 0.075) -> np.ndarray:
    """Return the sheet at 28 x 28 as it is drawn, brought to no frame."""
    sheet = Image.new("L", (size, size))
    ink, radius = ImageDraw.Draw(sheet), pen * size / 2
    for stroke in strokes:
        points = [(x * size, y * size) for x, y in stroke]
        ink.line(points, fill=255, width=int(2 * radius))
        for x, y in points:
            ink.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(sheet.resize((28, 28), Image.Resampling.BILINEAR)) / 255
