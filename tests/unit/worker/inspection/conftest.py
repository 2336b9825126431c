"""Fixtures of the inspection's tests: a model is built, saved and inspected; nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from ferry.errors import ModelRefusedError
from ferry.inspection_process import TrialOptions
from ferry.manifest import Manifest
from worker.inspection.manifests import inspect

Look = Callable[..., Manifest]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Save a model (or raw bytes) and inspect it."""

    def look(
        content: onnx.ModelProto | bytes, labels: tuple[str, ...] = (), options: TrialOptions | None = None
    ) -> Manifest:
        path = tmp_path / "model.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return inspect(path, "m", "1", labels, options)

    return look


@pytest.fixture
def refuses(look: Look) -> Callable[[onnx.ModelProto | bytes, str], None]:
    """Inspect a model that is refused with these words, on one line that quotes no source of onnxruntime's."""

    def refuses(content: onnx.ModelProto | bytes, words: str) -> None:
        with pytest.raises(ModelRefusedError, match=words) as refusal:
            look(content)
        assert "\n" not in refusal.value.detail
        assert "onnxruntime_src" not in refusal.value.detail

    return refuses
