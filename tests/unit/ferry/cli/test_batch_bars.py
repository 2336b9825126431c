import io
from typing import Any

import httpx
import pytest
from rich.console import Console

from ferry.cli.batch_bars import PLAIN_EVERY_S, Bars, duration, figures_of
from ferry.client_bulk_answers import Batch, read_batch
from tests.fakes.bulk_api import batch_body


def batch(**life: Any) -> Batch:
    return read_batch(httpx.Response(200, json=batch_body(**life)))


class Screen:
    """A console in memory and a clock that moves by hand."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.now_s = 0.0
        self._file = io.StringIO()
        console = Console(file=self._file, force_terminal=is_terminal, width=120, highlight=False)
        self.bars = Bars(console, lambda: self.now_s)

    @property
    def text(self) -> str:
        return self._file.getvalue()


@pytest.mark.parametrize(
    ("life", "text"),
    [
        ({"status": "validating"}, "counting rows"),
        ({"status": "in_progress", "counts": (12_000, 3000, 0)}, "3,000 of 12,000 rows"),
        (
            {"status": "in_progress", "counts": (12_000, 3000, 5), "rate": 1000.0},
            "3,005 of 12,000 rows, 5 failed, 1,000 rows/s, 9.0 s left",
        ),
        ({"status": "completed", "counts": (10, 10, 0), "rate": 5.0}, "10 of 10 rows"),
        ({"status": "cancelled"}, "no rows"),
    ],
)
def test_figures_say_what_is_known(life: dict[str, Any], text: str) -> None:
    assert figures_of(batch(**life)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (304, "5 min 04 s"), (7800, "2 h 10 min")],
)
def test_duration_is_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bytes_when_it_is_no_terminal_then_a_line_every_few_seconds() -> None:
    screen = Screen(is_terminal=False)
    with screen.bars.bytes("uploading", "in[a].csv") as show:
        for n in range(11):
            show(n * 1_000_000, 10_000_000)
            screen.now_s += PLAIN_EVERY_S / 2
    assert screen.text.splitlines() == [
        f"uploading in[a].csv: {n}.0 MB of 10.0 MB" for n in (2, 4, 6, 8)
    ] + ["uploading in[a].csv: 10.0 MB of 10.0 MB"]  # fmt: skip


def test_rows_when_it_is_no_terminal_then_a_new_status_is_said_at_once() -> None:
    screen = Screen(is_terminal=False)
    with screen.bars.rows() as show:
        for status in ("validating", "validating", "in_progress", "in_progress", "finalizing"):
            show(batch(status=status, counts=(10, 4, 0)))
            screen.now_s += 1
    assert screen.text.splitlines() == [
        f"{status}: 4 of 10 rows" for status in ("validating", "in_progress", "finalizing")
    ]


def test_bars_when_it_is_a_terminal_then_bars_are_drawn() -> None:
    screen = Screen(is_terminal=True)
    with screen.bars.bytes("uploading", "in[a].csv") as show:
        show(5_000_000, 10_000_000)
    with screen.bars.rows() as see:
        see(batch(status="validating"))
        see(batch(status="in_progress", counts=(10, 4, 0), rate=2.0))
    assert "uploading in[a].csv" in screen.text
    assert "5.0/10.0 MB" in screen.text
    assert "in_progress" in screen.text
    assert "4 of 10 rows, 2 rows/s, 3.0 s left" in screen.text
