"""W1: one row per request, submitted and waited for in one call; every system in alternated turns."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.plan import Plan
from benchmarks.system import System
from benchmarks.turns import installed, measured, started

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
        "label": system.label, "setting": system.setting, "keeps_jobs": system.keeps_jobs, "error": None, "faults": [],
        "versions": {}, "runs": {},
    }  # fmt: skip
    say(f"W1 preparing {system.label}: {system.setting}")
    try:
        entry["versions"] = installed(system)
    except Exception as error:  # noqa: BLE001 - as above
        entry["error"] = f"{type(error).__name__}: {error}"
        say(f"W1 {system.label}: {entry['error']}")
    return entry


def _turn(system: System, plan: Plan, entry: dict[str, Any], say: Say) -> None:
    """Measure a system with each number of clients."""
    with started(system, plan.warm_up_s) as (post, folder):
        for clients in plan.clients:
            figures = measured(post, clients=clients, seconds=plan.seconds, folder=folder)
            entry["runs"].setdefault(str(clients), []).append(figures)
            faults = f", {figures['errors']} errors" if figures["errors"] else ""
            say(
                f"W1 {system.label}, {clients} clients: {figures['per_s']:,.0f}/s, p50 {figures['p50_ms']:.1f} ms, "
                f"{figures['cpu_us_per_job']:,.0f} us a job{faults}"
            )
