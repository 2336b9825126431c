"""`ferry batch run` on the test digits, a file of each format: is each row answered, in order, and always the same?"""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.bulk.data import INPUT, scaled, write_jsonl, write_npy, write_parquet
from benchmarks.bulk.files import URL, Files
from benchmarks.bulk.onnx_session import open_session, run_rows
from benchmarks.bulk.plan import N_PROCESSES, BulkPlan
from benchmarks.bulk.rates import Say
from benchmarks.ferry_system import stack
from benchmarks.places import MODEL, MODELS, ROOT

NAME, OUTPUT = "mnist", "probabilities"
TOLERANCE = 1e-6
TIMEOUT_S = 300

Rows = np.ndarray


def measure(files: Files, _plan: BulkPlan, say: Say) -> dict[str, Any]:
    """Return of each format: rows, rows/s, wall time, accuracy, and how far its scores are from direct runs."""
    images, labels = files.test_digits()
    truth = run_rows(open_session(MODEL), scaled(images))
    folder = files.fresh("formats")
    found: dict[str, Any] = {"rows": len(images), "formats": {}}
    with stack(folder, models_dir=MODELS, workers=str(N_PROCESSES)) as info:
        for _ in range(2):  # the first time, everything is done for the first time
            for kind, write in WRITERS.items():
                source = folder / f"digits.{kind}"
                if not source.exists():
                    write(source, images)
                found["formats"][kind] = _run(info.api_url, source, truth, labels)
    for kind, figures in found["formats"].items():
        say(f"formats: {kind} {figures}")
    return found


def _run(api_url: str, source: Path, truth: Rows, labels: Rows) -> dict[str, Any]:
    kind = "jsonl" if source.suffix == ".zip" else source.suffix[1:]
    out = source.with_name(f"{source.name}.out.{kind}")
    command = [sys.executable, "-m", "ferry.cli.main", "batch", "run", str(source), "--model", NAME, "-o", str(out)]
    started_s = time.perf_counter()
    done = subprocess.run(
        [*command, "--url", api_url], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    wall_s = time.perf_counter() - started_s
    if done.returncode:
        return {"error": done.stderr[-500:]}
    scores = _scores(out)
    is_whole = scores.shape == truth.shape
    return {
        "rows": len(scores), "wall_s": round(wall_s, 2), "said": done.stderr.splitlines()[-2],
        "accuracy": round(float((scores.argmax(1) == labels).mean()), 4) if is_whole else None,
        "same_classes": bool(is_whole and (scores.argmax(1) == truth.argmax(1)).all()),
        "farthest": float(abs(scores - truth).max()) if is_whole else None,
        "is_same": bool(is_whole and abs(scores - truth).max() <= TOLERANCE),
    }  # fmt: skip


def _write_npz(path: Path, images: Rows) -> None:
    np.savez(path, **{INPUT: scaled(images)})


def _write_arrow(path: Path, images: Rows) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(scaled(images).reshape(-1)), images[0].size)
    table = pa.table({INPUT: column})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_columns(delimiter: str) -> Callable[[Path, Rows], None]:
    def write(path: Path, images: Rows) -> None:
        flat = scaled(images).reshape(len(images), -1)
        table = pa.table({f"{INPUT}_{number}": flat[:, number] for number in range(flat.shape[1])})
        pyarrow.csv.write_csv(table, path, pyarrow.csv.WriteOptions(delimiter=delimiter))

    return write


def _write_zip(path: Path, images: Rows) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, image in enumerate(images):
            out = io.BytesIO()
            Image.fromarray(image).save(out, "PNG")
            archive.writestr(f"{number:06}.png", out.getvalue())


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "npy": lambda path, images: write_npy(path, images, len(images)),
    "npz": _write_npz,
    "parquet": lambda path, images: write_parquet(path, images, len(images)),
    "arrow": _write_arrow,
    "jsonl": lambda path, images: write_jsonl(path, images, len(images), url=URL.format(model=NAME)),
    "csv": _write_columns(","),
    "tsv": _write_columns("\t"),
    "zip": _write_zip,
}


def _scores(path: Path) -> Rows:
    kind = path.suffix[1:]
    if kind == "npy":
        return np.load(path, allow_pickle=False)
    if kind == "npz":
        with np.load(path, allow_pickle=False) as file:
            return file[OUTPUT]
    if kind == "jsonl":
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        return np.array([line["response"]["body"]["outputs"][0]["data"] for line in lines], np.float32)
    if kind in ("csv", "tsv"):
        options = pyarrow.csv.ParseOptions(delimiter="," if kind == "csv" else "\t")
        table = pyarrow.csv.read_csv(path, parse_options=options)
        return np.stack([table[f"{OUTPUT}_{number}"].to_numpy() for number in range(10)], axis=1)
    table = pq.read_table(path) if kind == "parquet" else pa.ipc.open_file(path).read_all()
    return np.stack(table[OUTPUT].to_pylist())
