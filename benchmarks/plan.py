"""How long and how often everything is measured."""

from dataclasses import dataclass

# Upwards: BentoML's batcher, once it has seen 256 clients, keeps a lone one waiting for 200 ms.
CLIENTS = (1, 16, 64, 256)
WARM_UP_CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """Repeats of alternated turns, and seconds of one measurement."""

    repeats: int
    seconds: float
    warm_up_s: float = 1.0
    clients: tuple[int, ...] = CLIENTS
    sweep_s: float = 3.0  # one setting of a peer
    # W2, W3, W4 and W6.
    other_repeats: int = 3
    # W2: per cent of W1's capacity, and seconds of one open-loop run.
    shares: tuple[int, ...] = (25, 50, 75, 90)
    open_loop_s: float = 10.0
    # W5: workers, and seconds of the window in which settled jobs are counted.
    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    window_s: float = 5.0
    lone_jobs: int = 10


FULL = Plan(repeats=3, seconds=5.0)
QUICK = Plan(
    repeats=2, seconds=3.0, clients=(1, 64), other_repeats=1, shares=(50,), open_loop_s=5.0,
    workers=(1, 8), window_s=3.0, lone_jobs=5,
)  # fmt: skip
# The sweep of the peers and W1 alone, in a quarter of an hour.
PEERS = Plan(repeats=3, seconds=3.0, clients=(1, 64, 256), sweep_s=2.0)
