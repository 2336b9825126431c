"""What the README shows is pasted into a shell, line by line, and works."""

import json
import re
import shutil
import subprocess

import pytest

from tests.e2e.conftest import Stack
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
CURL_BLOCKS = [
    block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block and "docker" not in block
]

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine"),
]


def paste(stack: Stack, *blocks: str) -> list[str]:
    """Run blocks in one shell, as in one terminal; returns what each printed."""
    script = "\necho '--- next'\n".join(blocks).replace("http://localhost:8000", stack.api_url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("--- next\n")


def test_readme_when_its_curl_lines_are_pasted_then_they_answer_as_it_says(stack: Stack) -> None:
    assert len(CURL_BLOCKS) == 6
    predicted, polled, waited, models, canceled, stats = (json.loads(answer) for answer in paste(stack, *CURL_BLOCKS))
    (promised,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert predicted == json.loads(promised)
    assert polled["status"] == waited["status"] == "succeeded"
    assert polled["labels"] == waited["labels"] == "7"
    assert polled["id"] != waited["id"]
    assert [model["name"] for model in models["data"]].count("mnist") == 1
    assert canceled["id"] == polled["id"]
    assert canceled["status"] == "succeeded"
    assert [model["workers"] for model in stats["models"] if model["name"] == "mnist"] == [2]


def test_readme_when_it_names_files_then_they_are_there() -> None:
    for path in re.findall(r"\]\(([\w./-]+)\)|@(docs/[\w./-]+)", README):
        assert (ROOT / "".join(path)).exists(), path


def test_readme_when_it_names_make_targets_then_they_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
