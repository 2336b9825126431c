"""`python -m benchmarks.bulk.tables FILE.json` prints a report as Markdown. Pure functions from JSON to text."""

import json
import sys
from pathlib import Path

from benchmarks.bars import Bar
from benchmarks.bulk.bars import (
    CASE_BARS,
    SCRIPTS,
    bars,
    bulk_ratio,
    load_share,
    p99_ratio,
    peer_per_s,
    plain_per_s,
)
from benchmarks.bulk.peer_jobs import LABELS
from benchmarks.figures import Report, dig, median, ratio, runs, spread
from benchmarks.tables import MISSING, number, table, with_range


def bars_table(report: Report) -> str:
    """Return what has to be cleared and what was."""
    return table(("bar", "limit", "measured", "met", "moonshot", "met"), [_bar_line(bar) for bar in bars(report)])


def _bar_line(bar: Bar) -> tuple[str, ...]:
    words = {True: "yes", False: "no", None: MISSING}
    digits = 0 if bar.unit == "jobs" else 2
    return (
        bar.what,
        f"{bar.sign} {bar.limit:g} {bar.unit}",
        MISSING if bar.measured is None else f"{number(bar.measured, digits)} {bar.unit}",
        words[bar.is_met],
        MISSING if bar.moonshot is None else f"{bar.sign} {bar.moonshot:g}",
        words[bar.is_moonshot_met],
    )


def rates_table(report: Report) -> str:
    """Return rows/s of the plain scripts and of Ferry, and Ferry's other steps beside."""
    lines = []
    for case, (label, _) in CASE_BARS.items():
        if skipped := dig(report, case, "skipped") or dig(report, case, "error"):
            lines.append((label, f"not measured: {skipped.splitlines()[0]}", "", "", "", "", "", "", ""))
        if not dig(report, case, "ferry"):
            continue
        whole = median(report, case, "ferry", field="whole_rows_per_s")
        for script in sorted(dig(report, case, "scripts")):
            plain = plain_per_s(report, case, script)
            lines.append(
                (
                    f"{label}, {number(dig(report, case, 'rows'))} rows", SCRIPTS[script],
                    with_range(spread(runs(report, case, "scripts", script, field="rows_per_s"))),
                    with_range(spread(runs(report, case, "ferry", field="rows_per_s"))),
                    number(ratio(median(report, case, "ferry", field="rows_per_s"), plain), 2),
                    number(median(report, case, "ferry", field="index_s"), 2),
                    number(median(report, case, "ferry", field="assemble_s"), 2),
                    number(whole), number(ratio(whole, plain), 2),
                )
            )  # fmt: skip
    head = (
        "file", "beside", "their rows/s", "Ferry, rows/s", "share", "index, s", "assembly, s",
        "with both, rows/s", "share",
    )  # fmt: skip
    return table(head, lines)


def peers_table(report: Report) -> str:
    """Return the peers beside Ferry on the same JSONL."""
    case = "jsonl_mlp"
    ours = median(report, case, "ferry", field="rows_per_s")
    whole_ours = median(report, case, "ferry", field="whole_rows_per_s")
    lines = [("Ferry", with_range(spread(runs(report, case, "ferry", field="rows_per_s"))), number(whole_ours), "", "")]
    for peer, label in LABELS.items():
        if error := dig(report, case, "peers", peer, "error"):
            lines.append((label, f"could not run: {error.splitlines()[0]}", "", "", ""))
            continue
        whole = median(report, case, "peers", peer, "runs", field="job_rows_per_s")
        per_s = peer_per_s(report, case, peer)
        lines.append(
            (label, number(per_s), number(whole), number(ratio(ours, per_s), 2), number(ratio(whole_ours, whole), 2))
        )
    return table(("JSONL", "rows/s", "its whole job, rows/s", "Ferry beside it", "whole beside whole"), lines)


def interactive_table(report: Report) -> str:
    """Return each repeat of interactive jobs alone and beside bulk."""
    if skipped := dig(report, "interactive", "skipped") or dig(report, "interactive", "error"):
        return f"Not measured: {skipped.splitlines()[0]}"
    cores = dig(report, "interactive", "cores")
    lines = [
        (
            number(each["alone"]["rate"]), number(each["alone"]["p50_ms"], 1), number(each["alone"]["p99_ms"], 1),
            number(each["beside"]["p50_ms"], 1), number(each["beside"]["p99_ms"], 1), number(p99_ratio(each), 2),
            number(load_share(each, cores) * 100), number(each["bulk_alone_per_s"]),
            number(each["bulk_beside_per_s"]), number(bulk_ratio(each, cores), 2),
            number(each["beside"]["sender_lag_p99_ms"], 1),
        )
        for each in dig(report, "interactive", "repeats") or []
    ]  # fmt: skip
    head = (
        "jobs/s", "p50 alone, ms", "p99 alone, ms", "p50 beside bulk", "p99 beside bulk", "p99 ratio",
        "load, % of the machine", "bulk alone, rows/s", "bulk beside it", "of what is left", "sender's lag p99, ms",
    )  # fmt: skip
    return table(head, lines)


def memory_table(report: Report) -> str:
    """Return what the parts grew by."""
    if error := dig(report, "memory", "error"):
        return f"Not measured: {error.splitlines()[0]}"
    lines = [
        (
            part, number(each["processes"]), number(each["before_mb"]), number(each["grew_mb"], 1),
            number(each["grew_most_mb"], 1),
        )
        for part, each in (dig(report, "memory", "parts") or {}).items()
    ]  # fmt: skip
    return table(("part", "processes", "before, MB", "grew together, MB", "one process's peak, MB more"), lines)


def formats_table(report: Report) -> str:
    """Return what became of the test digits in each format."""
    if error := dig(report, "formats", "error"):
        return f"Not measured: {error.splitlines()[0]}"
    lines = [
        (kind, f"failed: {each['error'].splitlines()[-1]}", "", "", "", "")
        if "error" in each
        else (
            kind, number(each["rows"]), number(each["accuracy"] * 100, 2), f"{each['farthest']:.1e}",
            number(each["wall_s"], 2), each["said"].rpartition("(")[2].rstrip(")"),
        )
        for kind, each in (dig(report, "formats", "formats") or {}).items()
    ]  # fmt: skip
    head = ("format", "rows out", "accuracy, %", "farthest from direct runs", "wall time, s", "rows/s of the batch")
    return table(head, lines)


def render(report: Report) -> str:
    """Return every table that has figures."""
    parts = ["### Bars\n\n" + bars_table(report), "### Rows a second\n\n" + rates_table(report)]
    if dig(report, "jsonl_mlp", "peers"):
        parts.append("### The same JSONL by others\n\n" + peers_table(report))
    if dig(report, "formats"):
        parts.append("### `ferry batch run` on the test digits\n\n" + formats_table(report))
    if dig(report, "interactive"):
        parts.append("### Interactive jobs beside bulk\n\n" + interactive_table(report))
    if dig(report, "memory"):
        parts.append("### Memory\n\n" + memory_table(report))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(render(json.loads(Path(sys.argv[1]).read_text())))
