import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferry.errors import InvalidInputError
from ferry.inspection import STARTED
from ferry.inspection_process import manifest_from
from tests import onnx_models
from tests.namespaces import KEYS, client_of
from worker.inspection_answers import answer

KEY = KEYS.reply + "1"


OPTIONS: dict[str, object] = {"fixed": [], "example": "", "rows_independent": False}


class FakeRedis:
    """The list commands of an answer."""

    def __init__(self) -> None:
        self.lists: dict[str, list[object]] = {}
        self.expiries: dict[str, int] = {}

    def pipeline(self, *, transaction: bool) -> "FakeRedis":
        return self

    def __enter__(self) -> "FakeRedis":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rpush(self, key: str, item: str) -> None:
        self.lists.setdefault(key, []).append(json.loads(item))

    def expire(self, key: str, seconds: int) -> None:
        self.expiries[key] = seconds

    def execute(self) -> None:
        pass


def test_answer_when_the_file_is_staged_then_the_reply_is_pushed_and_expires(tmp_path: Path) -> None:
    (tmp_path / ".incoming-1").mkdir()
    onnx_models.save(onnx_models.doubled(), tmp_path / ".incoming-1" / "model.onnx")
    redis = FakeRedis()
    answer(".incoming-1/model.onnx", "m", "1", [], OPTIONS, KEY, models_dir=tmp_path, client=client_of(redis))
    started, reply = redis.lists[KEY]
    assert started == STARTED
    assert manifest_from(reply).ref == "m:1"
    assert redis.expiries == {KEY: 60}


def test_answer_when_the_model_names_files_then_they_are_wanted_and_then_used(tmp_path: Path) -> None:
    folder = tmp_path / ".incoming-1"
    folder.mkdir()
    onnx_models.save(onnx_models.external_weights(), folder / "model.onnx")
    redis = FakeRedis()
    answer(".incoming-1/model.onnx", "m", "1", [], OPTIONS, KEY, models_dir=tmp_path, client=client_of(redis))
    assert redis.lists[KEY][-1] == {"files": {onnx_models.EXTERNAL_FILE: "w"}}
    (folder / onnx_models.EXTERNAL_FILE).write_bytes(onnx_models.EXTERNAL_BYTES)
    answer(".incoming-1/model.onnx", "m", "1", [], OPTIONS, KEY, models_dir=tmp_path, client=client_of(redis))
    assert [file.name for file in manifest_from(redis.lists[KEY][-1]).files] == [onnx_models.EXTERNAL_FILE]


@pytest.mark.parametrize("staged", ["../secret.onnx", "/etc/passwd", ".incoming-1/../../secret.onnx", "link.onnx"])
def test_answer_when_the_path_leaves_the_repository_then_the_file_is_not_opened(tmp_path: Path, staged: str) -> None:
    root = tmp_path / "models"
    root.mkdir()
    onnx_models.save(onnx_models.doubled(), tmp_path / "secret.onnx")
    (root / "link.onnx").symlink_to(tmp_path / "secret.onnx")
    redis = FakeRedis()
    answer(staged, "m", "1", [], OPTIONS, KEY, models_dir=root, client=client_of(redis))
    assert redis.lists[KEY][-1]["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("example", ["../secret.npz", "/etc/passwd", "link.npz"])
def test_answer_when_the_example_leaves_the_repository_then_it_is_not_opened(tmp_path: Path, example: str) -> None:
    root = tmp_path / "models"
    root.mkdir()
    onnx_models.save(onnx_models.doubled(), root / "model.onnx")
    np.savez(tmp_path / "secret.npz", x=np.ones((1, 3), np.float32))
    (root / "link.npz").symlink_to(tmp_path / "secret.npz")
    redis = FakeRedis()
    options = OPTIONS | {"example": example}
    answer("model.onnx", "m", "1", [], options, KEY, models_dir=root, client=client_of(redis))
    error = redis.lists[KEY][-1]["error"]
    assert error["code"] == "invalid_input"
    assert "lies outside the model repository" in error["detail"]


def test_answer_when_there_are_options_then_the_trial_follows_them(tmp_path: Path) -> None:
    onnx_models.save(onnx_models.keeps_state(), tmp_path / "model.onnx")
    arrays = {"x": np.ones((1, 5), np.float32), "state": np.ones((2, 1, 8), np.float32)}
    np.savez(tmp_path / "example.npz", **arrays)
    options = {"fixed": ["sr=8000"], "example": "example.npz", "rows_independent": True}
    redis = FakeRedis()
    answer("model.onnx", "m", "1", [], options, KEY, models_dir=tmp_path, client=client_of(redis))
    manifest = manifest_from(redis.lists[KEY][-1])
    assert [each.values for each in manifest.fixed_inputs] == [(8000,)]
    assert manifest.is_batched


def test_answer_when_the_reply_key_is_another_key_then_nothing_is_written(tmp_path: Path) -> None:
    redis = FakeRedis()
    with pytest.raises(InvalidInputError, match="reply key"):
        answer("model.onnx", "m", "1", [], OPTIONS, KEYS.job + "1", models_dir=tmp_path, client=client_of(redis))
    assert redis.lists == {}


def test_worker_when_it_is_imported_then_onnx_is_not_loaded(tmp_path: Path) -> None:
    program = (
        "import sys, worker.__main__; assert 'worker.inspection_answers' in sys.modules; "
        "print([name for name in sys.modules if name.split('.')[0] == 'onnx'])"
    )
    # Named, since the Celery application wants one; nothing connects to it.
    environment = {**os.environ, "FERRY_REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
