"""Medians and ranges out of a report's raw runs. Pure functions; a figure that was not taken is None."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest value of the repeats."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread | None:
    """Return the median and the range of some repeats; None when there are none."""
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def dig(report: Any, *path: str) -> Any:
    """Return what stands at a path of keys, or None."""
    for key in path:
        if not isinstance(report, Mapping) or key not in report:
            return None
        report = report[key]
    return report


def runs(report: Report, *path: str, field: str = "") -> list[float]:
    """Return the repeats at a path, or one field of each; none where nothing was measured."""
    found = dig(report, *path) or []
    return [run[field] for run in found if field in run] if field else list(found)


def median(report: Report, *path: str, field: str = "") -> float | None:
    """Return the median of the repeats at a path."""
    found = spread(runs(report, *path, field=field))
    return found.median if found else None


def w1(report: Report, system: str, clients: int, field: str = "per_s") -> float | None:
    """Return a figure of W1; None for a system that could not be measured."""
    return (
        None if dig(report, "w1", system, "error") else median(report, "w1", system, "runs", str(clients), field=field)
    )


def ratio(above: float | None, below: float | None) -> float | None:
    """Return a quotient, or None where either part is missing."""
    return above / below if above is not None and below else None


def per_core_s(us_per_job: float | None) -> float | None:
    """Return jobs per second of processor time, from microseconds a job."""
    return 1e6 / us_per_job if us_per_job else None


def others_cores(found: Any) -> float | None:
    """Return the median of what other programs used during the runs below, in cores; None where that was not taken."""
    seen = spread(list(_each(found, "others_cores")))
    return seen.median if seen else None


def _each(found: Any, field: str) -> Iterator[float]:
    """Yield a field of every object below that has it."""
    if isinstance(found, Mapping):
        if field in found:
            yield found[field]
        for each in found.values():
            yield from _each(each, field)
    elif isinstance(found, list):
        for each in found:
            yield from _each(each, field)
