"""The table of what is kept how long, held to the settings and constants."""

import re
from pathlib import Path

from ferry.bulk.files import UPLOAD_MAX_S
from ferry.queue import keys
from ferry.settings import ENV_PREFIX, Settings

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def rows() -> list[tuple[str, str, str]]:
    """Return what, setting and seconds of each row."""
    text = OPERATIONS.read_text("utf-8").partition("### What is kept, and how long")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [(row[0], row[3], row[4]) for row in cells[2:]]


def test_retention_when_a_row_names_a_setting_then_its_default_is_that_of_the_setting() -> None:
    named = {}
    for _, setting, seconds in rows():
        if found := re.search(rf"`{ENV_PREFIX}(\w+)`", setting):
            named[found[1].lower()] = float(seconds)
    assert named == {name: Settings.model_fields[name].default for name in named}
    assert set(named) == {name for name in Settings.model_fields if name.endswith(("_ttl_s", "deadline_s"))}


def test_retention_when_a_row_names_no_setting_then_its_time_is_the_constant() -> None:
    fixed = {what: float(seconds) for what, setting, seconds in rows() if not setting and seconds}
    assert fixed == {
        "parts of a batch": keys.LATE_PARTS_MS / 1000,
        "an upload that never ended": UPLOAD_MAX_S,
        "an input whose submit never came": keys.INPUT_AHEAD_S,
    }
