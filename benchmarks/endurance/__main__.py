"""`python -m benchmarks.endurance [NAME...]`: all measurements, or those named; results as JSON.

make endurance ARGS="deadlines overload"
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.endurance import deadlines, killed_batch, overload, soak
from benchmarks.places import RESULTS

Measurement = Callable[[Path, Callable[[str], None]], dict[str, Any]]
MEASUREMENTS: dict[str, Measurement] = {
    "deadlines": deadlines.measure,
    "overload": overload.measure,
    "killed-batch": killed_batch.measure,
    "soak": soak.measure,
}


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def main() -> int:
    """Measure, print, and put what was measured into the day's file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    names = parser.parse_args().names or list(MEASUREMENTS)
    if unknown := sorted(set(names) - set(MEASUREMENTS)):
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-endurance.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = machine.describe()
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix=f"ferry-{name}-"))
        say(name)
        try:
            report[name] = MEASUREMENTS[name](folder, say)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shown = {key: figure for key, figure in report[name].items() if key != "samples"}
        print(json.dumps(shown, indent=1), flush=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
