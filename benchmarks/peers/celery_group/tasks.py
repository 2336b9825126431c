"""One Celery task per run of lines: it reads its lines, runs them and writes a file of its own.

Source: Celery's "Canvas: Designing Work-flows" (groups) and "Optimizing" (one prefetched message for long tasks).
"""

import os
from functools import cache
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_init
from onnx_model import OnnxModel
from openai_lines import read_rows, write_answers

BATCH_ROWS = 256

app = Celery("tasks", broker=os.environ["BENCH_REDIS_URL"], backend=os.environ["BENCH_REDIS_URL"])
app.conf.worker_prefetch_multiplier = 1
load_model = cache(OnnxModel)


@worker_process_init.connect
def load(**_: object) -> None:
    """Load the session before the first task."""
    load_model()


@app.task
def classify(source: str, start: int, end: int, part: str) -> int:
    """Answer the lines between two offsets; returns how many."""
    with Path(source).open("rb") as file:
        file.seek(start)
        lines = file.read(end - start).splitlines()
    with Path(part).open("wb") as out:
        for first in range(0, len(lines), BATCH_ROWS):
            ids, rows = read_rows(lines[first : first + BATCH_ROWS])
            out.write(write_answers(ids, load_model().run(rows)))
    return len(lines)
