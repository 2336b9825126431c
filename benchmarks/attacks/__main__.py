"""`python -m benchmarks.attacks [SHAPE...]`: each attack with 1 and 100 connections, by keys.

Health and jobs before, during and after; memory and processor time of the API, processor time of the attackers.
make bench-attacks ARGS="--seconds 5 endless_header upload"
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import machine
from benchmarks.attacks.probes import Probe
from benchmarks.attacks.shapes import SHAPES
from benchmarks.digits import digits
from benchmarks.ferry_system import PATH, body, run_info, stack
from benchmarks.places import RESULTS, ROOT
from benchmarks.processes import descendants
from ferry.access import Scope
from ferry.queue.connection import connect
from ferry.queue.key_book import KeyBook
from ferry.settings import NAMESPACE

CONNECTIONS = (1, 100)
HEALTH_EVERY_S, JOB_EVERY_S = 0.005, 0.02
# What was refused is discarded for a second.
SETTLE_S = 1.5
PHASES = ("before", "during", "settling", "after")
SHOWN = ("p50_ms", "p99_ms", "max_ms")
WRONG_KEY = "ferry_0000000000000000_wrong"


class Stack:
    """A Ferry with one API process, and what is asked of it."""

    def __init__(self, folder: Path, url: str, redis_url: str, *, needs_keys: bool) -> None:
        self.url = url
        self.pid = self._pid_of_api(folder)
        self.key = make_key(redis_url) if needs_keys else ""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        job = {"json": body(digits(1)[0][0]), "headers": {**headers, "Prefer": "wait=20"}}
        self.health = Probe(lambda client: client.get("/v2/health/live"), url, every_s=HEALTH_EVERY_S)
        self.jobs = Probe(lambda client: client.post(PATH, **job), url, every_s=JOB_EVERY_S)

    @staticmethod
    def _pid_of_api(folder: Path) -> int:
        info = run_info(folder)
        if info is None:
            raise RuntimeError("the stack has gone")
        for pid, _ in descendants(info.pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"api" in words:
                return pid
        raise RuntimeError("the stack has no API process")

    def pids(self) -> list[int]:
        """Return the API process and its children: the body reader does work of requests."""
        return [self.pid, *(pid for pid, _ in descendants(self.pid))]

    @contextmanager
    def phase(self) -> Iterator[dict[str, Any]]:
        """Fill what is yielded, at the end: what honest clients saw, memory at its highest, processor time."""
        self.health.take(), self.jobs.take()
        reset_peak(self.pids())
        used = cpu_s(self.pids())
        found: dict[str, Any] = {}
        yield found
        found |= {
            "health": self.health.take(), "jobs": self.jobs.take(), "peak_mib": peak_mib(self.pids()),
            "cpu_s": round(cpu_s(self.pids()) - used, 2),
        }  # fmt: skip

    def stop(self) -> None:
        """End the probes."""
        self.health.stop()
        self.jobs.stop()


def reset_peak(pids: Iterable[int]) -> None:
    """Begin to look for the highest memory of processes anew (proc(5), clear_refs)."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pids: Iterable[int]) -> float:
    """Return the highest memory of each process since it was reset, together."""
    n_kib = 0
    for pid in pids:
        with suppress(OSError, IndexError):  # it has gone
            n_kib += int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])
    return round(n_kib / 1024, 1)


def cpu_s(pids: Iterable[int]) -> float:
    """Return the processor time of processes so far, and of those children of theirs that have ended."""
    n_ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            n_ticks += sum(map(int, fields[11:15]))
    return n_ticks / os.sysconf("SC_CLK_TCK")


def make_key(redis_url: str) -> str:
    """Return a new key that may submit and read."""
    client = connect(redis_url, NAMESPACE)
    try:
        return KeyBook(client).create("attacks", owner="attacks", scopes=frozenset({Scope.SUBMIT, Scope.READ}))[1]
    finally:
        client.redis.close()


def attack(stack: Stack, shape: str, n: int, key: str, seconds: float) -> dict[str, Any]:
    """Return what honest clients saw before, during and after one attack, and what it cost both sides."""
    found: dict[str, Any] = {"shape": shape, "connections": n}
    with stack.phase() as found["before"]:
        time.sleep(seconds / 2)
    address = urlsplit(stack.url)
    command = [sys.executable, "-m", "benchmarks.attacks.attacker", shape, str(n), str(seconds),
               str(address.hostname), str(address.port), *([key] if key else [])]  # fmt: skip
    with stack.phase() as found["during"]:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=seconds + 60)
    found["during"]["attackers"] = json.loads(done.stdout)
    with stack.phase() as found["settling"]:  # what waited at the end of the attack is seen here
        time.sleep(SETTLE_S)
    with stack.phase() as found["after"]:
        time.sleep(seconds / 2)
    return found


def line(found: dict[str, Any]) -> str:
    """Return an attack in one line."""
    shown = [f"{found['shape']:18} x{found['connections']:<4}{found['keys']:6}"]
    statuses: Counter[str] = Counter()
    for when in PHASES:
        health, jobs = (" ".join(f"{of.get(name, nan):.1f}" for name in SHOWN)
                        for of in (found[when]["health"], found[when]["jobs"]))  # fmt: skip
        shown.append(f"{when} {health}, {jobs}")
        statuses.update(found[when]["health"].get("statuses", {}))
        statuses.update(found[when]["jobs"].get("statuses", {}))
    during = found["during"]
    shown.append(
        f"peak {during['peak_mib']:.0f} cpu {during['cpu_s']:.1f}/{during['attackers']['cpu_s']:.1f} "
        f"{during['attackers']['seen']} {dict(statuses)}"
    )
    return " | ".join(shown)


def measure(shapes: list[str], seconds: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return every attack: keys off, then with no key, a wrong and a good one where keys are on."""
    found = []
    for needs_keys in (False, True):
        with tempfile.TemporaryDirectory(prefix="ferry-attacks-") as folder:
            keys = "on" if needs_keys else "off"
            with stack(Path(folder), api_processes="1", api_keys=keys) as info:
                ours = Stack(Path(folder), info.api_url, info.redis_url, needs_keys=needs_keys)
                given = {"none": "", "wrong": WRONG_KEY, "good": ours.key} if needs_keys else {"off": ""}
                try:
                    for shape in shapes:
                        for name, key in given.items():
                            for n in CONNECTIONS:
                                one = attack(ours, shape, n, key, seconds) | {"keys": name}
                                say(line(one))
                                found.append(one)
                finally:
                    ours.stop()
    return found


def main() -> int:
    """Measure, print, and keep what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--seconds", type=float, default=5.0, help="how long an attack lasts")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.shapes) - set(SHAPES)):
        parser.error(f"no attack {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    print("attack, connections, key | ms of health, of jobs: p50 p99 max | MiB and cpu s of API/attackers, both saw")
    attacks = measure(asked.shapes or list(SHAPES), asked.seconds, lambda text: print(text, flush=True))
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-attacks.json"
    path.write_text(json.dumps(machine.describe() | {"seconds": asked.seconds, "attacks": attacks}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
