"""`python -m benchmarks.attacks [SHAPE...]`: each attack with 1 and 100 connections, by keys.

Health and jobs before, during and after; memory and processor time of the API, processor time of the attackers.
make bench-attacks ARGS="--seconds 5 endless_header upload"
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
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

    def rss_mib(self) -> float:
        """Return the memory of the API process."""
        fields = Path(f"/proc/{self.pid}/status").read_text().split("VmRSS:")[1].split()
        return round(int(fields[0]) / 1024, 1)

    def cpu_s(self) -> float:
        """Return the processor time of the API process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def stop(self) -> None:
        """End the probes."""
        self.health.stop()
        self.jobs.stop()


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
    stack.health.take(), stack.jobs.take()
    time.sleep(seconds / 2)
    found["before"] = {"health": stack.health.take(), "jobs": stack.jobs.take(), "rss_mib": stack.rss_mib()}
    address = urlsplit(stack.url)
    used = stack.cpu_s()
    command = [sys.executable, "-m", "benchmarks.attacks.attacker", shape, str(n), str(seconds),
               str(address.hostname), str(address.port), *([key] if key else [])]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=seconds + 60)
    found["during"] = {
        "health": stack.health.take(), "jobs": stack.jobs.take(), "rss_mib": stack.rss_mib(),
        "api_cpu_s": round(stack.cpu_s() - used, 2), "attackers": json.loads(done.stdout),
    }  # fmt: skip
    time.sleep(1.5)  # what was refused is discarded for a second
    stack.health.take(), stack.jobs.take()
    time.sleep(seconds / 2)
    found["after"] = {"health": stack.health.take(), "jobs": stack.jobs.take(), "rss_mib": stack.rss_mib()}
    return found


def line(found: dict[str, Any]) -> str:
    """Return an attack in one line."""
    shown = [f"{found['shape']:18} x{found['connections']:<4}{found['keys']:6}"]
    for when in ("before", "during", "after"):
        health, jobs = found[when]["health"], found[when]["jobs"]
        shown.append(f"{when} {health.get('p99_ms', 0):7.1f} {jobs.get('p50_ms', 0):6.1f}/{jobs.get('p99_ms', 0):7.1f}")
    during = found["during"]
    shown.append(
        f"rss {during['rss_mib']:.0f} cpu {during['api_cpu_s']:.1f}/{during['attackers']['cpu_s']:.1f} "
        f"{during['attackers']['seen']} {during['jobs'].get('statuses')}"
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
    print("attack, connections, key | health p99 ms, jobs p50/p99 ms | API's memory MiB, cpu s: API/attackers, seen")
    attacks = measure(asked.shapes or list(SHAPES), asked.seconds, lambda text: print(text, flush=True))
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-attacks.json"
    path.write_text(json.dumps(machine.describe() | {"seconds": asked.seconds, "attacks": attacks}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
