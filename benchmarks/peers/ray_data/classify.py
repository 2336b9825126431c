"""The map of the Ray Data job. A module of its own, which Ray's workers import: each keeps one session."""

import os
import time
from functools import cache
from pathlib import Path

import numpy as np
from onnx_model import OnnxModel
from openai_lines import read_rows, write_answers

load_model = cache(OnnxModel)


def classify(batch: dict[str, np.ndarray], folder: str) -> dict[str, np.ndarray]:
    """Answer a batch of lines and write the answers to this process's file."""
    model = load_model()
    began = Path(folder) / f"began-{os.getpid()}"
    if not began.exists():
        began.write_text(str(time.monotonic()))
    ids, rows = read_rows(batch["text"])
    with (Path(folder) / f"part-{os.getpid()}.jsonl").open("ab") as out:
        out.write(write_answers(ids, model.run(rows)))
    return {"rows": np.array([len(ids)])}
