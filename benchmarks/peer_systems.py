"""The peers under test: how each is started by its own means, its request and answer, and what can be set."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.apt import install, need_program
from benchmarks.digits import Pixels
from benchmarks.peer import Peer, Shape
from benchmarks.places import HOST, PEERS
from benchmarks.setting import TIMERS_MS, Knobs, Setting
from benchmarks.system import best

DEBIAN_PYTHON = "/usr/bin/python3.11"
# Pauses between two looks for a result: without batches this is the only timer. Shorter ones keep a core busy.
POLLS_MS = (5.0, 10.0, 20.0, 50.0)
# With a flush interval of 0 Celery's timer calls without a pause, and the worker answers nothing.
FLUSHES_MS = TIMERS_MS[1:]
# Where the JSON library can be chosen: the fastest first.
ORJSON = ("orjson", "Python's json")


def _nested(pixels: Pixels) -> dict[str, Any]:
    return {"x": pixels}


def _batch_of_one(pixels: Pixels) -> dict[str, Any]:
    return {"x": [pixels]}


def _oip(pixels: Pixels) -> dict[str, Any]:
    data = [value for line in pixels for value in line]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 28, 28], "data": data}]}


def _probabilities(answer: Any) -> int:
    return best(answer["probabilities"])


def _first_row(answer: Any) -> int:
    return best(answer[0])


def _oip_digit(answer: Any) -> int:
    return best(answer["outputs"][0]["data"])


def _celery(port: int, setting: Setting, *, pool: str) -> Sequence[Sequence[str]]:
    # The solo pool is one process by its nature, and with one process faster than prefork.
    pool = pool if setting.processes == 1 else "prefork"
    worker = (
        "celery", "-A", "server", "worker", f"--pool={pool}", f"--concurrency={setting.processes}",
        "--loglevel=warning",
    )  # fmt: skip
    api = (
        "uvicorn", "server:api", f"--host={HOST}", f"--port={port}", f"--workers={setting.fronts}", "--no-access-log",
        "--log-level=warning",
    )  # fmt: skip
    return worker, api


def _bentoml(port: int, setting: Setting) -> Sequence[Sequence[str]]:
    del setting  # its server reads the environment
    return (("bentoml", "serve", "server:Digits", f"--host={HOST}", f"--port={port}"),)


def _own_script(port: int, setting: Setting, *, peer: str) -> Sequence[Sequence[str]]:
    del port, setting  # as above
    return (("python", str(PEERS / peer / "server.py")),)


def _mosec(port: int, setting: Setting) -> Sequence[Sequence[str]]:
    options = (f"--address={HOST}", f"--port={port}", f"--wait={setting.timer_ms or 0:g}", "--log-level=warning")
    return (("python", str(PEERS / "mosec" / "server.py"), *options),)


def _mlserver(port: int, setting: Setting) -> Sequence[Sequence[str]]:
    del port, setting  # as above
    return (("mlserver", "start", str(PEERS / "mlserver")),)


def _install_debian_python() -> None:
    # The Python backend in PyTriton's wheel is linked to Debian's libpython3.11 (its installation page).
    need_program(DEBIAN_PYTHON, "python3.11", "libpython3.11")
    if not list(Path("/usr/lib").glob("*/libpython3.11.so.1.0")):
        install("libpython3.11")


PLAIN = Shape("/predict", _nested, _probabilities)
OIP = Shape("/v2/models/mnist/infer", _oip, _oip_digit)

CELERY_TASK = Peer(
    "celery_task", "FastAPI + Celery task per job", "may be lost", PLAIN, partial(_celery, pool="solo"),
    Knobs(ORJSON, POLLS_MS, has_fronts=True), ("celery", "fastapi", "uvicorn", "redis", "orjson"), needs_redis=True,
)  # fmt: skip
CELERY_BATCHES = Peer(
    "celery_batches", "FastAPI + celery-batches", "may be lost", PLAIN, partial(_celery, pool="prefork"),
    Knobs(ORJSON, FLUSHES_MS, has_fronts=True), ("celery-batches", "celery", "fastapi", "uvicorn", "redis", "orjson"),
    needs_redis=True,
)  # fmt: skip
BENTOML = Peer(
    "bentoml", "BentoML", "lost", Shape("/predict", _batch_of_one, _first_row), _bentoml,
    Knobs(("pydantic's JSON",), None), ("bentoml",), env={"BENTOML_DO_NOT_TRACK": "True"},
)  # fmt: skip
LITSERVE = Peer(
    "litserve", "LitServe", "lost", PLAIN, partial(_own_script, peer="litserve"), Knobs(ORJSON, has_fronts=True),
    ("litserve", "orjson"),
)  # fmt: skip
MLSERVER = Peer(
    "mlserver", "MLServer", "lost", OIP, _mlserver, Knobs(("orjson",), least_processes=0), ("mlserver", "orjson"),
    env={
        "MLSERVER_HOST": HOST, "MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{port1}",
        "MLSERVER_METRICS_PORT": "{port2}", "MLSERVER_DEBUG": "false", "MLSERVER_PARALLEL_WORKERS": "{processes}",
        "MLSERVER_MODEL_MAX_BATCH_TIME": "{timer_s:g}",
    },
)  # fmt: skip
MOSEC = Peer(
    "mosec", "mosec", "lost", Shape("/inference", _nested, _probabilities), _mosec, Knobs(ORJSON), ("mosec", "orjson")
)
TRITON = Peer(
    "triton", "Triton, Python backend", "lost", OIP, partial(_own_script, peer="triton"), Knobs(("RapidJSON",)),
    ("nvidia-pytriton",), python=DEBIAN_PYTHON, before_install=_install_debian_python,
)  # fmt: skip

PEERS_UNDER_TEST = (CELERY_TASK, CELERY_BATCHES, BENTOML, LITSERVE, MLSERVER, MOSEC, TRITON)
