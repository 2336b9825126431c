"""W1: one row per request, submitted and waited for in one call; every system in alternated turns."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.digits import digits
from benchmarks.environments import versions
from benchmarks.places import WORK
from benchmarks.plan import WARM_UP_CLIENTS, Plan
from benchmarks.processes import cpu_seconds
from benchmarks.redis_calls import redis_calls
from benchmarks.system import System, probe
from benchmarks.wrk import load

# What is still under way when wrk closes its connections is done by then.
SETTLE_S = 1.0

Say = Callable[[str], None]


def measure(systems: Sequence[System], plan: Plan, say: Say) -> dict[str, Any]:
    """Return for each system its figures by number of clients, or the error that kept it out."""
    found: dict[str, Any] = {each.name: _prepared(each, say) for each in systems}
    for _ in range(plan.repeats):
        for system in systems:
            entry = found[system.name]
            if entry["error"]:
                continue
            try:
                _turn(system, plan, entry, say)
            except Exception as error:  # noqa: BLE001 - a peer that cannot run is listed with its error
                entry["faults"].append(f"{type(error).__name__}: {error}")
                say(f"W1 {system.label}: {entry['faults'][-1]}")
    for entry in found.values():
        if not entry["runs"] and entry["faults"]:
            entry["error"] = entry["faults"][0]
    return found


def _prepared(system: System, say: Say) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "label": system.label, "keeps_jobs": system.keeps_jobs, "error": None, "faults": [], "probed": 0,
        "versions": {}, "runs": {},
    }  # fmt: skip
    say(f"W1 preparing {system.label}")
    try:
        system.prepare()
        if system.packages:
            installed = versions(WORK / system.name)
            entry["versions"] = {name: installed.get(name, "?") for name in (*system.packages, "onnxruntime")}
    except Exception as error:  # noqa: BLE001 - as above
        entry["error"] = f"{type(error).__name__}: {error}"
        say(f"W1 {system.label}: {entry['error']}")
    return entry


def _turn(system: System, plan: Plan, entry: dict[str, Any], say: Say) -> None:
    """Start a system, check its answers, warm it up, measure it with each number of clients, stop it."""
    folder = fresh_folder(system.name)
    with system.run(folder) as base_url:
        entry["probed"] = probe(system, base_url)
        post = system.post(base_url, digits(1)[0][0])
        load(post, clients=WARM_UP_CLIENTS, seconds=plan.warm_up_s, folder=folder)
        for clients in plan.clients:
            calls, cpu_s = redis_calls(folder), cpu_seconds(os.getpid())
            seen = load(post, clients=clients, seconds=plan.seconds, folder=folder)
            figures = seen.to_json()
            done = max(1, seen.requests)
            figures["cpu_us_per_job"] = round((cpu_seconds(os.getpid()) - cpu_s) / done * 1e6, 1)
            if calls is not None:
                figures |= calls.per_job(redis_calls(folder), done)
            entry["runs"].setdefault(str(clients), []).append(figures)
            faults = f", {seen.errors} errors" if seen.errors else ""
            say(f"W1 {system.label}, {clients} clients: {seen.per_s:,.0f}/s, p50 {seen.p50_ms:.1f} ms{faults}")
        time.sleep(SETTLE_S)
    shutil.rmtree(folder, ignore_errors=True)


def fresh_folder(name: str) -> Path:
    """Return an empty folder for the data and logs of one turn."""
    folder = WORK / "run" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
