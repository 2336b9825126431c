"""W2: submit, then poll, at fixed shares of W1's capacity, whatever the answers take (open loop)."""

import json
import os
import statistics
import time
from typing import Any

from benchmarks import open_loop
from benchmarks.digits import digits
from benchmarks.ferry_system import FERRY, body, stack
from benchmarks.plan import Plan
from benchmarks.processes import cpu_seconds
from benchmarks.turns import SETTLE_S, fresh_folder
from benchmarks.w1_waiting import Say
from benchmarks.wrk import load

CAPACITY_CLIENTS = 64


def measure(plan: Plan, report: dict[str, Any], say: Say) -> dict[str, Any]:
    """Return the figures of each share, repeated; the capacity is W1's, or is measured when there is none."""
    capacity = _capacity_of(report)
    found: dict[str, Any] = {"capacity_per_s": capacity, "shares": {}}
    request = json.dumps(body(digits(1)[0][0])).encode()
    for _ in range(plan.other_repeats):
        folder = fresh_folder("w2")
        with stack(folder) as info:
            warm = load(FERRY.post(info.api_url, digits(1)[0][0]), clients=64, seconds=plan.seconds, folder=folder)
            capacity = found["capacity_per_s"] = found["capacity_per_s"] or warm.per_s
            for share in plan.shares:
                rate = capacity * share / 100
                cpu_s = cpu_seconds(os.getpid())
                figures = open_loop.run(info.api_url, request, rate=rate, seconds=plan.open_loop_s)
                cpu_s = cpu_seconds(os.getpid()) - cpu_s
                figures["cpu_us_per_job"] = round(cpu_s / max(1.0, figures["done"]) * 1e6, 1)
                found["shares"].setdefault(str(share), []).append(figures)
                say(
                    f"W2 {share} % ({rate:,.0f}/s): p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms, "
                    f"{figures['lost']} lost"
                )
            time.sleep(SETTLE_S)
    return found


def _capacity_of(report: dict[str, Any]) -> float | None:
    runs = report.get("w1", {}).get(FERRY.name, {}).get("runs", {}).get(str(CAPACITY_CLIENTS), [])
    return statistics.median(run["per_s"] for run in runs) if runs else None
