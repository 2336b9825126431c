import base64
import json
import os
import re
from pathlib import Path

import kombu
import pytest

from ferry import inspection as asking
from ferry.errors import ConfigError, ModelRefusedError, NoWorkerError, QueueUnavailableError
from ferry.inspection_process import INSPECTION_LIMIT_S, Reply, TrialOptions, inspection_limit_s
from ferry.local.data_dir import RUN_FILE
from ferry.queue.connection import QueueClient
from ferry.queue.keys import CONTROL_QUEUE, Keys
from ferry.settings import Settings
from tests import onnx_models
from tests.namespaces import KEYS, client_of

# --- by a worker


class FakeRedis:
    """The list commands of a question; `script` is what the worker pushes, step by step."""

    def __init__(self, script: list[object] | None = None) -> None:
        self.script = [None if step is None else (b"key", json.dumps(step).encode()) for step in script or []]
        self.steps = 0

    def ping(self) -> bool:
        return True

    def blpop(self, keys: list[str], timeout: float) -> object:
        self.steps += 1
        assert 0 < timeout < 1
        return self.script.pop(0) if self.script else None

    def close(self) -> None:
        pass


class DeadRedis(FakeRedis):
    def ping(self) -> bool:
        raise ConnectionRefusedError("connection refused")


NO_OPTIONS = {"fixed": [], "example": "", "rows_independent": False}
QUESTION: list[object] = [".incoming-1/model.onnx", "m", "1", [], NO_OPTIONS]


def test_ask_worker_when_one_answers_then_its_reply_is_returned() -> None:
    sent: list[list[object]] = []
    reply = {"error": {"code": "model_refused", "detail": "no"}}
    redis = FakeRedis([None, None, asking.STARTED, None, reply])
    assert asking.ask_worker(QUESTION, client=client_of(redis), send=sent.append) == reply
    ((*question, reply_key),) = sent
    assert question == QUESTION
    assert str(reply_key).startswith(KEYS.reply)


def test_ask_worker_when_nobody_takes_it_then_the_wait_is_bounded() -> None:
    redis = FakeRedis()
    with pytest.raises(NoWorkerError, match=r"no worker answered within 30 s.*ferry up"):
        asking.ask_worker(QUESTION, client=client_of(redis), send=lambda args: None)
    assert redis.steps == asking.PICKUP_LIMIT_S / asking.STEP_S


def test_ask_worker_when_the_worker_falls_silent_then_the_wait_is_bounded() -> None:
    redis = FakeRedis([asking.STARTED])
    with pytest.raises(NoWorkerError, match="fell silent"):
        asking.ask_worker(QUESTION, client=client_of(redis), send=lambda args: None)
    assert redis.steps <= (INSPECTION_LIMIT_S + 1) / asking.STEP_S + 1


def test_ask_worker_when_redis_is_dead_then_nothing_is_sent() -> None:
    sent: list[list[object]] = []
    with pytest.raises(QueueUnavailableError):
        asking.ask_worker(QUESTION, client=client_of(DeadRedis()), send=sent.append)
    assert sent == []


def test_sender_when_a_question_is_sent_then_it_is_a_task_on_the_control_queue() -> None:
    asking._sender("memory://", KEYS)([*QUESTION, f"{KEYS.reply}1"])
    with kombu.Connection("memory://") as connection:
        message = connection.default_channel._get(CONTROL_QUEUE)
    assert message["headers"]["task"] == asking.INSPECT_TASK
    args, _, _ = json.loads(base64.b64decode(message["body"]))
    assert args == [*QUESTION, f"{KEYS.reply}1"]


# --- where to ask


def settings_of(tmp_path: Path, **values: object) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", models_dir=tmp_path / "models", **values)


@pytest.fixture
def replies() -> list[Reply]:
    """What the worker replies first; then it refuses."""
    return []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, replies: list[Reply]) -> list[tuple[str, str, list[object]]]:
    """Pretend that onnxruntime is not installed and record (URL, namespace, question) instead of sending."""
    calls: list[tuple[str, str, list[object]]] = []
    urls: list[str] = []

    def connect(url: str, namespace: str) -> QueueClient:
        urls.append(url)
        return QueueClient(FakeRedis(), Keys(namespace))

    def ask_worker(question: list[object], *, client: QueueClient, send: object, limit_s: float) -> Reply:
        assert limit_s >= INSPECTION_LIMIT_S
        calls.append((urls[-1], client.keys.namespace, question))
        return replies.pop(0) if replies else {"error": {"code": "model_refused", "detail": "asked"}}

    monkeypatch.setattr(asking, "can_inspect_here", lambda: False)
    monkeypatch.setattr(asking, "connect", connect)
    monkeypatch.setattr(asking, "ask_worker", ask_worker)
    return calls


