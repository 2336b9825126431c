import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ferry.cli.first_job import expected_api_url, first_job, running_api_url
from ferry.json_tensors import read_inputs
from ferry.local.data_dir import RUN_FILE, DataDir, RunInfo
from ferry.manifest import Manifest, TensorSpec
from ferry.settings import Settings


def manifest_of(*inputs: TensorSpec) -> Manifest:
    return Manifest(name="m", version="1", inputs=inputs, outputs=inputs, sha256="0" * 64)


def body_of(line: str) -> dict[str, object]:
    """Return the JSON that a pasted line sends, run as the shell would but for curl."""
    first, _, _ = line.partition(" | ")
    words = shlex.split(first)
    if words[0] == "curl":
        return json.loads(words[-1])
    assert words[0] == "python3"
    made = subprocess.run([sys.executable, *words[1:]], capture_output=True, check=True)
    return json.loads(made.stdout)


@pytest.mark.parametrize("width", [2, 1000])
def test_first_job_when_it_is_pasted_then_it_fits_the_model(width: int) -> None:
    manifest = manifest_of(
        TensorSpec(name="x", dtype="float32", shape=(None, width), range=(0.5, 1)),
        TensorSpec(name='it\'s "text" ü', dtype="string", shape=(None, None)),
        TensorSpec(name="flag", dtype="bool", shape=(None,)),
        TensorSpec(name="i", dtype="uint8", shape=(None, 1)),
    )
    line = first_job(manifest, api_url="http://127.0.0.1:8001")
    assert "\n" not in line
    assert "http://127.0.0.1:8001/v1/predictions" in line
    assert len(line) < 800
    assert body_of(line) == {
        "version": "m:1",
        "input": {"x": [[0.5] * width], 'it\'s "text" ü': [["text"] * 4], "flag": [False], "i": [[0]]},
    }


STATE = TensorSpec(name="h", dtype="float32", shape=(2, None, 3), batch_axis=1)
WIDE = TensorSpec(name="w", dtype="float32", shape=(None, 100), batch_axis=None)
NO_ROWS = (
    TensorSpec(name="boxes", dtype="float32", shape=(None, 2), batch_axis=None),
    TensorSpec(name="sr", dtype="int64", batch_axis=None),
    TensorSpec(name="any", dtype="string", batch_axis=None, has_any_rank=True),
)
BOXES = {"boxes": [[0.0, 0.0]] * 4, "sr": 0, "any": ["text"] * 4}


@pytest.mark.parametrize(
    ("inputs", "sent"),
    [
        ((STATE,), {"h": [[[0.0] * 3]] * 2}),
        (NO_ROWS, BOXES),
        ((*NO_ROWS, WIDE), BOXES | {"w": [[0.0] * 100] * 4}),
    ],
)
def test_first_job_when_a_job_is_one_run_then_whole_tensors_in_the_models_layout(
    inputs: tuple[TensorSpec, ...], sent: dict[str, object]
) -> None:
    model = manifest_of(*inputs)
    assert not model.is_batched
    sent_inputs = body_of(first_job(model, api_url="http://127.0.0.1:8001"))["input"]
    assert sent_inputs == sent
    read_inputs(model, sent_inputs)


def test_first_job_when_the_address_is_of_ipv6_then_no_shell_expands_its_brackets() -> None:
    line = first_job(manifest_of(TensorSpec(name="x", dtype="bool", shape=(None,))), api_url="http://[::1]:8000")
    assert "'http://[::1]:8000/v1/predictions'" in line


# --- where it goes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", api_port=8100)


def test_running_api_url_when_no_stack_is_up_then_there_is_none(settings: Settings) -> None:
    assert running_api_url(settings) is None
    assert expected_api_url(settings) == "http://127.0.0.1:8100"


def test_running_api_url_when_a_stack_is_up_then_its_address_is_told(settings: Settings) -> None:
    with DataDir(settings.data_dir) as data_dir:
        data_dir.write_run_info(RunInfo(1, "http://127.0.0.1:8123", "", "", "ferry", ""))
        assert running_api_url(settings) == "http://127.0.0.1:8123"
    assert running_api_url(settings) is None


@pytest.mark.parametrize("text", ["", "[]", '{"notes": []}', '{"api_url": "http://later"}'])
def test_running_api_url_when_the_run_file_is_no_such_thing_then_there_is_none(settings: Settings, text: str) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / RUN_FILE).write_text(text)
    assert running_api_url(settings) is None
