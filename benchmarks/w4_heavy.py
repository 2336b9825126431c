"""W4: ResNet-50 with random weights: how close to a bare `session.run` at its best batch size?"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis

from benchmarks.exported import NotExportedError, exported
from benchmarks.ferry_system import PATH, WAITING, stack
from benchmarks.plan import Plan
from benchmarks.queue_keys import KEYS
from benchmarks.turns import SETTLE_S, fresh_folder, measured
from benchmarks.w1_waiting import Say
from benchmarks.w3_rows import binary_post, is_built
from benchmarks.w6_limits import bare_session, repeated
from benchmarks.wrk import Post
from ferry.manifest import MODEL_FILE, Batching, read_manifest, write_manifest
from ferry.queue.keys import model_key

BATCHES = (1, 2, 4, 8, 16)
SWEEP_S = 4.0  # a run of 16 takes a second or two
SHAPE = (224, 224, 3)
WARM_UP_S = 5.0
WINDOW_S = 20.0
POLL_S = 0.005


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Return images/s of the bare sweep and of Ferry, alternated; or why there are none."""
    try:
        repository, folder = exported("resnet50")
    except NotExportedError as error:
        return {"skipped": str(error)}
    model = str(folder / MODEL_FILE)
    sweep = {str(n): bare_per_s(model, n, SWEEP_S) for n in BATCHES}
    best = max(BATCHES, key=lambda n: sweep[str(n)])
    say(f"W4 bare: {', '.join(f'{n}: {per_s:.1f}' for n, per_s in sweep.items())} images/s; best {best}")
    _set_max_rows(folder, best)
    found: dict[str, Any] = {"sweep": sweep, "best_batch": best, "bare_per_s": [], "ferry": []}
    for _ in range(plan.other_repeats):
        found["bare_per_s"].append(bare_per_s(model, best, WINDOW_S / 2))
        found["ferry"].append(_served(repository, best))
        say(f"W4 bare {found['bare_per_s'][-1]:.1f}, Ferry {found['ferry'][-1]['per_s']:.1f} images/s")
    return found


def bare_per_s(model: str, n_rows: int, seconds: float) -> float:
    """Return images/s of `session.run` in a loop."""
    images = np.random.default_rng(1).random((n_rows, *SHAPE), dtype=np.float32)
    run = partial(bare_session(model).run, None, {"x": images})
    return round(repeated(run, seconds) * n_rows, 2)


def _served(repository: Path, best: int) -> dict[str, Any]:
    """Return what comes with one image a request and two batches under way."""
    folder = fresh_folder("w4")
    image = np.random.default_rng(1).random((1, *SHAPE), dtype=np.float32)
    with stack(folder, models_dir=repository) as info, ThreadPoolExecutor(1) as beside:
        post = binary_post(info.api_url, "resnet50", image)
        form = "binary"
        if not is_built(post):
            content = {"version": "resnet50", "input": {"x": image.round(2).tolist()}}
            post, form = Post(info.api_url + PATH, json.dumps(content).encode(), WAITING), "json"
        sent = beside.submit(measured, post, clients=2 * best, seconds=WARM_UP_S + WINDOW_S, folder=folder)
        time.sleep(WARM_UP_S)
        per_s = _settled_per_s(info.redis_url, WINDOW_S)
        seen = sent.result()
        time.sleep(SETTLE_S)
    return seen | {"per_s": per_s, "form": form}


def _settled_per_s(redis_url: str, seconds: float) -> float:
    """Return rows/s from the first to the last batch that was settled in this time.

    wrk's own count is off by up to a batch, which is a tenth of what it sees.
    """
    changes: list[tuple[float, int]] = []
    with redis.Redis.from_url(redis_url) as client:
        end_s = time.perf_counter() + seconds
        while (now_s := time.perf_counter()) < end_s:
            n_rows = int(client.hget(KEYS.counts + model_key("resnet50", "1"), "rows") or 0)
            if not changes or n_rows != changes[-1][1]:
                changes.append((now_s, n_rows))
            time.sleep(POLL_S)
    # The first entry is where we came in, not where a batch ended.
    batches = changes[1:]
    if len(batches) < 2:
        raise RuntimeError(f"fewer than two batches in {seconds:g} s")
    (first_s, first), (last_s, last) = batches[0], batches[-1]
    return round((last - first) / (last_s - first_s), 2)


def _set_max_rows(folder: Path, best: int) -> None:
    manifest = read_manifest(folder)
    write_manifest(manifest.model_copy(update={"batching": Batching(max_rows=best)}), folder)
