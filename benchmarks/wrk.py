"""The load generator: Debian's wrk, closed loop, one fixed POST. Knows nothing of who answers."""

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.apt import need_program

REQUEST_TIMEOUT_S = 30  # an answer later than this counts as a timeout
# wrk gives itself REQUEST_TIMEOUT_S at the end; past this it hangs.
GRACE_S = REQUEST_TIMEOUT_S + 15

# The body stands in a file, since it may be binary; the figures come out as one JSON line.
_SCRIPT = """
local file = assert(io.open(%(body)s, "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%(headers)s
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%%d,"us":%%d,"p50":%%d,"p90":%%d,"p99":%%d,"p999":%%d,"max":%%d,"status":%%d,"socket":%%d,"timeout":%%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency:percentile(99.9), latency.max, e.status, e.connect + e.read + e.write, e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent, again and again."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. Errors: answers other than 2xx and 3xx, broken sockets, timeouts."""

    clients: int
    seconds: float
    requests: int
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    errors: int

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return asdict(self)


def load(post: Post, *, clients: int, seconds: float, folder: Path) -> Load:
    """Send the request from `clients` connections for `seconds`, each as soon as the last was answered.

    Raises:
        PackageMissingError: there is no wrk.
        RuntimeError: wrk failed.
    """
    program = need_program("wrk", "wrk")
    folder.mkdir(parents=True, exist_ok=True)
    body, script = folder / "body", folder / "post.lua"
    body.write_bytes(post.body)
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in post.headers)
    script.write_text(_SCRIPT % {"body": json.dumps(str(body)), "headers": headers})
    # One thread is enough for it (it sends 100,000 requests/s) and leaves the other core to the system under test.
    command = [program, "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", f"--timeout={REQUEST_TIMEOUT_S}s"]
    done = subprocess.run(
        [*command, f"-s{script}", post.url], capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
    )
    line = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not line.startswith("{"):
        raise RuntimeError(f"wrk failed: {done.stdout[-300:]} {done.stderr[-300:]}")
    return _read(json.loads(line), clients)


def _read(seen: dict[str, int], clients: int) -> Load:
    seconds = seen["us"] / 1e6
    errors = seen["status"] + seen["socket"] + seen["timeout"]
    good = max(0, seen["requests"] - seen["status"])
    percentiles = {f"{name}_ms": seen[name] / 1000 for name in ("p50", "p90", "p99", "p999", "max")}
    return Load(
        clients=clients, seconds=round(seconds, 3), requests=seen["requests"], per_s=round(good / seconds, 1),
        errors=errors, **percentiles,
    )  # fmt: skip
