"""The sweep and W1 as Markdown tables, each with processor time. Pure functions from JSON to text."""

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Report, dig, median, runs, spread, w1
from benchmarks.tables import CPU_HEAD, cpu_cells, number, table, with_range

HEAD = 64  # clients
_DURABLE = {
    "ferry_always": "nothing",
    "ferry": "at most the last second",
    "ferry_no_aof": "every job that waits or runs",
}  # fmt: skip


def sweep_table(report: Report) -> str:
    """Return for each peer how many settings were tried, the best and the worst."""
    lines = []
    for entry in (report.get("sweep") or {}).values():
        if entry["error"]:
            lines.append((entry["label"], "could not run: " + _first_line(entry["error"]), *[""] * 6))
            continue
        good = sorted((each for each in entry["tries"] if not each["error"]), key=lambda each: -each["per_s"])
        failed = len(entry["tries"]) - len(good)
        tried = f"{len(entry['tries'])}" + (f", {failed} failed" if failed else "")
        if not good:
            lines.append((entry["label"], "every setting failed", tried, *[""] * 5))
            continue
        best, worst = good[0], good[-1]
        cpu = cpu_cells(best["cpu_us_per_job"])
        lines.append((entry["label"], best["label"], tried, number(best["per_s"]), *cpu, worst["label"],
                      number(worst["per_s"])))  # fmt: skip
    return table(("peer", "best setting", "tried", "jobs/s", *CPU_HEAD, "worst setting", "jobs/s"), lines)


def failed_settings(report: Report) -> str:
    """Return the settings that failed, each with its error; empty where none did."""
    return "\n".join(
        f"- {entry['label']}, {each['label']}: {_first_line(each['error'])}"
        for entry in (report.get("sweep") or {}).values()
        for each in entry["tries"]
        if each["error"]
    )


def throughput_table(report: Report) -> str:
    """Return W1: jobs/s of every system, the fastest first, and those that could not run with their error."""
    counts = clients(report)
    lines = []
    for name, entry in ranked(report):
        label = f"{entry['label']} {next(iter(entry['versions'].values()), '')}".strip()
        if entry["error"]:
            missing = "could not run: " + _first_line(entry["error"])
            lines.append((label, entry["setting"], entry["keeps_jobs"], missing, *[""] * (len(counts) + 1)))
            continue
        failed = f" ({len(entry['faults'])} turns failed)" if entry["faults"] else ""
        cells = [_throughput(report, name, count) for count in counts]
        cpu = cpu_cells(w1(report, name, HEAD, "cpu_us_per_job"))
        lines.append((label + failed, entry["setting"], entry["keeps_jobs"], *cells, *cpu))
    head = ("jobs/s", "setting", "jobs after a kill", *(clients_label(each) for each in counts), *CPU_HEAD)
    return table(head, lines)


def latency_table(report: Report) -> str:
    """Return W1: p50 and p99 of every system in ms."""
    counts = clients(report)
    lines = []
    for name, entry in ranked(report):
        if entry["error"]:
            continue
        cells = [_latency(report, name, count) for count in counts]
        lines.append((entry["label"], *cells, *cpu_cells(w1(report, name, HEAD, "cpu_us_per_job"))))
    return table(("p50 / p99 in ms", *(clients_label(each) for each in counts), *CPU_HEAD), lines)


def durability_table(report: Report) -> str:
    """Return what Ferry serves with an fsync before each answer, every second, and with no append-only file."""
    lines = []
    for name, lost in _DURABLE.items():
        entry = dig(report, "w1", name)
        if not entry or entry["error"]:
            continue
        per_s = with_range(spread(runs(report, "w1", name, "runs", str(HEAD), field="per_s")))
        cpu = cpu_cells(w1(report, name, HEAD, "cpu_us_per_job"))
        lines.append((entry["setting"], lost, per_s, _latency(report, name, HEAD), *cpu))
    return table(("Ferry, 64 clients", "lost if the machine dies", "jobs/s", "p50 / p99 in ms", *CPU_HEAD), lines)


def clients(report: Report) -> list[int]:
    """Return the numbers of clients that were measured."""
    return sorted({int(count) for entry in (report.get("w1") or {}).values() for count in entry["runs"]})


def clients_label(count: int) -> str:
    """Return "1 client", "16 clients"."""
    return f"{count} client" if count == 1 else f"{count} clients"


def ranked(report: Report) -> list[tuple[str, Mapping[str, Any]]]:
    """Return W1's systems, the fastest at 64 clients first."""
    return sorted((report.get("w1") or {}).items(), key=lambda item: -(w1(report, item[0], HEAD) or 0.0))


def _throughput(report: Report, name: str, count: int) -> str:
    path = ("w1", name, "runs", str(count))
    errors = sum(runs(report, *path, field="errors"))
    shown = with_range(spread(runs(report, *path, field="per_s")))
    return f"{shown}, **{errors:,.0f} errors**" if errors else shown


def _latency(report: Report, name: str, count: int) -> str:
    p50, p99 = (median(report, "w1", name, "runs", str(count), field=field) for field in ("p50_ms", "p99_ms"))
    return f"{number(p50, 1)} / {number(p99, 1)}"


def _first_line(error: str) -> str:
    return error.splitlines()[0]
