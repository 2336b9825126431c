"""How long and how often everything is measured."""

from dataclasses import dataclass

# Every bar is about 64 clients, so a system starts its turn with them; 1 last, when everything is warm.
CLIENTS = (64, 16, 256, 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """Repeats of alternated turns, and seconds of one measurement."""

    repeats: int
    seconds: float
    warm_up_s: float = 1.0
    clients: tuple[int, ...] = CLIENTS
    # W2: seconds of one open-loop run.
    open_loop_s: float = 10.0
    # W5: workers, and seconds of the window in which settled jobs are counted.
    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    window_s: float = 5.0
    lone_jobs: int = 10


FULL = Plan(repeats=3, seconds=5.0)
QUICK = Plan(
    repeats=2, seconds=3.0, clients=(64, 1), open_loop_s=5.0, workers=(1, 8), window_s=3.0, lone_jobs=5,
)  # fmt: skip
