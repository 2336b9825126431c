"""Has a model file read and tried out, and returns its manifest: here where onnxruntime is installed, else by a worker.

Owns which of the two, and the question a worker is asked. Knows nothing of ONNX; what is looked at stands in
`worker/inspection/`, and how that is run in `ferry/inspection_process.py`.
"""

import importlib.util
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ferry.errors import ConfigError, ModelRefusedError, NoWorkerError, QueueUnavailableError
from ferry.inspection_process import (
    INSPECTION_LIMIT_S,
    Reply,
    TrialOptions,
    inspection_limit_s,
    manifest_from,
    run_inspection,
)
from ferry.local.data_dir import RUN_FILE
from ferry.manifest import MODEL_FILE, Manifest
from ferry.model_files import bring_files
from ferry.queue.broker import transport_options
from ferry.queue.connection import connect, redis_errors
from ferry.queue.keys import CONTROL_QUEUE, Keys
from ferry.repository import Repository
from ferry.settings import EMBEDDED, Settings

if TYPE_CHECKING:
    from ferry.queue.connection import ThreadClient

INSPECT_TASK = "ferry.inspect_model"
REPLY_TTL_S = 60
EXAMPLE_FILE = "example.npz"
# First on the reply list: a worker has taken the task, so the answer is worth waiting for.
STARTED = "started"
# Protobuf ends at 2 GiB; larger models keep weights in other files, see `ferry.model_files.MAX_TOTAL_BYTES`.
MAX_MODEL_BYTES = 2 * 2**30
# A worker takes the task between two batches; on a busy one that is its batch's run time.
PICKUP_LIMIT_S = 30
# One blocking read of the reply: shorter than the client's socket timeout.
STEP_S = 0.5

Send = Callable[[list[object]], None]


@dataclass(frozen=True, slots=True)
class _Question:
    """What an inspection needs to know besides the file."""

    name: str
    version: str
    labels: tuple[str, ...]
    options: TrialOptions


def inspect_model(
    path: Path,
    *,
    name: str,
    version: str,
    labels: Sequence[str] = (),
    options: TrialOptions | None = None,
    settings: Settings,
    source: Path | None = None,
) -> Manifest:
    """Read and try a model file out; return the manifest it deserves.

    `source`: the folder with the other files that the model names; by default the one `path` is in.

    Raises:
        ModelRefusedError: when Ferry will not serve it; the text says why and what to do.
        InvalidInputError: when name, version, labels or options do not fit.
        NoWorkerError, QueueUnavailableError, ConfigError: when no worker can be asked.
    Effects: the files that the model names are copied beside `path`. Where that is not below `models_dir`, all are
        copied to a folder there and deleted at the end; so is the example for a worker.
    """
    check_file(path)
    with ExitStack() as stack:
        staged = path.resolve()
        if not staged.is_relative_to(settings.models_dir.resolve()):
            staged = stack.enter_context(Repository(settings.models_dir.resolve()).staging()) / MODEL_FILE
            shutil.copyfile(path, staged)
        asked = _Question(name, version, tuple(labels), options or TrialOptions())
        inspect = partial(_inspect_staged, staged, asked, settings)
        reply = inspect()
        if "files" in reply:
            bring_files(reply["files"], source or path.parent, staged.parent)
            reply = inspect()
        return manifest_from(reply)


def _inspect_staged(staged: Path, asked: _Question, settings: Settings) -> Reply:
    """Inspect a file below `models_dir`, here or by a worker."""
    if can_inspect_here():
        return run_inspection(
            staged, name=asked.name, version=asked.version, labels=asked.labels, options=asked.options
        )
    url, namespace = _queue_of(settings)
    root = settings.models_dir.resolve()
    with ExitStack() as stack:
        options = asked.options.to_wire(_staged_example(asked.options, root, stack))
        question: list[object] = [str(staged.relative_to(root)), asked.name, asked.version, list(asked.labels), options]
        client = connect(url, namespace)
        stack.callback(client.redis.close)
        return ask_worker(question, client=client, send=_sender(url, client.keys), limit_s=inspection_limit_s(staged))


