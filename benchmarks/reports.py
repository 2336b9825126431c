"""The committed result files: which run of a workload is the last. Knows nothing of what the figures mean."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Report
from benchmarks.places import RESULTS

_DAYS = "????-??-??.json"  # one file a day; other tools write files with longer names


@dataclass(frozen=True, slots=True)
class Source:
    """A report and the name of its file."""

    name: str
    report: Report

    @property
    def day(self) -> str:
        """The day of its run."""
        return self.name.removesuffix(".json")


def sources(folder: Path = RESULTS) -> list[Source]:
    """Return every run of `make bench`, the last first."""
    return [Source(path.name, json.loads(path.read_text())) for path in sorted(folder.glob(_DAYS), reverse=True)]


def last_with(found: Sequence[Source], *steps: str) -> Source | None:
    """Return the last run that measured these workloads, all in the one run."""
    return next((source for source in found if all(source.report.get(step) for step in steps)), None)


def last_w1(found: Sequence[Source]) -> Source | None:
    """Return the last run of W1 with peers at settings that the same run's sweep chose."""
    return last_with(found, "sweep", "w1")
