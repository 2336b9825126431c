"""A short chaos run; `make chaos` does long ones."""

from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.run import run


@pytest.mark.timeout(300)
def test_jobs_when_every_part_is_broken_at_random_then_none_is_lost_wrong_or_settled_twice(tmp_path: Path) -> None:
    report = run(n_jobs=2_000, seed=1, folder=tmp_path)
    report.print_to(Console(width=150))
    assert report.violations == []
