"""The figures of docs/benchmarks.md as Markdown, each workload from the last run that measured it.

Knows the page's words; nothing of files, nothing of plots but their names.
"""

from collections.abc import Callable, Sequence

from benchmarks import headline, tables, w1_tables
from benchmarks.figures import Report, others_cores
from benchmarks.reports import Source, last_w1, last_with

PLOTS = "benchmarks"  # folder beside the page
BARS = """\
## Team goals

What the team set out to reach, each computed within one run; the peers are at their best settings."""
SWEEP = """\
## The sweep of the peers' settings

Before W1 every peer ran once with each of its settings: its processes (one to as many as there are cores), its timer,
its JSON library; {sweep_s:g} s of 64 clients each. The setting with most jobs/s is kept and used below."""
W1 = """\
## W1: one row a request, submitted and waited for in one call

Median (range) of {repeats} alternated turns of {seconds:g} s. Each system serves the same ONNX file with one
onnxruntime thread a model process, batches of up to 64, and gets the same 784 floats as JSON from wrk; each first had
to name 20 sample digits rightly. Ferry is all of `ferry up` with one worker: API, worker, Redis, Flower. Processor time
is that of all processes of the system with 64 clients.

![jobs per second](benchmarks/w1.svg)"""
DURABILITY = """\
### What durability costs

The same Ferry in the same run with another `appendfsync`. In each case a killed worker or API process loses nothing."""
_OTHERS: dict[str, tuple[str, Callable[[Report], str]]] = {
    "w2": (
        "## W2: submit, then poll, in an open loop\n\nJobs leave at their intended times, whatever the answers "
        "take, and each is polled with `?wait`: two requests a job where W1 has one. The load is a share of W1's "
        f"capacity at 64 clients.\n\n![latency by load]({PLOTS}/w2.svg)",
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
}  # fmt: skip


def render(sources: Sequence[Source]) -> str:
    """Return everything between the page's marks; `sources` are the runs, the last first."""
    parts = [f"{BARS}\n\n{tables.bars_table(sources)}"]
    if source := last_w1(sources):
        parts += [*_sweep(source), *_waiting(source)]
    for step, (text, make) in _OTHERS.items():
        if source := last_with(sources, step):
            parts.append(f"{text}\n\n{provenance(source, step)}\n\n{make(source.report)}")
    return "\n\n".join(parts) + "\n"


def _sweep(source: Source) -> list[str]:
    failed = w1_tables.failed_settings(source.report)
    return [
        SWEEP.format(**source.report["taken"]["sweep"]["plan"]), provenance(source, "sweep"),
        w1_tables.sweep_table(source.report), *([f"Settings that failed:\n\n{failed}"] if failed else []),
    ]  # fmt: skip


def _waiting(source: Source) -> list[str]:
    report = source.report
    verdict = headline.verdict(report)
    return [
        W1.format(**report["taken"]["w1"]["plan"]), *([f"With 64 clients: {verdict}"] if verdict else []),
        provenance(source, "w1"), w1_tables.throughput_table(report), w1_tables.latency_table(report),
        DURABILITY, w1_tables.durability_table(report),
    ]  # fmt: skip


def provenance(source: Source, step: str) -> str:
    """Return when, on what and how undisturbed a workload was measured."""
    report, taken = source.report, source.report["taken"][step]
    machine = report["machine"]
    changes = "" if report.get("is_clean", True) else " with changes"
    text = f"{taken['date'][:10]}, commit {taken['commit']}{changes}, {machine['cores']} cores of {machine['cpu']}"
    if "load_before" in taken:
        text += f"; load average {taken['load_before']:g} before and {taken['load_after']:g} after"
    if (others := others_cores(report[step])) is not None:
        text += f"; other programs used {others:.2f} cores meanwhile (median)"
    return f"{text}. Raw figures: [{source.name}](../benchmarks/results/{source.name})."
