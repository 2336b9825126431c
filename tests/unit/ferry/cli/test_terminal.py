import io

import numpy as np
import pytest

from ferry.cli.terminal import draw_digit, has_utf8, side_by_side


@pytest.fixture
def digit() -> np.ndarray:
    """A 28 x 28 picture with ink in its second line of text: a pair of pixels of each kind."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[2, 3] = 255  # upper
    pixels[3, 4] = 255  # lower
    pixels[2:4, 5] = 255  # both
    return pixels


def test_draw_uses_a_half_block_per_pixel(digit: np.ndarray) -> None:
    lines = draw_digit(digit, is_utf8=True)
    assert lines[1] == " ▀▄█" + " " * 20
    assert [len(line) for line in lines] == [24] * 14
    assert set("".join(lines[2:])) == {" "}


def test_draw_without_utf8_uses_ascii_alone(digit: np.ndarray) -> None:
    lines = draw_digit(digit, is_utf8=False)
    assert lines[1] == " ::#" + " " * 20
    assert all(line.isascii() for line in lines)
    assert [len(line) for line in lines] == [24] * 14


@pytest.mark.parametrize("is_utf8", [True, False])
@pytest.mark.parametrize("value", [0, 255])
def test_draw_when_all_is_paper_or_all_is_ink_shows_it(value: int, is_utf8: bool) -> None:
    lines = draw_digit(np.full((28, 28), value, np.uint8), is_utf8=is_utf8)
    expected = " " if value == 0 else ("█" if is_utf8 else "#")
    assert set("".join(lines)) == {expected}


def test_side_by_side_puts_captions_under_the_pictures() -> None:
    lines = side_by_side([["##", "##"], ["..", ".."]], ["one", "2"])
    assert lines == ["##    ..", "##    ..", "one   2"]


def test_three_digits_side_by_side_fit_80_columns(digit: np.ndarray) -> None:
    picture = draw_digit(np.full((28, 28), 255, np.uint8), is_utf8=True)
    lines = side_by_side([picture] * 3, ["read as 7 (100.0%), is 1"] * 3)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False)]
)
def test_has_utf8_reads_the_encoding_of_the_stream(encoding: str, expected: bool) -> None:
    assert has_utf8(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is expected


def test_has_utf8_when_the_stream_has_no_encoding_says_no() -> None:
    assert not has_utf8(io.StringIO())