def _staged_example(options: TrialOptions, root: Path, stack: ExitStack) -> str:
    """Copy the example to where workers can read it; return its place in the repository `root`, empty without one."""
    if options.example is None:
        return ""
    # In a folder of its own: the model's is published as it is.
    staged = stack.enter_context(Repository(root).staging()) / EXAMPLE_FILE
    shutil.copyfile(options.example, staged)
    return str(staged.relative_to(root))


def check_file(path: Path) -> None:
    """Refuse what need not be opened to be refused.

    Raises:
        ModelRefusedError: no file, an empty one, or one above MAX_MODEL_BYTES.
    """
    if not path.is_file():
        raise ModelRefusedError(f"there is no file {path}")
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise ModelRefusedError("the file is empty; export the model again")
    if size_bytes > MAX_MODEL_BYTES:
        raise ModelRefusedError(
            f"the file has {size_bytes / 2**30:.1f} GiB, the limit is {MAX_MODEL_BYTES // 2**30} GiB; "
            "keep its weights in another file (external data), quantize it, or re-export it with float16 weights"
        )


def can_inspect_here() -> bool:
    """Say whether this environment can read ONNX files itself; the API's image cannot."""
    return all(importlib.util.find_spec(module) is not None for module in ("onnx", "onnxruntime", "worker"))


def ask_worker(
    question: list[object], *, client: "ThreadClient", send: Send, limit_s: float = INSPECTION_LIMIT_S
) -> Reply:
    """Send (staged path, name, version, labels, options) to any free worker; wait `limit_s` for its reply.

    Raises:
        NoWorkerError: when nobody takes it within PICKUP_LIMIT_S, or its taker falls silent.
        QueueUnavailableError: when Redis cannot be reached.
    """
    reply_key = f"{client.keys.reply}{uuid.uuid4().hex}"
    with redis_errors():
        # Asked first: Celery's own attempts at a dead Redis take several times longer to give up.
        client.redis.ping()
        send([*question, reply_key])
        patience_s, has_started = float(PICKUP_LIMIT_S), False
        while patience_s > 0:
            popped = cast("tuple[bytes, bytes] | None", client.redis.blpop([reply_key], timeout=STEP_S))
            if popped is None:
                patience_s -= STEP_S
                continue
            reply = json.loads(popped[1])
            if reply != STARTED:
                return cast("Reply", reply)
            patience_s, has_started = limit_s + STEP_S, True
    if has_started:
        raise NoWorkerError("the worker that took the file fell silent; see its log, then try again")
    raise NoWorkerError(
        f"no worker answered within {PICKUP_LIMIT_S} s; onnxruntime is not installed here, so one is needed: "
        "start it with `ferry up` or `docker compose up -d worker`, then try again"
    )


def _sender(url: str, keys: Keys) -> Send:
    def send(args: list[object]) -> None:
        # Celery costs a third of a second to import, and `ferry models list` needs none of it.
        from celery import Celery  # noqa: PLC0415
        from kombu.exceptions import OperationalError  # noqa: PLC0415

        app = Celery("ferry-inspection", broker=url, set_as_current=False, fixups=[])
        app.conf.broker_transport_options = transport_options(keys)
        try:
            app.send_task(INSPECT_TASK, args=args, queue=CONTROL_QUEUE, ignore_result=True, retry=False)
        except OperationalError as error:
            raise QueueUnavailableError(f"the question for a worker could not be sent: {error}") from error
        finally:
            app.close()

    return send


def _queue_of(settings: Settings) -> tuple[str, str]:
    """Return URL of Redis and namespace: as set, or where Redis is embedded, from the file of the running stack."""
    if settings.redis_url != EMBEDDED:
        return settings.redis_url, settings.namespace
    file = settings.data_dir / RUN_FILE
    try:
        running = json.loads(file.read_bytes())
        return str(running["redis_url"]), str(running["namespace"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            "onnxruntime is not installed here and no worker can be asked: FERRY_REDIS_URL is empty and no stack is up "
            f"({file} names none); run `make setup` (or `pip install onnx onnxruntime`), or start one with `ferry up`"
        ) from None
