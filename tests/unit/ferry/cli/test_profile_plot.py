from ferry.cli.profile_plot import BAR_COLUMNS, draw_profile
from ferry.profile import BatchLimits
from tests.manifests import profile

PROFILE = profile(sizes=(1, 8, 64), microseconds=(20.0, 80.0, 320.0), a_us=16.0, b_us=4.75)


def test_draw_profile_when_drawn_then_a_bar_a_size_and_the_one_in_force_marked() -> None:
    lines = draw_profile(PROFILE, BatchLimits(64, 0.0), is_utf8=True)
    assert lines[:4] == [
        "rows     run   rows/s",
        "   1   20 us   50,000  " + "█" * 10,
        "   8   80 us  100,000  " + "█" * 20,
        "  64  320 us  200,000  " + "█" * BAR_COLUMNS + " <- in force",
    ]
    assert lines[4:] == ["fit: 16 us + 4.75 us a row", "measured 2026-01-01T00:00:00+00:00 on a test"]


def test_draw_profile_when_the_terminal_has_no_blocks_then_hashes() -> None:
    text = "\n".join(draw_profile(PROFILE, BatchLimits(5, 0.0), is_utf8=False))
    assert text.isascii()
    assert "#" * BAR_COLUMNS in text
    assert "in force" not in text


def test_draw_profile_when_axes_are_free_then_it_says_at_which_size_and_long_runs_in_ms() -> None:
    slow = profile(sizes=(1,), microseconds=(2500.0,), a_us=0.0, b_us=2500.0, free_axis_size=64)
    lines = draw_profile(slow, BatchLimits(1, 0.0), is_utf8=True)
    assert "2.5 ms" in lines[1]
    assert lines[2] == "fit: 0 us + 2.5 ms a row, free axes at 64"
