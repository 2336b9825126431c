"""How jobs are taken out of a stream: with a consumer group, or by deleting the entry in the claim itself.

    .venv/bin/python benchmarks/claims.py

Both do the same work in one script per step (64 entries: add, take, finish) on an embedded Redis, in alternated
repeats; medians are printed and written with the machine and the date to benchmarks/results/claims.json. Source of the
decision in docs/design.md, "Claims without a consumer group".
"""

import json
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import redis

from ferry.local.redis_server import RedisServer

BATCH = 64
BATCHES = 400
REPEATS = 7
RESULTS = Path(__file__).parent / "results" / "claims.json"

ADD = "for i = 1, tonumber(ARGV[1]) do redis.call('XADD', 's', '*', 'v', 1, 'j', 'job' .. i, 'n', 1) end"

# One by one, as a claim by rows must: XREADGROUP cannot look at an entry without taking it.
TAKE_GROUP = """
local taken = {}
for i = 1, tonumber(ARGV[1]) do
  local reply = redis.call('XREADGROUP', 'GROUP', 'workers', 'w1', 'COUNT', 1, 'STREAMS', 's', '>')
  taken[i] = reply[1][2][1][1]
end
return taken
"""
FINISH_GROUP = "redis.call('XACK', 's', 'workers', unpack(ARGV)) redis.call('XDEL', 's', unpack(ARGV))"

# Look, then delete what fits; the claim's own set of ids and its lease say who holds what.
TAKE_DELETE = """
local taken = {}
for i, entry in ipairs(redis.call('XRANGE', 's', '-', '+', 'COUNT', ARGV[1])) do taken[i] = entry[1] end
redis.call('XDEL', 's', unpack(taken))
redis.call('SADD', 'claim', unpack(taken))
redis.call('ZADD', 'leases', 1, 'token')
return taken
"""
FINISH_DELETE = "redis.call('DEL', 'claim') redis.call('ZREM', 'leases', 'token')"


def measure(client: "redis.Redis", take: str, finish: str, *, has_group: bool) -> dict[str, float]:
    """Run BATCHES cycles; returns microseconds and Redis commands per job."""
    client.flushall()
    if has_group:
        client.xgroup_create("s", "workers", id="0", mkstream=True)
    add, take_script, finish_script = (client.register_script(text) for text in (ADD, take, finish))
    client.config_resetstat()
    started = time.perf_counter()
    for _ in range(BATCHES):
        add(args=[BATCH])
        finish_script(args=take_script(args=[BATCH]))
    elapsed = time.perf_counter() - started
    calls = sum(each["calls"] for name, each in client.info("commandstats").items() if "config" not in name)
    jobs = BATCH * BATCHES
    return {"us_per_job": elapsed / jobs * 1e6, "commands_per_job": calls / jobs}


def main() -> None:
    """Measure both and write the result."""
    variants = {
        "consumer group": (TAKE_GROUP, FINISH_GROUP, True),
        "deleted by the claim": (TAKE_DELETE, FINISH_DELETE, False),
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis", Path(folder) / "redis.log")
        server.start()
        try:
            client = redis.Redis.from_url(server.url)
            version = client.info("server")["redis_version"]
            for _ in range(REPEATS):
                for name, (take, finish, has_group) in variants.items():
                    runs[name].append(measure(client, take, finish, has_group=has_group))
            client.close()
        finally:
            server.stop()
    medians = {
        name: {key: round(statistics.median(run[key] for run in each), 3) for key in each[0]}
        for name, each in runs.items()
    }
    RESULTS.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "redis": version}
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "medians": medians,
        "runs": runs,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
