import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import onnx_models
from worker.inspection.__main__ import main


def test_main_when_labels_are_in_a_file_then_they_are_read(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "model.onnx")
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    command = [sys.executable, "-m", "worker.inspection", path, "--name=m", "--version=1"]
    done = subprocess.run([*command, "--labels", tmp_path / "labels.txt"], capture_output=True, check=True)
    assert json.loads(done.stdout)["manifest"]["labels"] == ["no", "yes"]


def test_main_when_a_file_cannot_be_read_then_it_is_a_reply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "model.onnx")
    for labels, words in ((tmp_path / "none.txt", "No such file"), (path, "not UTF-8")):
        main([str(path), "--name=m", "--version=1", f"--labels={labels}"])
        assert words in json.loads(capsys.readouterr().out)["error"]["detail"]


def test_main_when_the_model_is_refused_then_the_code_and_the_reason_are_the_reply(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = onnx_models.save(onnx_models.future_opset(), tmp_path / "model.onnx")
    main([str(path), "--name=m", "--version=1"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "model_refused"
    assert "opset 999" in error["detail"]
