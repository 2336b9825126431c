"""Break everything at random while jobs run: `python -m tests.chaos --jobs 50000 --seed 1`."""

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos.redis_part import PartError
from tests.chaos.run import run


def main() -> int:
    """Do one run; returns 0 when nothing was lost, wrong or violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000, help="how many jobs are sent (5000)")
    parser.add_argument("--seed", type=int, default=1, help="what all chance is drawn from (1)")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # As Ctrl-C, so that whatever was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="ferry-chaos-"))
    try:
        report = run(asked.jobs, asked.seed, folder)
    except (PartError, KeyboardInterrupt) as error:
        sys.stderr.write(f"{type(error).__name__} {error}\nlogs: {folder}\n")
        return 1
    report.print_to(Console())
    if report.is_good:
        shutil.rmtree(folder)
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
