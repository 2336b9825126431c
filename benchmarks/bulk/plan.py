"""How much of everything a run of the bulk benchmarks measures."""

from dataclasses import dataclass

N_PROCESSES = 2  # workers of Ferry, plain scripts, CPUs of Ray, processes of Celery


@dataclass(frozen=True, slots=True)
class BulkPlan:
    """Repeats of alternated turns, and rows and bytes of the files."""

    repeats: int
    many_rows: int
    some_rows: int
    # What is run before the clock starts, so that nothing is done for the first time: whole chunks, and several.
    warm_up_rows: int
    interactive_repeats: int
    window_s: float  # of one open-loop run
    memory_bytes: int


FULL = BulkPlan(
    repeats=5, many_rows=600_000, some_rows=60_000, warm_up_rows=20_000, interactive_repeats=3, window_s=15.0,
    memory_bytes=2 * 10**9,
)  # fmt: skip
QUICK = BulkPlan(
    repeats=2, many_rows=60_000, some_rows=10_000, warm_up_rows=1_000, interactive_repeats=1, window_s=4.0,
    memory_bytes=10**8,
)  # fmt: skip