def test_inspect_model_when_onnxruntime_is_here_then_no_worker_is_needed(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    assert asking.inspect_model(path, name="m", version="1", settings=settings_of(tmp_path)).ref == "m:1"


def test_inspect_model_when_the_file_is_staged_then_its_place_is_sent(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7", namespace="ours")
    staged = settings.models_dir / ".incoming-1" / "model.onnx"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"model")
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(staged, name="m", version="1", labels=("a",), settings=settings)
    assert asked == [("redis://example/7", "ours", [".incoming-1/model.onnx", "m", "1", ["a"], NO_OPTIONS])]


def test_inspect_model_when_there_are_options_then_they_are_sent_and_the_example_is_staged_and_deleted(
    tmp_path: Path, asked
) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    staged = settings.models_dir / ".incoming-1" / "model.onnx"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"model")
    (tmp_path / "jobs.npz").write_bytes(b"arrays")
    options = TrialOptions(("sr=1",), tmp_path / "jobs.npz", is_rows_independent=True)
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(staged, name="m", version="1", options=options, settings=settings)
    ((_, _, (*_, sent)),) = asked
    assert (sent["fixed"], sent["rows_independent"]) == (["sr=1"], True)
    assert re.fullmatch(r"\.incoming-\w+/example\.npz", sent["example"])
    # The model's folder is published as it is, so the example must not be in it.
    assert not sent["example"].startswith(".incoming-1/")
    assert [path.name for path in settings.models_dir.iterdir()] == [".incoming-1"]
    assert [path.name for path in staged.parent.iterdir()] == ["model.onnx"]


def test_inspect_model_when_the_file_lies_elsewhere_then_a_copy_is_staged_and_deleted(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    ((_, _, (staged, *_)),) = asked
    assert staged.startswith(".incoming-")
    assert list(settings.models_dir.iterdir()) == []


def test_inspect_model_when_redis_is_embedded_then_the_running_stack_is_asked(tmp_path: Path, asked) -> None:
    settings = settings_of(tmp_path, redis_url="")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    with pytest.raises(ConfigError, match=r"run\.json.*ferry up"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    settings.data_dir.mkdir()
    (settings.data_dir / RUN_FILE).write_text('{"redis_url": "redis://127.0.0.1:7777/0", "namespace": "theirs"}')
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    assert asked[0][:2] == ("redis://127.0.0.1:7777/0", "theirs")


# --- files that the model names

WANTED = {"weights.bin": "w"}


def test_inspect_model_when_the_worker_wants_files_then_they_are_staged_and_it_is_asked_again(
    tmp_path: Path, asked, replies: list[Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    path = onnx_models.save(onnx_models.external_weights(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").write_bytes(onnx_models.EXTERNAL_BYTES)
    replies.append({"files": WANTED})
    staged: list[list[str]] = []
    ask = asking.ask_worker

    def look_and_ask(question: list[object], **more: object) -> Reply:
        staged.append(sorted(file.name for file in (settings.models_dir / str(question[0])).parent.iterdir()))
        return ask(question, **more)

    monkeypatch.setattr(asking, "ask_worker", look_and_ask)
    with pytest.raises(ModelRefusedError, match="asked"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    assert staged == [["model.onnx"], ["model.onnx", "weights.bin"]]
    assert asked[0] == asked[1]
    assert list(settings.models_dir.iterdir()) == []


def test_inspect_model_when_the_worker_never_has_enough_then_it_is_asked_twice(
    tmp_path: Path, asked, replies: list[Reply]
) -> None:
    path = onnx_models.save(onnx_models.external_weights(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").write_bytes(onnx_models.EXTERNAL_BYTES)
    replies += [{"files": WANTED}] * 3
    with pytest.raises(ModelRefusedError, match="not beside it: weights"):
        asking.inspect_model(path, name="m", version="1", settings=settings_of(tmp_path, redis_url="redis://example/7"))
    assert len(asked) == 2


def test_inspect_model_when_the_worker_asks_for_a_file_elsewhere_then_it_does_not_get_it(
    tmp_path: Path, asked, replies: list[Reply]
) -> None:
    settings = settings_of(tmp_path, redis_url="redis://example/7")
    folder = tmp_path / "download"
    folder.mkdir()
    path = onnx_models.save(onnx_models.external_weights(), folder / "model.onnx")
    (tmp_path / "secret").write_bytes(b"secret")
    replies.append({"files": {"../secret": "w"}})
    with pytest.raises(ModelRefusedError, match=r"'\.\./secret', which leaves the model's folder"):
        asking.inspect_model(path, name="m", version="1", settings=settings)
    assert list(settings.models_dir.iterdir()) == []


def test_inspection_limit_when_files_are_large_then_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    assert inspection_limit_s(path) == INSPECTION_LIMIT_S
    (tmp_path / "weights.bin").touch()
    os.truncate(tmp_path / "weights.bin", 10 * 2**30)  # a hole: takes no space
    assert INSPECTION_LIMIT_S + 300 < inspection_limit_s(path) < INSPECTION_LIMIT_S + 600
