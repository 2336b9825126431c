"""README's paragraph of figures, written from the last run of W1. Pure functions from JSON to text.

Knows what must be said: the peers that are faster, those that use less processor time, and what durability costs.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Report, others_cores, ratio, w1
from benchmarks.reports import Source, last_w1
from benchmarks.tables import number

BEGIN, END = "<!-- headline: begin (written by make bench) -->", "<!-- headline: end -->"
NOT_MEASURED = "How fast Ferry is beside other servers: `make bench-peers` measures it, each peer at its best setting."
HEAD = 64  # clients
WIDTH = 120
QUIET_CORES = 0.1  # what other programs may use before the paragraph has to say it


@dataclass(frozen=True, slots=True)
class _Peer:
    label: str
    per_s: float
    cpu_us: float

    def in_words(self, more: str = "") -> str:
        return f"{self.label} ({number(self.per_s)} jobs/s, {number(self.cpu_us)} µs{more})"


def paragraph(sources: Sequence[Source]) -> str:
    """Return README's paragraph from the runs, the last first; what to do where none has peers at their best."""
    source = last_w1(sources)
    return render(source) if source else NOT_MEASURED


def render(source: Source) -> str:
    """Return the paragraph of a run that measured Ferry and at least one peer.

    Raises:
        ValueError: the run has no figures for Ferry at 64 clients.
    """
    report = source.report
    ours, cpu_us = w1(report, "ferry", HEAD), w1(report, "ferry", HEAD, "cpu_us_per_job")
    if ours is None or cpu_us is None:
        raise ValueError(f"{source.name} has no run of Ferry with {HEAD} clients")
    cores = report["machine"]["cores"]
    text = f"""
        One row a request, submitted and waited for in one call, {HEAD} clients, {cores} cores for everything, each peer
        at the best setting of a sweep, {source.day}: Ferry serves **{number(ours)} jobs/s** with {number(cpu_us)} µs of
        processor time a job, p50 {_ms(report, "p50_ms")}, p99 {_ms(report, "p99_ms")}, and has every accepted job on
        disk within a second. {verdict(report)}
        Settings, latencies and method: [docs/benchmarks.md](docs/benchmarks.md)."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def verdict(report: Report) -> str:
    """Return where Ferry is behind, where it is ahead and what durability costs; empty without figures for Ferry."""
    ours, cpu_us = w1(report, "ferry", HEAD), w1(report, "ferry", HEAD, "cpu_us_per_job")
    if ours is None or cpu_us is None:
        return ""
    peers = _peers(report)
    sentences = (
        _behind(peers, ours), _ahead(peers, ours), _processor_time(peers, cpu_us), _alone(report),
        "The peers in memory lose accepted jobs with their processes.", _durability(report, ours), _disturbed(report),
    )  # fmt: skip
    return " ".join(filter(None, sentences))


def written(readme: str) -> str:
    """Return the paragraph that stands between README's marks.

    Raises:
        ValueError: a mark is missing.
    """
    _, begin, rest = readme.partition(BEGIN)
    text, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has lost its marks {BEGIN!r} and {END!r}")
    return text.strip()


def replaced(readme: str, text: str) -> str:
    """Return README with another paragraph between its marks."""
    written(readme)
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def _peers(report: Report) -> list[_Peer]:
    """Return the peers that ran, the fastest first."""
    found = []
    for name, entry in report["w1"].items():
        per_s, cpu_us = w1(report, name, HEAD), w1(report, name, HEAD, "cpu_us_per_job")
        if not name.startswith("ferry") and per_s is not None and cpu_us is not None:
            found.append(_Peer(entry["label"], per_s, cpu_us))
    return sorted(found, key=lambda peer: -peer.per_s)


def _behind(peers: Sequence[_Peer], ours: float) -> str:
    faster = [peer for peer in peers if peer.per_s > ours]
    if not faster:
        return "No peer in this run is faster."
    each = _joined([peer.in_words(f", {number(peer.per_s / ours, 1)} times as fast") for peer in faster])
    return f"**Ferry is behind {each}**."


def _ahead(peers: Sequence[_Peer], ours: float) -> str:
    slower = [peer for peer in peers if peer.per_s <= ours]
    return f"It is ahead of {_joined([peer.in_words() for peer in slower])}." if slower else "It is ahead of no peer."


def _processor_time(peers: Sequence[_Peer], cpu_us: float) -> str:
    less = [peer.label for peer in peers if peer.cpu_us < cpu_us]
    return (
        f"Less processor time a job than Ferry: {_joined(less)}." if less else "No peer uses less processor time a job."
    )


def _alone(report: Report) -> str:
    """Return what one client waits for, and which peers answer it sooner."""
    ours = w1(report, "ferry", 1, "p50_ms")
    if ours is None:
        return ""
    answers = {
        entry["label"]: p50_ms
        for name, entry in report["w1"].items()
        if not name.startswith("ferry") and (p50_ms := w1(report, name, 1, "p50_ms")) is not None
    }
    sooner = [
        f"{label} ({number(p50_ms, 1)} ms)"
        for label, p50_ms in sorted(answers.items(), key=lambda each: each[1])
        if p50_ms < ours
    ]
    text = f"With one client alone Ferry's p50 is {number(ours, 1)} ms"
    return f"{text}; sooner: {_joined(sooner)}." if sooner else f"{text}; no peer in this run answers sooner."


def _durability(report: Report, ours: float) -> str:
    costs = [
        f"{number(ratio(found, ours), 2)} times the jobs/s {how}"
        for name, how in (
            ("ferry_no_aof", "with nothing on disk"),
            ("ferry_always", "with an fsync before each answer"),
        )
        if (found := w1(report, name, HEAD)) is not None
    ]
    return f"What durability costs: Ferry serves {_joined(costs)}." if costs else ""


def _disturbed(report: Report) -> str:
    others = others_cores(report["w1"])
    if others is None or others <= QUIET_CORES:
        return ""
    return f"Other programs used {number(others, 1)} of the cores meanwhile, so every rate is too low."


def _ms(report: Report, field: str) -> str:
    return f"{number(w1(report, 'ferry', HEAD, field))} ms"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
