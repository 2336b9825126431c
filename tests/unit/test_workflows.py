import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.compose_files import ROOT
from tests.schemas import schema_errors

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses: (?P<action>\S+)(?P<rest>.*)$", re.MULTILINE)
DEPENDABOT = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))


def load(text: str) -> dict[str, Any]:
    """Read a workflow; YAML 1.1, which PyYAML speaks, takes its key `on` for true."""
    return {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}


CI = load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
JOBS = CI["jobs"]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def text(request: pytest.FixtureRequest) -> str:
    return request.param.read_text(encoding="utf-8")


# --- any workflow


def test_workflow_when_read_by_github_then_valid(text: str) -> None:
    assert schema_errors("github-workflows", load(text)) == []


def test_schema_when_a_key_is_mistyped_then_named(text: str) -> None:
    (error,) = schema_errors("github-workflows", load(text) | {"permisions": {}})
    assert "permisions" in error


def test_action_when_used_then_pinned_to_a_commit_with_its_version_beside_it(text: str) -> None:
    used = list(USES.finditer(text))
    assert used
    for match in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", match["action"]), match[0]
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", match["rest"]), match[0]


def test_action_when_used_twice_then_at_the_same_commit(text: str) -> None:
    commits: dict[str, set[str]] = {}
    for match in USES.finditer(text):
        commits.setdefault(match["action"].partition("@")[0], set()).add(match["action"] + match["rest"])
    assert all(len(each) == 1 for each in commits.values())


def test_workflow_when_run_then_it_reads_and_each_job_ends(text: str) -> None:
    workflow = load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    assert workflow["concurrency"]["group"]


def test_step_when_it_runs_a_script_then_nothing_from_outside_is_pasted_into_it(text: str) -> None:
    steps = [step for job in load(text)["jobs"].values() for step in job["steps"]]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_make_when_called_then_a_target_of_the_makefile(text: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    targets = set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE))
    called = set(re.findall(r"run: make (\S+)", text))
    assert called
    assert called <= targets


# --- what CI covers


def test_test_job_when_run_then_on_every_python_that_is_supported() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    least, beyond = (int(minor) for minor in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", required).groups())
    assert JOBS["test"]["strategy"]["matrix"]["python-version"] == [f"3.{minor}" for minor in range(least, beyond)]


def test_images_when_built_then_those_of_the_root_and_each_scanned_before_one_is_published() -> None:
    names = sorted(path.name.removeprefix("Dockerfile.") for path in ROOT.glob("Dockerfile.*"))
    assert JOBS["images"]["strategy"]["matrix"]["image"] == JOBS["publish"]["strategy"]["matrix"]["image"] == names
    (scan,) = (step["with"] for step in JOBS["images"]["steps"] if "trivy" in step.get("uses", ""))
    assert (scan["severity"], scan["exit-code"], scan["ignore-unfixed"]) == ("HIGH,CRITICAL", "1", True)


def test_publish_when_run_then_for_a_tag_after_everything_else_and_it_alone_may_write() -> None:
    assert CI["on"]["push"]["tags"] == ["v*"]
    assert JOBS["publish"]["if"] == "startsWith(github.ref, 'refs/tags/v')"
    assert set(JOBS["publish"]["needs"]) == set(JOBS) - {"publish"}
    assert {name for name, job in JOBS.items() if "write" in job.get("permissions", {}).values()} == {"publish"}
    (push,) = (step["with"] for step in JOBS["publish"]["steps"] if "build-push" in step.get("uses", ""))
    assert (push["push"], push["provenance"], push["sbom"]) == (True, "mode=max", True)


def test_stack_when_run_then_the_compose_tests_with_an_engine() -> None:
    runs = [step["run"] for step in JOBS["stack"]["steps"] if "run" in step]
    assert runs[-2:] == ["docker info", ".venv/bin/python -m pytest tests/compose"]


# --- updates


def test_dependabot_when_read_by_github_then_valid_and_everything_pinned_is_looked_after() -> None:
    assert schema_errors("dependabot", DEPENDABOT) == []
    kinds = {each["package-ecosystem"] for each in DEPENDABOT["updates"]}
    assert kinds == {"uv", "github-actions", "docker", "docker-compose"}
