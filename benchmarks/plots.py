"""A report as SVG plots. Knows nothing of the page they stand on."""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.figures import Report, dig, median, runs, spread

# Readable on a white and on a dark page: GitHub shows an SVG on either.
OURS, PEERS, NEUTRAL = "#1f6feb", "#8b949e", "#57606a"
SIZE = (8.0, 4.0)
mpl.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "ferry", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "figure.facecolor": "white", "savefig.facecolor": "white",
})  # fmt: skip


def draw(report: Report, folder: Path) -> list[Path]:
    """Write every plot there is data for; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"w1": _throughput, "w2": _open_loop, "w5": _scale}
    paths = []
    for name, make in plots.items():
        if not report.get(name):
            continue
        figure = make(report)
        path = folder / f"{name}.svg"
        # No date in the file: the same figures give the same bytes.
        figure.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight")
        plt.close(figure)
        paths.append(path)
    return paths


def _throughput(report: Report) -> Figure:
    found = {
        entry["label"]: (spread(runs(report, "w1", name, "runs", "64", field="per_s")), name.startswith("ferry"))
        for name, entry in report["w1"].items()
        if not entry["error"]
    }
    kept = sorted(
        ((each, label, ours) for label, (each, ours) in found.items() if each), key=lambda item: item[0].median
    )
    figure, axes = plt.subplots(figsize=SIZE)
    values = [each.median for each, _, _ in kept]
    errors = [[each.median - each.least for each, _, _ in kept], [each.most - each.median for each, _, _ in kept]]
    colours = [OURS if ours else PEERS for _, _, ours in kept]
    drawn = axes.barh([label for _, label, _ in kept], values, xerr=errors, color=colours, ecolor=NEUTRAL)
    axes.bar_label(drawn, [f"{value:,.0f}" for value in values], padding=6)
    axes.set_xlabel("jobs/s at 64 clients, one row a job: median and range")
    axes.margins(x=0.15)
    return figure


def _open_loop(report: Report) -> Figure:
    shares = list(dig(report, "w2", "shares") or {})
    figure, axes = plt.subplots(figsize=SIZE)
    for field, label, style in (("p50_ms", "p50", "-o"), ("p99_ms", "p99", "--s"), ("p999_ms", "p99.9", ":^")):
        values = [median(report, "w2", "shares", share, field=field) for share in shares]
        axes.plot([int(share) for share in shares], values, style, color=OURS, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("load, % of W1's capacity (open loop, submit then poll)")
    axes.set_ylabel("ms from the intended send time")
    axes.legend(frameon=False)
    return figure


def _scale(report: Report) -> Figure:
    workers = [int(each) for each in report["w5"]["workers"]]
    device = report["w5"]["device_jobs_per_s"]
    figure, axes = plt.subplots(figsize=SIZE)
    axes.plot(workers, [device * each for each in workers], "--", color=NEUTRAL, label="the devices alone")
    measured = [report["w5"]["workers"][str(each)]["per_s"] for each in workers]
    axes.plot(workers, measured, "-o", color=OURS, label="Ferry")
    axes.set_xticks(workers)
    axes.set_xlabel("workers, each with a device of 20 ms a batch of 8")
    axes.set_ylabel("jobs/s")
    axes.legend(frameon=False)
    return figure
