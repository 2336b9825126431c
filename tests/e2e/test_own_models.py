"""Bring your own model: a file, one command, and it is served, with no code written."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests import onnx_models
from tests.e2e.conftest import FERRY, Stack
from tests.processes import ROOT, eventually

pytestmark = pytest.mark.timeout(300)


def add(stack: Stack, path: Path, name: str) -> str:
    """Run `ferry models add` beside the running stack; returns what it prints."""
    done = subprocess.run(
        [FERRY, "models", "add", str(path), "--name", name],
        cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def predicted(client: httpx.Client, name: str, inputs: dict[str, object]) -> dict[str, object]:
    eventually(lambda: _live_workers(client, name) == 2, f"both workers serve {name}")
    response = client.post("/v1/predictions", json={"version": name, "input": inputs}, headers={"Prefer": "wait"})
    assert response.status_code == 201, response.text
    assert response.json()["error"] is None
    return response.json()["output"]


def _live_workers(client: httpx.Client, name: str) -> int:
    response = client.get(f"/v1/models/{name}")
    return response.json()["versions"][-1]["live_workers"] if response.status_code == 200 else 0


def test_model_when_it_has_two_outputs_and_three_inputs_then_served(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    add(stack, onnx_models.save(onnx_models.two_inputs_two_outputs(), tmp_path / "m.onnx"), "pair")
    output = predicted(client, "pair", {"a": [[1, 2]], "b": [[10, 20]], "k": [[1, 2, 3]]})
    assert output == {"total": [[11.0, 22.0]], "rank": [[2, 4, 6]]}


def test_model_when_it_takes_strings_then_served(stack: Stack, client: httpx.Client, tmp_path: Path) -> None:
    add(stack, onnx_models.save(onnx_models.string_input(), tmp_path / "m.onnx"), "words")
    output = predicted(client, "words", {"text": [["yes"], ["no"], ["größer"]]})
    assert output == {"label": [[1], [0], [-1]], "echo": [["yes"], ["no"], ["größer"]]}


def test_model_when_its_batch_is_fixed_at_one_then_each_job_is_a_run(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    told = add(stack, onnx_models.save(onnx_models.fixed_batch(1), tmp_path / "m.onnx"), "single")
    assert "the batch axis is fixed at 1, so each job is a run of its own" in told
    eventually(lambda: _live_workers(client, "single") == 2, "both workers serve it")
    spec = client.get("/v1/models/single").json()["versions"][0]["inputs"][0]
    width = spec["shape"][1]
    output = predicted(client, "single", {spec["name"]: [[3.0] * width]})
    assert list(output.values()) == [[[6.0] * width]]


def test_model_when_the_printed_first_job_is_pasted_then_it_works(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    told = add(stack, onnx_models.save(onnx_models.doubled(), tmp_path / "m.onnx"), "pasted")
    eventually(lambda: _live_workers(client, "pasted") == 2, "both workers serve it")
    command = next(line for line in told.splitlines() if "curl" in line)
    command = re.sub(r"http://[^/ ]+", stack.api_url, command)
    if subprocess.run(["which", "curl"], capture_output=True, check=False).returncode:
        pytest.skip("there is no curl on this machine")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=True)
    assert '"status":"succeeded"' in done.stdout
