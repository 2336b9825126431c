"""The one home of metrics: names, what each means, labels and buckets, and how they are written. Not where they count.

Units are seconds, bytes and shares of one; no label has a job's id. docs/operations.md lists them all; a test compares.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WAITING_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    1800.0,
    7200.0,
)
_STAGE_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0)
_SHARE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Kind(StrEnum):
    """What kind of number a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Name:
    """A metric: its name as it is scraped, what it says, its labels, and of a histogram the buckets' upper bounds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_MODEL = ("model", "version")

# --- the same from every API process, read from Redis; ask one of them
JOBS_SUBMITTED = Name("ferry_jobs_submitted_total", Kind.COUNTER, "Jobs accepted into the queue.", _MODEL)
JOBS_FINISHED = Name("ferry_jobs_finished_total", Kind.COUNTER, "Jobs that became terminal.", (*_MODEL, "outcome"))
JOB_RETRIES = Name("ferry_job_retries_total", Kind.COUNTER, "Jobs that wait again because their claim lapsed.", _MODEL)
DEAD_LETTERS_MADE = Name("ferry_dead_letters_total", Kind.COUNTER, "Jobs given up as dead letters.", _MODEL)
DEAD_LETTERS = Name("ferry_dead_letters", Kind.GAUGE, "Dead letters kept now, for a look and a replay.")
QUEUE_DEPTH = Name(
    "ferry_queue_depth", Kind.GAUGE, "Jobs (of bulk: steps of batches) that wait.", (*_MODEL, "priority")
)
QUEUE_ROWS = Name("ferry_queue_rows", Kind.GAUGE, "Rows that wait.", _MODEL)
QUEUE_BYTES = Name("ferry_queue_bytes", Kind.GAUGE, "Bytes of input that wait.", _MODEL)
QUEUE_OLDEST = Name(
    "ferry_queue_oldest_age_seconds", Kind.GAUGE, "How long the oldest waiting job has waited; 0 where none does.",
    (*_MODEL, "priority"),
)  # fmt: skip
QUEUE_SHUT = Name(
    "ferry_queue_shut", Kind.GAUGE, "1 where an operator paused the queue or lets it drain.",
    (*_MODEL, "how"),
)  # fmt: skip
TICKETS = Name("ferry_tickets", Kind.GAUGE, "Celery messages that wait for a worker.", _MODEL)
RUNNING_CLAIMS = Name("ferry_claims", Kind.GAUGE, "Claims that workers hold now.")
WORKERS_LIVE = Name("ferry_workers", Kind.GAUGE, "Workers that serve a model now.", _MODEL)
WORKER_UP = Name("ferry_worker_up", Kind.GAUGE, "1 for each worker heard of in the last seconds.", ("worker",))
MODEL_LOADED = Name(
    "ferry_model_loaded_info", Kind.GAUGE, "1 for each model that a live worker serves.", ("worker", *_MODEL)
)
MODEL_BROKEN = Name(
    "ferry_model_broken", Kind.GAUGE, "Workers that reported in the last 30 s that they cannot load a model.", _MODEL
)
BULK_ROWS = Name("ferry_bulk_rows_total", Kind.COUNTER, "Rows of bulk batches that ended.", (*_MODEL, "outcome"))
BULK_BATCHES = Name("ferry_bulk_batches_total", Kind.COUNTER, "Bulk batches that ended.", ("outcome",))
BULK_UNDER_WAY = Name("ferry_bulk_jobs", Kind.GAUGE, "Bulk batches under way.")
REJECTED = Name("ferry_rejected_total", Kind.COUNTER, "Requests refused, by the error's code.", ("reason",))
CONNECTIONS_CUT = Name(
    "ferry_connections_cut_total", Kind.COUNTER, "Connections that the API refused or cut off.", ("reason",)
)
REQUESTS = Name("ferry_http_requests_total", Kind.COUNTER, "Requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Name(
    "ferry_http_request_seconds", Kind.HISTOGRAM, "From a request's head to the end of its answer, waits included.",
    ("method", "route"), _FAST_S,
)  # fmt: skip
COUNTER_DRIFTS = Name(
    "ferry_counter_drifts_total",
    Kind.COUNTER,
    "Counters of what waits that were wrong and are right again.",
    ("counter",),
)
REDIS_MEMORY = Name("ferry_redis_memory_bytes", Kind.GAUGE, "Memory that Redis uses.")
REDIS_MEMORY_MAX = Name("ferry_redis_memory_max_bytes", Kind.GAUGE, "Redis' maxmemory; 0 is none.")
PART_UP = Name(
    "ferry_part_up", Kind.GAUGE, "1 for each process of `ferry up` that runs, 0 while it does not.", ("part",)
)
PART_RESTARTS = Name(
    "ferry_part_restarts_total", Kind.COUNTER, "Starts of a process of `ferry up` after its end.", ("part",)
)
REDIS_UNSAFE = Name(
    "ferry_redis_unsafe", Kind.GAUGE, "1 where a setting of Redis may lose waiting jobs, 0 where not or not known.",
    ("setting", "value"),
)  # fmt: skip
BUILD = Name("ferry_build_info", Kind.GAUGE, "1, with the release that answers.", ("version",))

# --- told by each worker of itself
QUEUE_WAIT = Name("ferry_queue_wait_seconds", Kind.HISTOGRAM, "From submit to claim.", _MODEL, _WAITING_S)
JOB_LATENCY = Name("ferry_job_latency_seconds", Kind.HISTOGRAM, "From submit to settled.", _MODEL, _WAITING_S)
BATCH_SIZE = Name("ferry_batch_size", Kind.HISTOGRAM, "Rows of a claim that was run.", _MODEL, _ROWS)
BATCH_FILL = Name(
    "ferry_batch_fill_ratio", Kind.HISTOGRAM, "Rows of a claim as a share of what it could hold.", _MODEL, _SHARE
)
BATCH_WAIT = Name(
    "ferry_batch_wait_seconds", Kind.HISTOGRAM, "How long a claim waited for company (max_wait_ms).", _MODEL, _STAGE_S
)
BATCH_FLUSH = Name(
    "ferry_batch_flush_total", Kind.COUNTER, "Claims run, by why no more was waited for.", (*_MODEL, "reason")
)
STAGE = Name("ferry_stage_seconds", Kind.HISTOGRAM, "Time of a claim in each stage.", (*_MODEL, "stage"), _STAGE_S)
EXECUTIONS = Name("ferry_batch_executions_total", Kind.COUNTER, "Runs of a model.", _MODEL)
ROWS = Name("ferry_rows_total", Kind.COUNTER, "Rows of jobs that a model ran.", _MODEL)
NEIGHBOUR_CHECKS = Name(
    "ferry_neighbour_checks_total", Kind.COUNTER,
    "Finished batches that were run again with other neighbours, by result: same, influence, unsteady, failed.",
    (*_MODEL, "result"),
)  # fmt: skip
NEIGHBOUR_CHECK_SECONDS = Name(
    "ferry_neighbour_check_seconds_total", Kind.COUNTER, "Time that these checks took.", _MODEL
)
STEPS = Name("ferry_bulk_steps_total", Kind.COUNTER, "Steps of bulk batches done.", ("outcome",))

FROM_API = (
    JOBS_SUBMITTED, JOBS_FINISHED, JOB_RETRIES, DEAD_LETTERS_MADE, DEAD_LETTERS, QUEUE_DEPTH, QUEUE_ROWS, QUEUE_BYTES,
    QUEUE_OLDEST, QUEUE_SHUT, TICKETS, RUNNING_CLAIMS, WORKERS_LIVE, WORKER_UP, MODEL_LOADED, MODEL_BROKEN,
    BULK_ROWS, BULK_BATCHES, BULK_UNDER_WAY, REJECTED, REQUESTS, REQUEST_SECONDS, COUNTER_DRIFTS, REDIS_MEMORY,
    REDIS_MEMORY_MAX, REDIS_UNSAFE,
    CONNECTIONS_CUT, BUILD,
)  # fmt: skip
# Told by the API of a `ferry up`, from the file that this one keeps.
FROM_STACK = (PART_UP, PART_RESTARTS)
FROM_WORKER = (
    QUEUE_WAIT, JOB_LATENCY, BATCH_SIZE, BATCH_FILL, BATCH_WAIT, BATCH_FLUSH, STAGE, EXECUTIONS, ROWS, STEPS,
    NEIGHBOUR_CHECKS, NEIGHBOUR_CHECK_SECONDS, BUILD,
)  # fmt: skip


class Counts:
    """How often a value fell into each bucket of a histogram, and the sum of all. For one writing thread."""

    __slots__ = ("_bounds", "numbers", "total")

    def __init__(self, bounds: Sequence[float], numbers: Iterable[int] = (), total: float = 0.0) -> None:
        """`numbers`: one per bucket and one for what is beyond the last."""
        self._bounds = bounds
        self.numbers = list(numbers) or [0] * (len(bounds) + 1)
        self.total = total

    def add(self, value: float) -> None:
        """Count a value."""
        self.numbers[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return upper bounds and how many values lie at or below each, as Prometheus has it."""
        below, buckets = 0, []
        for bound, number in zip((*map(repr, self._bounds), "+Inf"), self.numbers, strict=True):
            below += number
            buckets.append((bound, float(below)))
        return buckets


