"""Send a group of tasks over one JSONL file and wait for all of them. Prints a JSON line per run.

The byte offsets of the tasks are looked up before the clock starts, and the parts are not put together.

python job.py FILE FOLDER LINES_PER_TASK REPEATS
"""

import json
import shutil
import sys
import time
from pathlib import Path

from celery import group
from tasks import classify

TIMEOUT_S = 600


def ranges(source: str, n_lines: int) -> list[tuple[int, int]]:
    """Return where each run of lines begins and ends, in bytes."""
    found, start, end = [], 0, 0
    with Path(source).open("rb") as file:
        for number, line in enumerate(file, 1):
            end += len(line)
            if number % n_lines == 0:
                found.append((start, end))
                start = end
    return [*found, (start, end)] if end > start else found


def run(source: str, folder: Path, cuts: list[tuple[int, int]]) -> dict[str, object]:
    """Run the group once; returns the seconds from `apply_async` to the last result."""
    folder.mkdir(parents=True)
    parts = [str(folder / f"part-{number:05d}.jsonl") for number in range(len(cuts))]
    tasks = group(classify.s(source, start, end, part) for (start, end), part in zip(cuts, parts, strict=True))
    started_s = time.monotonic()
    counts = tasks.apply_async().join(timeout=TIMEOUT_S)
    return {"rows": sum(counts), "job_s": time.monotonic() - started_s, "parts": parts}


def main() -> None:
    """Warm up, then run and print."""
    source, folder, n_lines, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    shutil.rmtree(folder, ignore_errors=True)
    cuts = ranges(source, n_lines)
    run(source, folder / "warm", cuts)
    for number in range(repeats):
        print(json.dumps(run(source, folder / str(number), cuts)), flush=True)


if __name__ == "__main__":
    main()
