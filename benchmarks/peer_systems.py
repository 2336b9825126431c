"""The peers under test: how each is started by its own means, and its request and answer shapes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.apt import install, need_program
from benchmarks.digits import Pixels, digits
from benchmarks.environments import environment
from benchmarks.places import HOST, MODEL, PEERS, free_port
from benchmarks.processes import Process, running
from benchmarks.system import System, best, wait_until_answering
from ferry.local.redis_server import RedisServer

# Commands of one peer: its processes in order, each as arguments after the environment's bin folder.
Commands = Callable[[int], Sequence[Sequence[str]]]
# Path, body and where the answer has the digit.
Shape = tuple[str, Callable[[Pixels], dict[str, Any]], Callable[[Any], int]]
DEBIAN_PYTHON = "/usr/bin/python3.11"


@contextmanager
def _serving(
    folder: Path, *, find: Callable[[], System], peer: str, commands: Commands, python: str = sys.executable,
    needs_redis: bool = False, env: dict[str, str] | None = None,
) -> Iterator[str]:  # fmt: skip
    """Run a peer's processes in its environment; yields its base URL once it answers."""
    home, port = environment(peer, python), free_port(3)
    settings = {"BENCH_MODEL": str(MODEL), "BENCH_PORT": str(port), "PYTHONPATH": f"{PEERS / peer}:{PEERS}"}
    settings |= {name: value.format(port=port, port1=port + 1, port2=port + 2) for name, value in (env or {}).items()}
    settings["PATH"] = f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    with ExitStack() as stack:
        if needs_redis:
            server = RedisServer(folder / "redis", folder / "redis.log")
            stack.callback(server.stop)
            server.start()
            settings["BENCH_REDIS_URL"] = server.url
        processes: list[Process] = []
        for number, (program, *arguments) in enumerate(commands(port)):
            command, log = [str(home / "bin" / program), *arguments], folder / f"{peer}-{number}.log"
            processes.append(stack.enter_context(running(command, log=log, cwd=folder, env=settings)))
        base_url = f"http://{HOST}:{port}"
        wait_until_answering(find().post(base_url, digits(1)[0][0]), processes)
        yield base_url


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


def _celery(port: int, *, pool: str) -> Sequence[Sequence[str]]:
    # One model process, as for every system; of the pools the one that served more jobs/s here.
    worker = ("celery", "-A", "server", "worker", f"--pool={pool}", "--concurrency=1", "--loglevel=warning")
    api = ("uvicorn", "server:api", f"--host={HOST}", f"--port={port}", "--no-access-log", "--log-level=warning")
    return worker, api


def _bentoml(port: int) -> Sequence[Sequence[str]]:
    return (("bentoml", "serve", "server:Digits", f"--host={HOST}", f"--port={port}"),)


def _own_script(port: int, *arguments: str, peer: str) -> Sequence[Sequence[str]]:
    filled = (argument.format(port=port) for argument in arguments)
    return (("python", str(PEERS / peer / "server.py"), *filled),)


def _mosec(port: int) -> Sequence[Sequence[str]]:
    return _own_script(port, f"--address={HOST}", "--port={port}", "--log-level=warning", peer="mosec")


def _mlserver(port: int) -> Sequence[Sequence[str]]:
    del port
    return (("mlserver", "start", str(PEERS / "mlserver")),)


def _prepare_triton() -> None:
    # The Python backend in PyTriton's wheel is linked to Debian's libpython3.11 (its installation page).
    need_program(DEBIAN_PYTHON, "python3.11", "libpython3.11")
    if not list(Path("/usr/lib").glob("*/libpython3.11.so.1.0")):
        install("libpython3.11")
    environment("triton", DEBIAN_PYTHON)


def _peer(
    name: str, label: str, keeps_jobs: str, shape: Shape, *, commands: Commands, packages: tuple[str, ...],
    prepare: Callable[[], None] | None = None, **options: Any,
) -> System:  # fmt: skip
    path, make_body, read_digit = shape
    run = partial(_serving, find=lambda: system, peer=name, commands=commands, **options)
    system = System(
        name=name, label=label, keeps_jobs=keeps_jobs, path=path, make_body=make_body, read_digit=read_digit, run=run,
        prepare=prepare or partial(environment, name), packages=packages,
    )  # fmt: skip
    return system


PLAIN: Shape = ("/predict", _nested, _probabilities)
OIP: Shape = ("/v2/models/mnist/infer", _oip, _oip_digit)

CELERY_TASK = _peer(
    "celery_task", "FastAPI + Celery task per job", "may be lost", PLAIN,
    commands=partial(_celery, pool="solo"), needs_redis=True, packages=("celery", "fastapi", "uvicorn", "redis"),
)  # fmt: skip
CELERY_BATCHES = _peer(
    "celery_batches", "FastAPI + celery-batches", "may be lost", PLAIN,
    commands=partial(_celery, pool="prefork"), needs_redis=True,
    packages=("celery-batches", "celery", "fastapi", "uvicorn", "redis"),
)  # fmt: skip
BENTOML = _peer(
    "bentoml", "BentoML", "lost", ("/predict", _batch_of_one, _first_row),
    commands=_bentoml, packages=("bentoml",), env={"BENTOML_DO_NOT_TRACK": "True"},
)  # fmt: skip
LITSERVE = _peer(
    "litserve", "LitServe", "lost", PLAIN, commands=partial(_own_script, peer="litserve"), packages=("litserve",)
)
MLSERVER = _peer(
    "mlserver", "MLServer", "lost", OIP, commands=_mlserver, packages=("mlserver",),
    env={
        "MLSERVER_HOST": HOST, "MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{port1}",
        "MLSERVER_METRICS_PORT": "{port2}", "MLSERVER_DEBUG": "false", "MLSERVER_PARALLEL_WORKERS": "0",
    },
)  # fmt: skip
MOSEC = _peer("mosec", "mosec", "lost", ("/inference", _nested, _probabilities), commands=_mosec, packages=("mosec",))
TRITON = _peer(
    "triton", "Triton, Python backend", "lost", OIP, commands=partial(_own_script, peer="triton"),
    packages=("nvidia-pytriton",), python=DEBIAN_PYTHON, prepare=_prepare_triton,
)  # fmt: skip

PEER_SYSTEMS = (CELERY_TASK, CELERY_BATCHES, BENTOML, LITSERVE, MLSERVER, MOSEC, TRITON)
