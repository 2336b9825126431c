"""`python -m benchmarks.bulk [NAME ...]` measures all of it, or what is named; `--quick` small files and few repeats.

    make bench-bulk ARGS="--data mnist.npz"              # into benchmarks/results/<date>-bulk.json
    make bench-bulk ARGS="--quick npy_mlp jsonl_mlp"     # under five minutes, printed and kept under .ferry/bench

What is named replaces those figures in the day's file. Without `--data`, Keras' mnist.npz, the rows are the 1,000
digits beside the model.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bulk import every_format, interactive, memory, rates, tables
from benchmarks.bulk.data import INNER_SHAPE
from benchmarks.bulk.files import Files, scratch
from benchmarks.bulk.plan import FULL, QUICK, BulkPlan
from benchmarks.places import RESULTS, WORK

FORMAT = 1
Step = Callable[[Files, BulkPlan, rates.Say], dict[str, Any]]
STEPS: dict[str, Step] = {case.name: partial(rates.measure, case) for case in rates.CASES}
STEPS |= {"formats": every_format.measure, "interactive": interactive.measure, "memory": memory.measure}
# The file, Ferry's copy of it, and as much again for lines of JSON, logs and answers.
COPIES = 3


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> int:
    """Measure, and write the report after each step; returns the exit status."""
    arguments = _arguments()
    names = arguments.names or list(STEPS)
    plan = QUICK if arguments.quick else FULL
    path = WORK / "quick-bulk.json" if arguments.quick else RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-bulk.json"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the scratch folder goes, whatever ends a run
    largest = max(plan.many_rows * memory.ROW_BYTES, plan.memory_bytes if "memory" in names else 0)
    with scratch(arguments.scratch, arguments.data, need_bytes=COPIES * largest) as files:
        n_failed = run(path, plan, names, files)
    print(f"\n{tables.render(json.loads(path.read_text()))}")
    say(f"written: {path}")
    return 1 if n_failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description="Measure bulk batches.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STEPS))
    parser.add_argument("--quick", action="store_true", help="small files and few repeats")
    parser.add_argument("--data", type=Path, metavar="PATH", help="npz in the layout of Keras' mnist.npz")
    folder = Path(tempfile.gettempdir())
    parser.add_argument("--scratch", type=Path, default=folder, help="where the files go meanwhile (%(default)s)")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(STEPS)):
        parser.error(f"no step {', '.join(unknown)}; there are {', '.join(STEPS)}")
    return arguments


def run(path: Path, plan: BulkPlan, names: list[str], files: Files) -> int:
    """Run steps into the report at `path`, which keeps what it holds of others; returns how many failed."""
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    rows = {"unique_rows": len(files.images), "shape": list(INNER_SHAPE)}
    report |= {"format": FORMAT, **machine.describe(), "data": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    n_failed = 0
    for name in names:
        started_s = time.monotonic()
        try:
            report[name] = STEPS[name](files, plan, say)
        except Exception as error:  # noqa: BLE001 - the other steps' figures are worth having
            n_failed += 1
            report[name] = {"error": f"{type(error).__name__}: {error}"}
            say(f"{name}: {report[name]['error']}")
        report.setdefault("taken", {})[name] = {"date": report["date"], "commit": report["commit"]}
        report.setdefault("wall_s", {})[name] = round(time.monotonic() - started_s, 1)
        path.write_text(json.dumps(report, indent=1) + "\n")
        say(f"{name} took {report['wall_s'][name]:g} s")
    return n_failed


if __name__ == "__main__":
    sys.exit(main())
