"""Malformed messages in the queues of a real worker: each is dropped with one line in the log, and jobs go on."""

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import redis

from ferry.jobs import State
from ferry.queue.producer import Producer
from ferry.queue.tickets import ticket_template
from tests.integration.conftest import StartWorker, job, results, serving
from tests.manifests import manifest, spec
from tests.namespaces import KEYS
from tests.processes import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

TOY = manifest("toy", outputs=(spec("y", "float32", 3),), max_rows=16)
SECRET = "s3cret-payload"


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.path, "unpickled")


def changed(*, body: object = None, properties: object = None, headers: dict | None = None, **fields: object) -> str:
    """Return a ticket with some parts changed."""
    message = json.loads(ticket_template("toy", "1"))
    message |= {name.replace("_", "-"): value for name, value in fields.items()}
    message["headers"] |= headers or {}
    if body is not None:
        message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    if properties is not None:
        message["properties"] = properties
    return json.dumps(message)


def garbage(pickled: bytes) -> dict[str, tuple[str | bytes, str]]:
    """Return messages by name, each with what the log says of it."""
    pickle_body = base64.b64encode(pickled).decode()
    proto1 = {"task": "ferry.run_batches", "id": "x", "args": ["toy", "1"], "kwargs": {}}
    no_task = json.loads(changed())
    del no_task["headers"]["task"]
    no_id = json.loads(changed())
    del no_id["headers"]["id"]
    return {
        "bytes": (b"\xff\xfe" + SECRET.encode(), "it is no JSON"),
        "text": (SECRET, "it is no JSON"),
        "null": ("null", "it has no properties"),
        "list": (f'["{SECRET}"]', "it has no properties"),
        "deep": ("[" * 100_000, "it is no JSON"),
        "huge": (json.dumps({"x": SECRET * 400_000}), "it has no properties"),
        "no body": (changed(body=None) and json.dumps({"headers": {}, "properties": {}}), "name no delivery"),
        "bad base64": (
            json.dumps(json.loads(changed()) | {"body": "%%%"}),
            "its body cannot be read",
        ),
        "pickle": (
            json.dumps(json.loads(changed(content_type="application/x-python-serialize", content_encoding="binary"))
                       | {"body": pickle_body}),
            "its content type is 'application/x-python-serialize'",
        ),
        "pickle called json": (json.dumps(json.loads(changed()) | {"body": pickle_body}), "its body cannot be read"),
        "yaml": (changed(content_type="application/x-yaml"), "its content type is 'application/x-yaml'"),
        "no headers": (json.dumps(json.loads(changed()) | {"headers": None}), "it has no headers"),
        "protocol 1": (json.dumps(no_task | {"headers": {}, "body": changed(body=proto1) and base64.b64encode(
            json.dumps(proto1).encode()).decode()}), "protocol 1"),
        "no task": (json.dumps(no_task), "its headers name no task"),
        "no id": (json.dumps(no_id), "it has no id"),
        "unknown task": (changed(headers={"task": "os.system"}), "there is no task 'os.system'"),
        "few arguments": (changed(body=[["toy"], {}, {}]), "its arguments are (str), not (str, str)"),
        "other arguments": (changed(body=[[SECRET, {"a": 1}], {}, {}]), "its arguments are (str, dict)"),
        "named arguments": (changed(body=[["toy", "1"], {SECRET: 1}, {}]), "it has named arguments"),
        "object body": (changed(body={"a": SECRET}), "its body is not [arguments"),
        "callbacks": (changed(body=[["toy", "1"], {}, {"callbacks": [{"task": SECRET}]}]), "the option callbacks"),
        "eta": (changed(headers={"eta": "never"}), "the header eta"),
    }  # fmt: skip


async def test_worker_when_garbage_is_in_its_queues_then_each_is_dropped_with_a_line_and_jobs_go_on(
    start_worker: StartWorker, producer: Producer, redis_url: str, tmp_path: Path
) -> None:
    marker = tmp_path / "unpickled"
    messages = garbage(pickle.dumps(Marker(marker)))
    process = start_worker()
    await serving(producer)
    client = redis.Redis.from_url(redis_url)
    for queue in ("toy:1",):
        for message, _ in messages.values():
            client.lpush(KEYS.tickets + queue, message)
    eventually(
        lambda: process.output.count("message_dropped") >= len(messages) or not process.is_running(),
        "all garbage is dropped",
    )
    assert process.is_running(), process.output[-4000:]
    lines = [line for line in process.output.splitlines() if "message_dropped" in line]
    assert len(lines) == len(messages)
    for name, (_, said) in messages.items():
        assert any(said in line for line in lines), (name, lines)
    task = job(TOY, np.ones((2, 3), np.float32))
    await producer.submit([task])
    (record,) = await results(producer, [task.id])
    assert record.state is State.SUCCEEDED
    assert "Traceback" not in process.output
    assert SECRET not in process.output
    assert not marker.exists()
    client.close()
