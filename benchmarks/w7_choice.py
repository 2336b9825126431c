"""W7: is the batch size that a worker chooses by itself as good as the best of a sweep by hand?"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.exported import NotExportedError, exported
from benchmarks.places import MODELS
from benchmarks.plan import Plan
from benchmarks.w1_waiting import Say
from benchmarks.w6_limits import bare_session, repeated
from ferry.manifest import MODEL_FILE, Batching, Manifest, read_manifest
from ferry.settings import Settings
from worker.models import load_model
from worker.profiling import Budget, choose
from worker.profiling import measure as measure_model

NETWORKS = ("mlp", "cnn", "resnet50")
# Sizes a worker measures, and some between them that it does not.
SWEEP = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# A larger run would be over the latency budget several times.
LONGEST_RUN_S = 1.0


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return by network the choice, and rows/s of the sweep: medians are taken over alternated repeats."""
    found: dict[str, Any] = {}
    for name in NETWORKS:
        try:
            folder = MODELS / "mnist" / "1" if name == "mlp" else exported(name)[1]
        except NotExportedError as error:
            found[name] = {"skipped": str(error)}
            continue
        found[name] = _one(folder, plan)
        say(f"W7 {name}: {found[name]['chosen']}")
    return found


def _one(folder: Path, plan: Plan) -> dict[str, Any]:
    manifest = read_manifest(folder)
    chosen = [_choice(folder, manifest) for _ in range(plan.other_repeats)]
    session = bare_session(str(folder / MODEL_FILE))
    rows_per_s: dict[str, list[float]] = {}
    for _ in range(plan.other_repeats):
        for size in SWEEP:
            shape = tuple(axis or 1 for axis in manifest.inputs[0].inner_shape)
            rows = np.random.default_rng(1).random((size, *shape), dtype=np.float32)
            run = partial(session.run, None, {manifest.inputs[0].name: rows})
            per_s = repeated(run, plan.seconds / 20)
            rows_per_s.setdefault(str(size), []).append(round(per_s * size, 2))
            if 1 / per_s > LONGEST_RUN_S:
                break
    return {"chosen": chosen, "sweep": rows_per_s}


def _choice(folder: Path, manifest: Manifest) -> dict[str, float]:
    """Measure and choose as a worker does, but keep nothing and read nothing that is kept."""
    settings = Settings()
    unsaid = manifest.model_copy(update={"batching": Batching()})
    model = load_model(folder, unsaid, threads=settings.ort_threads or 1)
    budget = Budget(latency_s=settings.batch_latency_ms / 1000)
    choice = choose(measure_model(model, budget).seconds, budget)
    return {
        "max_rows": choice.max_rows,
        "max_wait_ms": choice.max_wait_ms,
        "a_us": round(choice.a_s * 1e6, 1),
        "b_us": round(choice.b_s * 1e6, 2),
    }
