"""A model that kills the worker which loads it, beside a good one: a few lives later the good one is served."""

import os
from pathlib import Path

import numpy as np
import pytest

from ferry.jobs import State
from ferry.queue.producer import Producer
from tests import onnx_models
from tests.integration.conftest import StartWorker, job, publish, results, serving
from tests.manifests import manifest, spec
from tests.processes import ROOT
from worker.load_marks import DEATHS_LIMIT

pytestmark = pytest.mark.anyio

# Stands for a model that takes all the memory, or crashes onnxruntime: nothing of the process is left to say so.
KILLER = """
import os, signal
from worker import serving
load_model = serving.load_model
def load_or_die(folder, manifest, **options):
    if manifest.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return load_model(folder, manifest, **options)
serving.load_model = load_or_die
"""


async def test_worker_when_a_model_kills_it_at_load_then_the_next_lives_leave_it_out_and_serve_the_others(
    start_worker: StartWorker, producer: Producer, models: Path, tmp_path: Path
) -> None:
    publish(models, onnx_models.doubled(), manifest("deadly", outputs=(spec("y", "float32", 3),)))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    for _ in range(DEATHS_LIMIT):
        assert start_worker(PYTHONPATH=path, FERRY_WORKER_NAME="w").wait() < 0
    worker = start_worker(PYTHONPATH=path, FERRY_WORKER_NAME="w")
    await serving(producer)
    one = job(manifest("toy", outputs=(spec("y", "float32", 3),)), np.float32([[1, 2, 3]]))
    await producer.submit([one])
    assert (await results(producer, [one.id]))[0].state is State.SUCCEEDED
    assert "model_broken: deadly:1 is not served: a worker died 2 times while it loaded it" in worker.output
    assert [(broken.name, broken.reason[:20]) for broken in await producer.broken()] == [
        ("deadly", "a worker died 2 time")
    ]
