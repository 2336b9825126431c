"""A Ray Data job over one JSONL file: read lines, `map_batches`, write lines. Prints a JSON line per run.

Source: Ray's "End-to-end: Offline Batch Inference" and `Dataset.map_batches`. Of what was tried on two cores, reading
text and parsing it in the map was faster than `read_json`, tasks that keep their session faster than a pool of actors,
eight blocks a core no slower than fewer, and writing the answers in the map faster than `write_json`.

python job.py FILE FOLDER N_CPUS REPEATS
"""

import json
import shutil
import sys
import time
from pathlib import Path

import ray
from classify import classify

BATCH_ROWS = 256
BLOCKS_PER_CPU = 8


def run(source: str, folder: Path, n_cpus: int) -> dict[str, object]:
    """Run the job once; returns its seconds, and those from its first batch."""
    folder.mkdir(parents=True)
    started_s = time.monotonic()
    lines = ray.data.read_text(source, override_num_blocks=BLOCKS_PER_CPU * n_cpus)
    counts = lines.map_batches(classify, batch_size=BATCH_ROWS, fn_kwargs={"folder": str(folder)}).take_all()
    ended_s = time.monotonic()
    first_s = min(float(path.read_text()) for path in folder.glob("began-*"))
    return {
        "rows": int(sum(each["rows"] for each in counts)),
        "job_s": ended_s - started_s,
        "from_first_batch_s": ended_s - first_s,
        "parts": sorted(str(path) for path in folder.glob("part-*.jsonl")),
    }


def main() -> None:
    """Start Ray, warm up, then run and print."""
    source, folder, n_cpus, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    ray.init(num_cpus=n_cpus, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    shutil.rmtree(folder, ignore_errors=True)
    run(source, folder / "warm", n_cpus)
    for number in range(repeats):
        print(json.dumps(run(source, folder / str(number), n_cpus)), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
