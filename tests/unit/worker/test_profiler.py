import logging
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from ferry.manifest import ExecutionMode
from tests import onnx_models
from tests.fakes.sessions import FakeSession
from tests.manifests import manifest
from tests.unit.worker.conftest import XYZ, put_model
from worker import profiler as module
from worker.models import Model, load_model
from worker.profile_files import ProfileFiles
from worker.profiler import Profiler, describe_machine
from worker.profiling import Budget

BUDGET = Budget(latency_s=0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "profiles"


def profiler(folder: Path, machine: str = "a machine", budget: Budget = BUDGET) -> Profiler:
    return Profiler(ProfileFiles(folder), machine=machine, budget=budget, clock=count(0, 0.001).__next__)


def model(compute=lambda x: [x], **changes: object) -> tuple[Model, FakeSession]:
    session = FakeSession(compute)
    return Model(manifest(**(XYZ | {"max_rows": None} | changes)), session), session


def test_call_when_first_seen_then_measured_chosen_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    subject, session = model()
    with caplog.at_level(logging.INFO):
        profile = profiler(folder)(subject)
    assert profile.sizes == tuple(2**n for n in range(11))
    assert profile.max_rows == 1024  # each run takes one tick of the clock, whatever its rows
    assert profile.machine == "a machine"
    assert profile.measured_at.endswith("+00:00")
    assert "measured toy:1" in caplog.text
    assert max(session.rows_a_run) == 1024


def test_call_when_kept_from_before_then_not_measured_again(folder: Path) -> None:
    before = profiler(folder)(model()[0])
    subject, session = model()
    assert profiler(folder)(subject) == before
    assert session.feeds == []


@pytest.mark.parametrize(
    ("changes", "machine", "budget"),
    [
        ({}, "another machine", BUDGET),
        ({}, "a machine", Budget(latency_s=0.1)),
        ({"max_rows": 4, "fixed_rows": 4}, "a machine", BUDGET),
    ],
)
def test_call_when_anything_that_matters_differs_then_measured_anew(
    folder: Path, changes: dict[str, object], machine: str, budget: Budget
) -> None:
    profiler(folder)(model()[0])
    subject, session = model(**changes)
    profiler(folder, machine, budget)(subject)
    assert session.feeds


def test_call_when_the_same_file_runs_whole_jobs_elsewhere_then_its_profile_is_not_taken(folder: Path) -> None:
    batched, _ = model()
    whole, _ = model()
    execution = whole.manifest.execution.model_copy(update={"mode": ExecutionMode.WHOLE_JOB})
    whole = Model(whole.manifest.model_copy(update={"execution": execution}), FakeSession(lambda x: [x]))
    assert profiler(folder)(whole).max_rows == 1
    assert profiler(folder)(batched).max_rows == 1024


def test_call_when_the_manifest_says_a_number_then_measured_all_the_same(folder: Path) -> None:
    subject, _ = model(max_rows=4)
    subject.adopt(profiler(folder)(subject))
    assert (subject.profile.max_rows, subject.limits.max_rows) == (1024, 4)


@pytest.mark.parametrize(("max_rows", "said"), [(None, "64 rows"), (16, "16 rows")])
def test_call_when_the_model_raises_then_none_and_said_with_the_rows_it_keeps(
    folder: Path, caplog: pytest.LogCaptureFixture, max_rows: int | None, said: str
) -> None:
    def fail(x: np.ndarray) -> list[np.ndarray]:
        raise ValueError("not these rows\nand a page of graph")

    subject, _ = model(fail, max_rows=max_rows)
    assert profiler(folder)(subject) is None
    assert f"toy:1 cannot be measured, so {said} a run it is: not these rows" in caplog.text
    assert "graph" not in caplog.text


def test_call_when_the_model_is_real_then_it_has_a_profile(folder: Path, tmp_path: Path) -> None:
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString(), max_rows=None)
    real = load_model(tmp_path / "toy" / "1", made, threads=1)
    profile = Profiler(ProfileFiles(folder), machine=describe_machine(1), budget=BUDGET)(real)
    assert profile.max_rows in profile.sizes
    assert profile.max_wait_ms == 0


@pytest.mark.parametrize(
    ("text", "name"), [("processor: 0\nmodel name\t: Fast CPU @ 3 GHz\nmodel name\t: other\n", "Fast CPU @ 3 GHz")]
)
def test_describe_machine_when_linux_says_then_processor_cores_version_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "cpuinfo")
    said = describe_machine(3)
    assert said.startswith(f"{name}, cores: ")
    assert "onnxruntime " in said
    assert said.endswith(", threads: 3")


def test_describe_machine_when_the_system_keeps_it_to_itself_then_something_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "none")
    assert not describe_machine(1).startswith(",")
