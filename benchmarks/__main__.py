"""`python -m benchmarks` measures everything; `--quick` ours and celery-batches; `--only w1,bars` some steps.

    make bench          # all of it, into benchmarks/results/<date>.json and docs/benchmarks.md
    make bench-peers    # the sweep of the peers' settings and W1 with the best ones, a quarter of an hour
    make bench-quick    # under five minutes, printed and kept under .ferry/bench

A run that is repeated with `--only` on the same day replaces those steps in the day's file.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import (
    machine,
    page,
    sweep,
    tables,
    w1_tables,
    w1_waiting,
    w2_open_loop,
    w3_rows,
    w4_heavy,
    w5_scale,
    w6_limits,
    w7_choice,
    w8_microseconds,
)
from benchmarks.apt import PackageMissingError, need_program
from benchmarks.ferry_system import FERRIES, FERRY
from benchmarks.peer_systems import CELERY_BATCHES, PEERS_UNDER_TEST
from benchmarks.places import RESULTS, WORK
from benchmarks.plan import FULL, PEERS, QUICK, Plan
from benchmarks.reports import Source

FORMAT = 1
Step = Callable[[Plan, dict[str, Any]], dict[str, Any]]


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def steps(*, is_quick: bool) -> dict[str, Step]:
    """Return what is measured, in order; each gets the plan and the report so far."""
    peers = (CELERY_BATCHES,) if is_quick else PEERS_UNDER_TEST
    found: dict[str, Step] = {
        "sweep": lambda plan, _: sweep.measure(peers, plan, machine.cores(), say),
        "w1": lambda plan, report: w1_waiting.measure(
            [*((FERRY,) if is_quick else FERRIES), *(peer.system(sweep.setting_of(report, peer)) for peer in peers)],
            plan, say,
        ),
        "w2": lambda plan, report: w2_open_loop.measure(plan, report, say),
        "w3": lambda plan, _: w3_rows.measure(plan, say),
        "w4": lambda plan, _: w4_heavy.measure(plan, say),
        "w5": lambda plan, _: w5_scale.measure(plan, say),
        "w6": lambda plan, _: w6_limits.measure(plan, say),
        "w7": lambda plan, _: w7_choice.measure(plan, say),
        "w8": lambda plan, _: w8_microseconds.measure(plan, say),
    }  # fmt: skip
    if is_quick:
        del found["sweep"], found["w4"], found["w7"], found["w8"]
    return found


def main() -> int:
    """Run the steps and write the report after each; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Ferry and its peers.")
    parser.add_argument("--quick", action="store_true", help="ours and celery-batches only, under five minutes")
    parser.add_argument("--peers", action="store_true", help="the sweep of the peers' settings and W1, shorter turns")
    parser.add_argument("--only", default="", help="steps to run, separated by commas")
    arguments = parser.parse_args()
    known = steps(is_quick=arguments.quick)
    only = arguments.only or ("sweep,w1" if arguments.peers else "")
    chosen = [name for name in only.split(",") if name] or list(known)
    if unknown := set(chosen) - set(known):
        parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    try:
        need_program("wrk", "wrk")
    except PackageMissingError as error:
        print(f"the load generator wrk is missing: {error}", file=sys.stderr)
        return 1
    path = WORK / "quick.json" if arguments.quick else RESULTS / f"{datetime.now(UTC):%Y-%m-%d}.json"
    plan, is_whole = QUICK if arguments.quick else PEERS if arguments.peers else FULL, not only
    run(path, plan, {name: known[name] for name in chosen}, is_whole=is_whole)
    if arguments.quick:
        report = json.loads(path.read_text())
        shown = (w1_tables.throughput_table(report), w1_tables.latency_table(report))
        print(*shown, tables.bars_table([Source(path.name, report)]), sep="\n\n")
    else:
        say(f"written: {', '.join(map(str, page.write()))}")
    return 0


def run(path: Path, plan: Plan, chosen: dict[str, Step], *, is_whole: bool = False) -> None:
    """Run steps into the report at `path`; unless `is_whole`, what it holds of other steps stays."""
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not is_whole else {}
    report |= {"format": FORMAT, **machine.describe()}
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, step in chosen.items():
        started_s, load_before = time.monotonic(), machine.load_average()
        report[name] = step(plan, report)
        # The load after it is that of the step itself; `others_cores` of each run says what others used.
        report.setdefault("taken", {})[name] = {
            "date": report["date"], "commit": report["commit"], "wall_s": round(time.monotonic() - started_s, 1),
            "load_before": load_before, "load_after": machine.load_average(),
            "plan": {"repeats": plan.repeats, "seconds": plan.seconds, "sweep_s": plan.sweep_s},
        }  # fmt: skip
        path.write_text(json.dumps(report, indent=1) + "\n")
        say(f"{name} took {report['taken'][name]['wall_s']:g} s")


if __name__ == "__main__":
    sys.exit(main())
