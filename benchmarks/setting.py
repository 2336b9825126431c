"""The settings of a peer that the sweep tries: processes, timer, JSON library. Knows no particular peer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

TIMERS_MS = (0.0, 1.0, 2.0, 5.0, 10.0)
DEFAULT_TIMER_MS = 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run a peer. `fronts` is None where HTTP runs in the model's process, `timer_ms` where none is set."""

    processes: int  # processes (Triton: instances) with a model; 0: the model runs in the HTTP process
    fronts: int | None  # processes that speak HTTP
    timer_ms: float | None
    json: str

    def env(self) -> dict[str, str]:
        """Return it as the variables that benchmarks/peers/peer_setting.py reads."""
        return {
            "BENCH_PROCESSES": str(self.processes), "BENCH_FRONTS": str(self.fronts or 1),
            "BENCH_TIMER_MS": f"{self.timer_ms or 0:g}", "BENCH_JSON": self.json,
        }  # fmt: skip

    def label(self) -> str:
        """Return it in words, as the tables show it."""
        parts = [count_words(self.processes, "model process") if self.processes else "model in the HTTP process"]
        if self.fronts is not None:
            parts.append(count_words(self.fronts, "HTTP process"))
        if self.timer_ms is not None:
            parts.append(f"{self.timer_ms:g} ms")
        return ", ".join([*parts, self.json])

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


def read_setting(fields: Mapping[str, Any]) -> Setting:
    """Return the setting that `to_json` wrote."""
    return Setting(**fields)


@dataclass(frozen=True, slots=True)
class Knobs:
    """What can be set on a peer. The first JSON library is the fastest one its documentation allows."""

    json: tuple[str, ...]
    timers_ms: tuple[float, ...] | None = TIMERS_MS
    least_processes: int = 1
    has_fronts: bool = False

    def default(self) -> Setting:
        """Return the setting to use without a sweep."""
        timer_ms = None if self.timers_ms is None else _nearest(self.timers_ms, DEFAULT_TIMER_MS)
        return Setting(self.least_processes, 1 if self.has_fronts else None, timer_ms, self.json[0])

    def settings(self, cores: int) -> list[Setting]:
        """Return every setting to try: all with the fastest JSON, and the default with each of the others."""
        timers_ms = self.timers_ms or (None,)
        found = [
            Setting(processes, fronts, timer_ms, self.json[0])
            for (processes, fronts), timer_ms in product(self._processes(cores), timers_ms)
        ]
        slower = self.default()
        return found + [Setting(slower.processes, slower.fronts, slower.timer_ms, each) for each in self.json[1:]]

    def _processes(self, cores: int) -> list[tuple[int, int | None]]:
        """Return pairs of model and HTTP processes: as many of both, and one model behind an HTTP process a core."""
        counts = up_to(cores)
        if not self.has_fronts:
            least: list[tuple[int, int | None]] = [(0, None)] if self.least_processes == 0 else []
            return least + [(count, None) for count in counts]
        pairs: list[tuple[int, int | None]] = [(count, count) for count in counts]
        return pairs if cores == 1 else [*pairs, (1, cores)]


def up_to(cores: int) -> list[int]:
    """Return the counts of processes to try: every one up to four, then doubled, and the cores."""
    small = list(range(1, min(cores, 4) + 1))
    doubled = [2**power for power in range(3, cores.bit_length()) if 2**power < cores]
    return small + doubled + ([cores] if cores > 4 else [])


def count_words(number: int, what: str) -> str:
    """Return "1 process", "2 processes"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}es"


def _nearest(values: tuple[float, ...], wanted: float) -> float:
    return min(values, key=lambda value: abs(value - wanted))
