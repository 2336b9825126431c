"""The model of the chaos run: its answer names the input, and one bad row makes the whole batch raise."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from ferry.manifest import MODEL_FILE, Manifest, sha256_of, write_manifest
from ferry.tensors import Array
from tests import onnx_models
from tests.manifests import manifest, spec

NAME = "chaos"
WIDTH = 3  # values per row
N_OFFSETS = 10  # `k` names one of these; any other raises
BAD_OFFSET = 1_000
# Whole numbers up to here, doubled and added to, are exact in float32.
LARGEST = 2**22
MAX_JOB_ROWS = 4_096
# Jobs larger than this run as several slices.
MAX_ROWS = 64
# Workers hold what they claimed for this long before they run it, so that most kills hit somebody with jobs in hand.
HOLD_MS = 600.0


def publish(models: Path) -> Manifest:
    """Write the model into a repository folder: y (N, 3) = x + x + k, for x (N, 3, float32) and k (N, int64)."""
    proto = onnx_models.model(
        [
            helper.make_node("Add", ["x", "x"], ["double"]),
            helper.make_node("Gather", ["offsets", "k"], ["offset"]),
            helper.make_node("Add", ["double", "offset"], ["y"]),
        ],
        [
            onnx_models.value("x", shape=("N", WIDTH)),
            onnx_models.value("k", TensorProto.INT64, ("N",)),
        ],
        [onnx_models.value("y", shape=("N", WIDTH))],
        initializers=[onnx_models.constant("offsets", np.arange(N_OFFSETS, dtype=np.float32).reshape(-1, 1))],
    )
    made = manifest(
        NAME,
        inputs=(spec("x", "float32", WIDTH), spec("k", "int64")),
        outputs=(spec("y", "float32", WIDTH),),
        max_rows=MAX_ROWS,
        max_job_rows=MAX_JOB_ROWS,
        max_wait_ms=HOLD_MS,
    )
    folder = models / made.name / made.version
    folder.mkdir(parents=True)
    path = onnx_models.save(proto, folder / MODEL_FILE)
    named = made.model_copy(update={"sha256": sha256_of(path)})
    write_manifest(named, folder)
    return named


def rows(seed: int, number: int, n_rows: int, *, is_bad: bool) -> tuple[Array, Array]:
    """Return x and k of job `number`, unlike those of any other; where `is_bad`, the last row makes the model raise."""
    rng = np.random.default_rng([seed, number])
    x = rng.integers(0, LARGEST, (n_rows, WIDTH)).astype(np.float32)
    x[:, 0] = number
    k = rng.integers(0, N_OFFSETS, n_rows)
    if is_bad:
        k[-1] = BAD_OFFSET
    return x, k


def answer(x: Array, k: Array) -> Array:
    """Return what these rows give when they run alone."""
    return x + x + k[:, None].astype(np.float32)
