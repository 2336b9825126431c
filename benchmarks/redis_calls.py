"""What Ferry asks of its Redis, from `INFO commandstats`. Other systems are not looked into."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.ferry_system import run_info

# Asked by the benchmark itself.
_OWN = ("cmdstat_info", "cmdstat_auth", "cmdstat_client", "cmdstat_hello", "cmdstat_command")
# What only clients send, never a script. `publish` is sent by Celery's events and, once a batch, by the settle script;
# a worker sends a settle, a BRPOP and a claim in one trip; so the sum is an upper bound. So are the reads from sockets:
# a trip of more than 16 KB is several.
_TRIPS = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_brpop", "cmdstat_exec", "cmdstat_publish", "cmdstat_ping")


@dataclass(frozen=True, slots=True)
class Calls:
    """Commands run so far, those inside scripts included, and round trips."""

    commands: int
    trips: int
    reads: int

    def per_job(self, later: "Calls | None", n_jobs: int) -> dict[str, float]:
        """Return what was asked between two looks, per job and per 1,000 jobs."""
        if later is None:
            return {}
        return {
            "redis_calls_per_job": round((later.commands - self.commands) / n_jobs, 2),
            "redis_trips_per_1000_jobs": round(
                min(later.trips - self.trips, later.reads - self.reads) / n_jobs * 1000, 1
            ),
        }


def redis_calls(folder: Path) -> Calls | None:
    """Return what the Redis of the stack on this folder has run; None for other systems."""
    info = run_info(folder)
    if info is None:
        return None
    with redis.Redis.from_url(info.redis_url) as client:
        stats: dict[str, Any] = client.info("commandstats")
        reads = int(client.info("stats")["total_reads_processed"])
    counts = {name: int(each["calls"]) for name, each in stats.items() if not name.startswith(_OWN)}
    return Calls(sum(counts.values()), sum(counts.get(name, 0) for name in _TRIPS), reads)
