"""`python -m benchmarks.page FILE.json` writes docs/benchmarks.md and its plots from a report.

Text between the two marks is written anew each time; what stands outside them is kept.
"""

import json
import sys
from pathlib import Path

from benchmarks import tables
from benchmarks.figures import Report
from benchmarks.places import DOCS
from benchmarks.plots import draw

BEGIN, END = "<!-- figures: begin (written by make bench) -->", "<!-- figures: end -->"
PLOTS = "benchmarks"  # folder beside the page
W1 = """\
## W1: one row a request, submitted and waited for in one call

Median (range) of {repeats} alternated turns of {seconds:g} s. Each system serves the same ONNX file with one
onnxruntime thread in one model process, batches of up to 64, and gets the same 784 floats as JSON from wrk; each first
had to name 20 sample digits rightly. Ferry is all of `ferry up` with one worker: API, worker, Redis with AOF everysec,
Flower.
"""


def render(report: Report, results: str) -> str:
    """Return the text between the marks."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    dirty = "" if report.get("is_clean", True) else " with changes"
    wall = ", ".join(f"{name.upper()} {seconds:,.0f} s" for name, seconds in report.get("wall_s", {}).items())
    parts = [
        f"{report['date'][:10]}, commit {report['commit']}{dirty}; {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}; {versions}. Load before the run: {machine['load_before']}. "
        f"Raw figures: [{results}](../benchmarks/results/{results}). "
        f"Wall time: {sum(report.get('wall_s', {}).values()):,.0f} s ({wall}).",
        "Everything ran on the same two cores, the load generator included.",
        "## Bars\n\n" + tables.bars_table(report),
    ]
    w1 = W1.format(repeats=report["plan"]["repeats"], seconds=report["plan"]["seconds"])
    parts.append(f"{w1}\n![jobs per second]({PLOTS}/w1.svg)\n\n{tables.throughput_table(report)}\n\n"
                 f"{tables.latency_table(report)}")  # fmt: skip
    parts += _others(report)
    return "\n\n".join(parts) + "\n"


def _others(report: Report) -> list[str]:
    sections = {
        "w2": (
            "## W2: submit, then poll, in an open loop\n\nJobs leave at their intended times, whatever the answers "
            "take, and each is polled with `?wait`: two requests a job where W1 has one. The load is a share of W1's "
            "capacity at 64 clients.\n\n"
            f"![latency by load]({PLOTS}/w2.svg)",
            tables.open_loop_table,
        ),
        "w3": ("## W3: rows per request\n\n16 clients.", tables.rows_table),
        "w4": ("## W4: a heavy model", tables.heavy_table),
        "w5": (
            "## W5: more workers\n\nA stand-in device takes 20 ms a batch of up to 8 jobs and no CPU; the backlog "
            f"stood before the workers started.\n\n![jobs per second by workers]({PLOTS}/w5.svg)",
            tables.scale_table,
        ),
        "w6": ("## W6: the parts by themselves", tables.limits_table),
        "w7": (
            "## W7: the batch size a worker chooses\n\nChosen with no configuration, in the second after the model is "
            "loaded, beside a sweep by hand of bare `session.run` that also tries sizes between.",
            tables.choice_table,
        ),
        "w8": (
            "## W8: where a job's microseconds go\n\nW1 at 64 clients, processor time by process; then single steps by "
            "themselves, best of repeats, caches warm.",
            tables.microseconds_table,
        ),
    }
    return [f"{text}\n\n{make(report)}" for name, (text, make) in sections.items() if report.get(name)]


def write(source: Path) -> Path:
    """Write the page and its plots; returns the page."""
    report = json.loads(source.read_text())
    page = DOCS / "benchmarks.md"
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{page} has lost its marks {BEGIN!r} and {END!r}")
    draw(report, DOCS / PLOTS)
    page.write_text(f"{before}{BEGIN}\n\n{render(report, source.name)}\n{END}{after}")
    return page


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
