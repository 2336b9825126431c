"""A report as Markdown tables. Pure functions from JSON to text."""

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.bars import Bar, bars
from benchmarks.figures import Report, Spread, dig, median, per_core_s, runs, spread
from benchmarks.reports import Source

MISSING = "-"
CPU_HEAD = ("CPU µs a job", "jobs per core-second")


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table; every column but the first is set to the right."""
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separated."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def with_range(found: Spread | None, digits: int = 0) -> str:
    """Return median (least to most), the median alone where nothing was repeated."""
    if found is None or found.least == found.most:
        return number(found and found.median, digits)
    return f"{number(found.median, digits)} ({number(found.least, digits)} to {number(found.most, digits)})"


def cpu_cells(us_per_job: float | None) -> tuple[str, str]:
    """Return processor time a job, and jobs per second of it: the two last columns of a table."""
    return number(us_per_job), number(per_core_s(us_per_job))


def bars_table(sources: Sequence[Source]) -> str:
    """Return each goal, computed from the last run that measured all that it needs, and from that run alone."""
    found: dict[str, tuple[str, Bar]] = {}
    for source in sources:
        for bar in bars(source.report):
            if bar.what not in found or (found[bar.what][1].measured is None and bar.measured is not None):
                found[bar.what] = (source.day, bar)
    lines = [(*_bar_line(bar), MISSING if bar.measured is None else day) for day, bar in found.values()]
    return table(("bar", "limit", "measured", "met", "moonshot", "met", "run"), lines)


def _bar_line(bar: Bar) -> tuple[str, ...]:
    words = {True: "yes", False: "no", None: MISSING}
    digits = 0 if bar.unit == "jobs" else 2
    return (
        bar.what,
        MISSING if bar.limit is None else f"{bar.sign} {bar.limit:g} {bar.unit}",
        MISSING if bar.measured is None else f"{number(bar.measured, digits)} {bar.unit}",
        words[bar.is_met],
        MISSING if bar.moonshot is None else f"{bar.sign} {bar.moonshot:g}",
        words[bar.is_moonshot_met],
    )


def open_loop_table(report: Report) -> str:
    """Return W2."""
    fields = (("p50_ms", 1), ("p99_ms", 1), ("p999_ms", 1), ("sender_lag_p99_ms", 1))
    lines = []
    for share in dig(report, "w2", "shares") or {}:
        path = ("w2", "shares", share)
        figures = [number(median(report, *path, field=field), digits) for field, digits in fields]
        counts = [number(sum(runs(report, *path, field=field))) for field in ("lost", "refused", "failed")]
        cpu = cpu_cells(median(report, *path, field="cpu_us_per_job"))
        lines.append((f"{share} %", number(median(report, *path, field="rate")), *figures, *counts, *cpu))
    head = (
        "load", "jobs/s", "p50 ms", "p99 ms", "p99.9 ms", "sender's lag p99", "lost", "refused", "failed", *CPU_HEAD,
    )  # fmt: skip
    return table(head, lines)


def rows_table(report: Report) -> str:
    """Return W3 beside the bare model."""
    lines = []
    for n_rows in ("1", "8", "64", "512"):
        bare = median(report, "w6", "session_run", n_rows)
        cells = [n_rows]
        for form in ("json", "binary"):
            is_missing = form == "binary" and dig(report, "w3", "binary_state") == "not built"
            found = spread(runs(report, "w3", form, n_rows, field="rows_per_s"))
            cells.append("not built" if is_missing else with_range(found))
            cells += cpu_cells(median(report, "w3", form, n_rows, field="cpu_us_per_job"))
        lines.append((*cells, number(bare)))
    head = ("rows a request", "JSON, rows/s", *CPU_HEAD, "binary, rows/s", *CPU_HEAD, "bare session.run, rows/s")
    return table(head, lines)


def heavy_table(report: Report) -> str:
    """Return W4, or why there is none."""
    if skipped := dig(report, "w4", "skipped"):
        return f"Not measured: {skipped}"
    sweep = dig(report, "w4", "sweep") or {}
    none = (MISSING, MISSING)
    lines = [(f"bare, batches of {n}", number(per_s, 2), *none) for n, per_s in sweep.items()]
    best = dig(report, "w4", "best_batch")
    bare = with_range(spread(runs(report, "w4", "bare_per_s")), 2)
    lines.append((f"bare, batches of {best}, beside Ferry", bare, *none))
    ours = with_range(spread(runs(report, "w4", "ferry", field="per_s")), 2)
    lines.append(
        ("Ferry, one image a request", ours, *cpu_cells(median(report, "w4", "ferry", field="cpu_us_per_job")))
    )
    return table(("ResNet-50", "images/s", *CPU_HEAD), lines)


def scale_table(report: Report) -> str:
    """Return W5."""
    device, one = dig(report, "w5", "device_jobs_per_s"), dig(report, "w5", "workers", "1", "per_s")
    lines = []
    for n_workers, run in (dig(report, "w5", "workers") or {}).items():
        count = int(n_workers)
        of_linear = number(run["per_s"] / (one * count), 3) if one else MISSING
        of_device = number(run["per_s"] / (device * count), 3)
        lines.append((n_workers, number(run["per_s"]), of_linear, of_device, number(run["first_second_per_s"])))
    return table(("workers", "jobs/s", "of linear", "of the devices", "jobs/s in the first second"), lines)


def choice_table(report: Report) -> str:
    """Return W7: what a worker chose by itself, and what that is worth beside the best of the sweep."""
    lines = []
    for name, found in (report.get("w7") or {}).items():
        if skipped := found.get("skipped"):
            lines.append((name, f"not measured: {skipped}", "", "", "", ""))
            continue
        sweep = {size: statistics.median(each) for size, each in found["sweep"].items()}
        best = max(sweep, key=lambda size: sweep[size])
        for choice in sorted({(each["max_rows"], each["max_wait_ms"]) for each in found["chosen"]}):
            rows, wait_ms = choice
            share = number(sweep[str(rows)] / sweep[best], 3) if str(rows) in sweep else MISSING
            times = sum((each["max_rows"], each["max_wait_ms"]) == choice for each in found["chosen"])
            shown = f"{rows} rows, {wait_ms:g} ms wait ({times} of {len(found['chosen'])})"
            lines.append((name, shown, number(sweep.get(str(rows))), best, number(sweep[best]), share))
    return table(("network", "chosen", "rows/s there", "best of the sweep", "rows/s there", "share of the best"), lines)


def microseconds_table(report: Report) -> str:
    """Return W8."""
    parts = dig(report, "w8", "processes") or {}
    lines = [(f"process: {name}", with_range(spread(found), 1)) for name, found in parts.items()]
    lines += [(name, number(us, 2)) for name, us in (dig(report, "w8", "steps") or {}).items()]
    return table(("where", "µs a job"), lines)


def limits_table(report: Report) -> str:
    """Return W6."""
    lines = [
        (f"bare session.run, {n} rows a run, rows/s", with_range(spread(found)))
        for n, found in (dig(report, "w6", "session_run") or {}).items()
    ]
    lines.append(
        ("empty FastAPI route, 64 clients, requests/s", with_range(spread(runs(report, "w6", "http", field="per_s"))))
    )
    for name, label in (("defaults", "Celery's defaults"), ("no_ack_emulation", "without acknowledgements")):
        for field in ("p50_ms", "p99_ms"):
            found = spread(runs(report, "w6", "celery", name, field=field))
            lines.append((f"empty Celery round trip, {label}, {field[:3]} ms", with_range(found, 2)))
    for name, label in (("ping", "PING"), ("set_row", "SET of a row (3,136 bytes)"), ("get_row", "GET of a row")):
        found = spread(runs(report, "w6", "redis", name))
        lines.append((f"Redis, {label}, 64 in a pipeline, commands/s", with_range(found)))
    return table(("limit", "median (range)"), lines)
