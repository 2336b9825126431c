"""The bars the product has to clear, each computed from a report. Knows nothing of how a report is made or shown."""

from dataclasses import dataclass

from benchmarks.figures import Report, dig, median, ratio, w1

HEAD = 64  # the number of clients that most bars are about


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the table. `limit` None: only the moonshot counts; `measured` None: nothing was measured."""

    what: str
    sign: str
    limit: float | None
    moonshot: float | None
    measured: float | None
    unit: str

    @property
    def is_met(self) -> bool | None:
        """Whether it is cleared; None where nothing was measured."""
        return self._clears(self.limit)

    @property
    def is_moonshot_met(self) -> bool | None:
        """Whether the moonshot is cleared."""
        return self._clears(self.moonshot)

    def _clears(self, limit: float | None) -> bool | None:
        if self.measured is None or limit is None:
            return None
        return self.measured >= limit if self.sign == "≥" else self.measured <= limit


def bars(report: Report) -> list[Bar]:
    """Return every bar."""
    return [*_against_peers(report), *_latencies(report), *_shares_of_bare(report), *_scale(report), *_redis(report)]


def _against_peers(report: Report) -> list[Bar]:
    # A run without a sweep has peers at settings that nobody chose for speed.
    ours = w1(report, "ferry", HEAD) if report.get("sweep") else None
    peers = (
        ("celery_batches", "celery-batches", 18.0, None), ("litserve", "LitServe", 7.0, None),
        ("bentoml", "BentoML", 9.0, None), ("mlserver", "MLServer", 4.0, None),
        ("triton", "Triton-Python", 2.2, None),
    )  # fmt: skip
    found = [
        Bar(
            f"W1, {HEAD} clients: jobs/s beside {label}", "≥", limit, moonshot, ratio(ours, w1(report, name, HEAD)), "x"
        )
        for name, label, limit, moonshot in peers
    ]
    # Of mosec only the moonshot speaks: its front is native and it keeps nothing.
    mosec = ratio(ours, w1(report, "mosec", HEAD))
    return [*found, Bar(f"W1, {HEAD} clients: jobs/s beside mosec", "≥", None, 1.0, mosec, "x")]


def _latencies(report: Report) -> list[Bar]:
    def tail(clients: int) -> float | None:
        return ratio(w1(report, "ferry", clients, "p99_ms"), w1(report, "ferry", clients, "p50_ms"))

    round_trip = median(report, "w6", "celery", "defaults", field="p50_ms")
    at_half = ("w2", "shares", "50")
    half = ratio(median(report, *at_half, field="p99_ms"), median(report, *at_half, field="p50_ms"))
    lost = dig(report, *at_half)
    n_lost = None if not lost else float(sum(run["lost"] for run in lost))
    return [
        Bar(f"W1, {HEAD} clients: p99 / p50", "≤", 5.0, None, tail(HEAD), "x"),
        Bar(
            "W1, 1 client: p50 / empty Celery round trip", "≤", 1.4, 0.9,
            ratio(w1(report, "ferry", 1, "p50_ms"), round_trip), "x",
        ),
        Bar("W1, 1 client: p99 / p50", "≤", 3.0, None, tail(1), "x"),
        Bar("W2, 50 % load: p99 / p50", "≤", 6.0, 3.0, half, "x"),
        Bar("W2, 50 % load: jobs lost", "≤", 0.0, None, n_lost, "jobs"),
    ]  # fmt: skip


def _shares_of_bare(report: Report) -> list[Bar]:
    bare = median(report, "w6", "session_run", "64")
    binary = median(report, "w3", "binary", "64", field="rows_per_s")
    heavy = ratio(median(report, "w4", "ferry", field="per_s"), median(report, "w4", "bare_per_s"))
    return [
        Bar("W3, 64 binary rows: rows/s beside bare session.run", "≥", 0.15, 0.3, ratio(binary, bare), "x"),
        Bar("W4, ResNet-50: images/s beside bare session.run", "≥", 0.95, 0.99, heavy, "x"),
    ]


def _scale(report: Report) -> list[Bar]:
    def per_s(n_workers: int) -> float | None:
        return dig(report, "w5", "workers", str(n_workers), "per_s")

    def of_linear(n_workers: int) -> float | None:
        return ratio(per_s(n_workers), (per_s(1) or 0) * n_workers)

    delays = dig(report, "w5", "lone_job", "delays_ms")
    joined = dig(report, "w5", "joining", "all_busy_ms")
    of_device = ratio(per_s(1), dig(report, "w5", "device_jobs_per_s"))
    return [
        Bar("W5, 8 workers: share of linear", "≥", 0.95, 0.98, of_linear(8), "x"),
        Bar("W5, 16 workers: share of linear", "≥", 0.85, 0.93, of_linear(16), "x"),
        Bar("W5, 1 worker: share of the device", "≥", 0.88, 0.95, of_device, "x"),
        Bar("seven workers join one with a backlog: busy", "≤", 1000.0, None, max(joined) if joined else None, "ms"),
        Bar("lone job beside a busy worker: start, slowest", "≤", 50.0, 10.0, max(delays) if delays else None, "ms"),
    ]  # fmt: skip


def _redis(report: Report) -> list[Bar]:
    calls = w1(report, "ferry", HEAD, "redis_calls_per_job")
    # With 256 clients the batches are nearly full.
    trips = w1(report, "ferry", 256, "redis_trips_per_1000_jobs")
    return [
        Bar("W1, 256 clients: Redis round trips per 1,000 jobs", "≤", 120.0, 60.0, trips, "trips"),
        Bar(f"W1, {HEAD} clients: commandstats calls per job", "≤", 14.0, 9.0, calls, "calls"),
    ]
