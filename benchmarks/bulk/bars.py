"""The bars for files of many rows, each computed from a report. Knows nothing of how a report is made or shown."""

import statistics

from benchmarks.bars import Bar
from benchmarks.bulk.peer_jobs import CLOCKS, LABELS
from benchmarks.figures import Report, dig, median, ratio

# Case: what it is called, the bar beside the plain scripts.
CASE_BARS = {
    "npy_mlp": ("NPY, mlp", 0.7),
    "npy_cnn": ("NPY, cnn", 0.95),
    "parquet_cnn": ("Parquet, cnn", 0.8),
    "parquet_mlp": ("Parquet, mlp", 0.8),
    "jsonl_mlp": ("JSONL, mlp", 0.7),
}

# The plain scripts that a bar is of, in words.
SCRIPTS = {
    "npy": "two scripts that read their share whole",
    "npy_mapped": "two that map the file",
    "parquet": "two scripts of pyarrow",
    "jsonl": "two scripts of orjson",
}

# A load that is alone takes more time a job than one that is beside others, so its share may come near the whole.
LEAST_LEFT = 0.01


def bars(report: Report) -> list[Bar]:
    """Return every bar."""
    return [*_beside_scripts(report), *_beside_peers(report), *_interactive(report), *_memory(report)]


def plain_per_s(report: Report, case: str, script: str) -> float | None:
    """Return rows/s of two plain scripts."""
    return median(report, case, "scripts", script, field="rows_per_s")


def peer_per_s(report: Report, case: str, peer: str) -> float | None:
    """Return rows/s of a peer by the clock that counts; None where it could not run."""
    return median(report, case, "peers", peer, "runs", field=f"{CLOCKS[peer]}_rows_per_s")


def _rows(report: Report, case: str) -> str:
    n_rows = dig(report, case, "rows")
    return f"{n_rows:,} rows, " if n_rows else ""


def _beside_scripts(report: Report) -> list[Bar]:
    found = []
    for case, (label, limit) in CASE_BARS.items():
        ours = median(report, case, "ferry", field="rows_per_s")
        for script in sorted(dig(report, case, "scripts") or {"": []}):
            what = f"{_rows(report, case)}{label}: rows/s beside {SCRIPTS.get(script, 'two plain scripts')}"
            found.append(Bar(what, "≥", limit, 1.0, ratio(ours, plain_per_s(report, case, script)), "x"))
    return found


def _beside_peers(report: Report) -> list[Bar]:
    ours = median(report, "jsonl_mlp", "ferry", field="rows_per_s")
    return [
        Bar(
            f"{_rows(report, 'jsonl_mlp')}JSONL, mlp: rows/s beside {label}", "≥", 1.0, 2.0,
            ratio(ours, peer_per_s(report, "jsonl_mlp", peer)), "x",
        )
        for peer, label in LABELS.items()
    ]  # fmt: skip


def p99_ratio(repeat: Report) -> float:
    """Return what bulk does to the interactive p99."""
    return float(repeat["beside"]["p99_ms"] / repeat["alone"]["p99_ms"])


def load_share(repeat: Report, cores: int) -> float:
    """Return the share of the machine that the interactive load takes, beyond what stands idle."""
    return float((repeat["cores_alone"] - repeat["cores_idle"]) / cores)


def bulk_ratio(repeat: Report, cores: int) -> float:
    """Return what bulk keeps of what the interactive load leaves it."""
    kept = repeat["bulk_beside_per_s"] / repeat["bulk_alone_per_s"]
    return float(kept / max(LEAST_LEFT, 1 - load_share(repeat, cores)))


def _interactive(report: Report) -> list[Bar]:
    repeats, cores = dig(report, "interactive", "repeats") or [], dig(report, "interactive", "cores")
    p99 = statistics.median(map(p99_ratio, repeats)) if repeats else None
    kept = statistics.median(bulk_ratio(each, cores) for each in repeats) if repeats else None
    lost = float(sum(each["beside"]["lost"] + each["beside"]["failed"] for each in repeats)) if repeats else None
    return [
        Bar("interactive at 25 % load: p99 beside bulk / p99 alone", "≤", 3.0, 1.5, p99, "x"),
        Bar("bulk beside it: rows/s of what that load leaves", "≥", 0.85, 0.95, kept, "x"),
        Bar("interactive jobs lost or failed beside bulk", "≤", 0.0, None, lost, "jobs"),
    ]


def _memory(report: Report) -> list[Bar]:
    size = dig(report, "memory", "file_bytes")
    what = f"a file of {size / 1e9:.1f} GB" if size else "a large file"
    return [
        Bar(f"{what}: growth of the {label}", "≤", 100.0, 30.0, _growth_mb(report, part), "MB")
        for part, label in (("api", "API's processes"), ("worker", "workers"))
    ]


def _growth_mb(report: Report, part: str) -> float | None:
    """Return the greater of what a part was seen to grow by and of one process's peak, which no look misses."""
    found = dig(report, "memory", "parts", part)
    return max(found["grew_mb"], found["grew_most_mb"]) if found else None
