import json
import sys
from pathlib import Path

import pytest

from ferry.errors import InvalidInputError, ModelRefusedError
from ferry.inspection_process import manifest_from, run_inspection
from tests import onnx_models


def test_run_inspection_when_the_file_is_good_then_the_manifest_comes_back(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.classes(2), tmp_path / "-odd name.onnx")
    reply = run_inspection(path, name="m", version="3", labels=("nein", "größer"))
    manifest = manifest_from(json.loads(json.dumps(reply)))
    assert (manifest.ref, manifest.labels) == ("m:3", ("nein", "größer"))


def test_run_inspection_when_the_file_is_refused_then_the_reason_comes_back(tmp_path: Path) -> None:
    path = onnx_models.save(onnx_models.future_opset(), tmp_path / "model.onnx")
    reply = run_inspection(path, name="m", version="1")
    assert reply["error"]["code"] == "model_refused"
    with pytest.raises(ModelRefusedError, match="opset 999"):
        manifest_from(reply)


@pytest.mark.parametrize(
    ("ending", "limit_s", "words"),
    [
        ("kill -SEGV $$", 60, r"crashed the ONNX parser \(Segmentation fault\).*export the model again"),
        ("kill -KILL $$", 60, "killed, most likely for want of memory"),
        ("echo oh no >&2; exit 3", 60, "broke with exit code 3: oh no"),
        # A pipe that nobody writes to holds its reader for ever.
        ("mkfifo $0.pipe && exec 3<>$0.pipe && read forever <&3", 0.1, "longer than 0.1 s"),
    ],
)
def test_run_inspection_when_the_process_ends_badly_then_it_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, limit_s: float, words: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{ending}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    reply = run_inspection(tmp_path / "model.onnx", name="m", version="1", limit_s=limit_s)
    with pytest.raises(ModelRefusedError, match=words):
        manifest_from(reply)


def test_run_inspection_when_a_label_has_a_line_break_then_it_is_invalid_input(tmp_path: Path) -> None:
    reply = run_inspection(tmp_path / "model.onnx", name="m", version="1", labels=("two\nlines",))
    with pytest.raises(InvalidInputError, match="one line of text"):
        manifest_from(reply)


def test_manifest_from_when_the_code_is_unknown_then_it_is_a_refusal() -> None:
    with pytest.raises(ModelRefusedError, match="later releases say so"):
        manifest_from({"error": {"code": "of_a_later_release", "detail": "later releases say so"}})