Labels = tuple[str, ...]
Values = dict[Labels, float] | dict[Labels, Counts]


def one(value: float, *labels: str) -> dict[Labels, float]:
    """Return the values of a metric that has one."""
    return {labels: float(value)}


def render(readings: Iterable[tuple[Name, Values]]) -> bytes:
    """Return metrics as Prometheus scrapes them (text format 0.0.4). What has no value is named all the same."""
    return generate_latest(registry_of(lambda: readings))


def registry_of(read: Callable[[], Iterable[tuple[Name, Values]]]) -> CollectorRegistry:
    """Return what Prometheus' library serves: metrics as `read` gives them at each scrape."""

    class Live:
        def collect(self) -> Iterator[Metric]:
            return (_family(name, values) for name, values in read())

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Live())
    return registry


def _family(name: Name, values: Values) -> Metric:
    if name.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name.name, name.help, labels=name.labels)
        for labels, value in values.items():
            if isinstance(value, Counts):
                histogram.add_metric(labels, value.cumulated(), value.total)
        return histogram
    family = (CounterMetricFamily if name.kind is Kind.COUNTER else GaugeMetricFamily)(
        name.name, name.help, labels=name.labels
    )
    for labels, value in values.items():
        if not isinstance(value, Counts):
            family.add_metric(labels, value)
    return family
