"""Single digits at a quarter of the capacity in an open loop: alone, and while bulk takes all it can get."""

import json
import os
import time
from typing import Any

from benchmarks import open_loop
from benchmarks.bulk import networks
from benchmarks.bulk.batch_client import BatchClient
from benchmarks.bulk.files import Files
from benchmarks.bulk.plan import N_PROCESSES, BulkPlan
from benchmarks.bulk.rates import Say
from benchmarks.bulk.saturation import Feed, rows_per_s, saturated
from benchmarks.digits import digits
from benchmarks.exported import NotExportedError
from benchmarks.ferry_system import FERRY, body, stack
from benchmarks.processes import cpu_seconds
from benchmarks.wrk import load

SHARE = 0.25
CAPACITY_CLIENTS = 64
CAPACITY_S = 5.0
IDLE_S = 3.0
REST_S = 1.0  # between two runs, for what is still under way
# Heavy enough that the processors are the limit, and another model than the one that is asked: both are served.
BULK_NETWORK = "cnn"


def measure(files: Files, plan: BulkPlan, say: Say) -> dict[str, Any]:
    """Return each repeat's figures: interactive alone, bulk alone, both; or why there are none."""
    folder = files.fresh("ferry")
    try:
        models = networks.both(folder / "models")
    except NotExportedError as error:
        return {"skipped": str(error)}
    found: dict[str, Any] = {"share": SHARE, "cores": len(os.sched_getaffinity(0)), "repeats": []}
    pixels = digits(1)[0][0]
    request = json.dumps(body(pixels)).encode()
    with (
        stack(folder, models_dir=models, workers=str(N_PROCESSES)) as info,
        BatchClient(info.api_url) as client,
    ):
        small = files.get("npy", plan.warm_up_rows)
        client.warm_up(small, model=BULK_NETWORK, output_format="npy", workers=N_PROCESSES)
        source = files.get("npy", plan.many_rows)
        feed = Feed(info.api_url, client.upload(source), BULK_NETWORK, "npy")
        os.sync()
        post = FERRY.post(info.api_url, pixels)
        seen = load(post, clients=CAPACITY_CLIENTS, seconds=CAPACITY_S, folder=folder)
        found["capacity_per_s"], rate = seen.per_s, seen.per_s * SHARE
        say(f"interactive: {seen.per_s:,.0f} jobs/s with {CAPACITY_CLIENTS} clients, so {rate:,.0f}/s from here on")
        for _ in range(plan.interactive_repeats):
            found["repeats"].append(_repeat(feed, request, rate, plan.window_s))
            say(f"interactive: {shown(found['repeats'][-1])}")
    files.drop(source)
    return found


def _repeat(feed: Feed, request: bytes, rate: float, seconds: float) -> dict[str, Any]:
    idle_cores = _used_cores(lambda: time.sleep(IDLE_S))[1]
    alone, alone_cores = _used_cores(lambda: open_loop.run(feed.api_url, request, rate=rate, seconds=seconds))
    time.sleep(REST_S)
    with saturated(feed) as bulk:
        start_s = time.monotonic()
        time.sleep(seconds)
        end_s = time.monotonic()
    solo_per_s = rows_per_s(bulk.between(start_s, end_s))
    time.sleep(REST_S)
    with saturated(feed) as bulk:
        start_s = time.monotonic()
        beside = open_loop.run(feed.api_url, request, rate=rate, seconds=seconds)
        # Not to the end of the drain: nothing is sent then.
        end_s = start_s + seconds
    time.sleep(REST_S)
    return {
        "alone": alone, "beside": beside, "cores_idle": round(idle_cores, 4), "cores_alone": round(alone_cores, 4),
        "bulk_alone_per_s": solo_per_s, "bulk_beside_per_s": rows_per_s(bulk.between(start_s, end_s)),
    }  # fmt: skip


def _used_cores(action: Any) -> tuple[Any, float]:
    """Do something; return what it gives, and the cores that Ferry and this process, which sends, were busy with."""
    before_s, own_s, started_s = cpu_seconds(os.getpid()), time.process_time(), time.monotonic()
    result = action()
    used_s = cpu_seconds(os.getpid()) - before_s + time.process_time() - own_s
    return result, used_s / (time.monotonic() - started_s)


def shown(repeat: dict[str, Any]) -> str:
    """Return a repeat in a line."""
    alone, beside = repeat["alone"], repeat["beside"]
    return (
        f"p99 {alone['p99_ms']:.1f} ms alone ({repeat['cores_alone']:.2f} cores), {beside['p99_ms']:.1f} beside bulk; "
        f"bulk {repeat['bulk_alone_per_s']:,.0f} rows/s alone, {repeat['bulk_beside_per_s']:,.0f} beside"
    )
