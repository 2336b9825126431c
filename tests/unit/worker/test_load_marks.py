import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ferry.repository import Repository
from tests import onnx_models
from tests.integration.conftest import publish
from tests.manifests import manifest, spec
from worker.load_marks import DEATHS_LIMIT, FIRST_PAUSE_S, KEPT_S, LONGEST_PAUSE_S, LoadMarks
from worker.serving import Shelf

LOAD = ("toy", "1", "digest")
# Loads under a mark in a process of its own, which dies of it.
LOADER = """
import os, signal, sys
from pathlib import Path
from worker.load_marks import LoadMarks
with LoadMarks(Path(sys.argv[1]), sys.argv[3]).loading(tuple(sys.argv[2].split(","))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Turned:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def die_of(folder: Path, load: tuple[str, str, str] = LOAD, worker: str = "worker-1") -> None:
    command = [sys.executable, "-c", LOADER, str(folder), ",".join(load), worker]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL


@pytest.fixture
def clock() -> Turned:
    clock = Turned()
    clock.now = 1000.0
    return clock


@pytest.fixture
def marks(tmp_path: Path, clock: Turned) -> LoadMarks:
    return LoadMarks(tmp_path, "worker-1", clock=clock)


def test_left_out_when_enough_workers_died_of_it_then_for_a_pause_that_grows(
    marks: LoadMarks, tmp_path: Path, clock: Turned
) -> None:
    die_of(tmp_path)
    assert marks.left_out() == {}
    die_of(tmp_path)
    (reason,) = marks.left_out().values()
    assert set(marks.left_out()) == {LOAD}
    assert reason.startswith("a worker died 2 times while it loaded it")
    assert "tried again at 1970-01-01 00:17:40 UTC" in reason
    clock.now += FIRST_PAUSE_S
    assert marks.left_out() == {}
    die_of(tmp_path)
    assert set(marks.left_out()) == {LOAD}
    for _ in range(7):
        die_of(tmp_path)
    assert set(marks.left_out()) == {LOAD}
    clock.now += LONGEST_PAUSE_S - 1
    assert set(marks.left_out()) == {LOAD}
    clock.now += 1
    assert marks.left_out() == {}


def test_left_out_when_a_load_ends_well_then_the_deaths_before_it_are_forgotten(
    marks: LoadMarks, tmp_path: Path
) -> None:
    other = ("other", "1", "digest")
    for _ in range(DEATHS_LIMIT):
        die_of(tmp_path)
        die_of(tmp_path, other)
    with marks.loading(LOAD):
        pass
    assert set(marks.left_out()) == {other}


def test_left_out_when_many_workers_died_once_then_nothing_is_left_out(marks: LoadMarks, tmp_path: Path) -> None:
    for n in range(3):
        die_of(tmp_path, worker=f"worker-{n}")
    assert marks.left_out() == {}


def test_left_out_when_another_worker_tries_it_again_then_until_it_knows(
    marks: LoadMarks, tmp_path: Path, clock: Turned
) -> None:
    for _ in range(DEATHS_LIMIT):
        die_of(tmp_path)
    assert set(marks.left_out()) == {LOAD}
    clock.now += LONGEST_PAUSE_S
    assert marks.left_out() == {}
    with LoadMarks(tmp_path, "worker-2", clock=clock).loading(LOAD):
        assert marks.left_out()[LOAD].endswith("another worker is trying it")
    assert marks.left_out() == {}
    assert list(tmp_path.iterdir()) == []


def test_left_out_when_there_are_very_many_deaths_or_the_clock_went_back_then_for_the_longest_pause(
    marks: LoadMarks, tmp_path: Path, clock: Turned
) -> None:
    for n in range(2000):
        (tmp_path / f"{n}.dead").write_text(json.dumps([*LOAD, "worker-1"]))
        os.utime(tmp_path / f"{n}.dead", (clock.now + 90_000, clock.now + 90_000))
    assert "tried again at 1970-01-01 01:16:40 UTC" in marks.left_out()[LOAD]


def test_left_out_when_a_load_raises_or_is_under_way_then_it_is_no_death(marks: LoadMarks, tmp_path: Path) -> None:
    die_of(tmp_path)

    def refuse() -> None:
        with marks.loading(LOAD):
            assert marks.left_out() == {}
            raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        refuse()
    assert marks.left_out() == {}
    assert len(list(tmp_path.iterdir())) == 1


def test_left_out_when_marks_are_old_or_damaged_then_they_count_for_nothing(
    marks: LoadMarks, tmp_path: Path, clock: Turned
) -> None:
    for text in ("", "{", "[1]", '"abcde"', "[1, 2, 3, 4, 5]"):
        (tmp_path / f"{len(text)}.json").write_text(text)
    (tmp_path / "left.draft").write_text("")
    os.utime(tmp_path / "left.draft", (clock.now, clock.now))
    for _ in range(DEATHS_LIMIT):
        die_of(tmp_path)
    assert set(marks.left_out()) == {LOAD}
    clock.now += KEPT_S + 1
    assert marks.left_out() == {}
    assert list(tmp_path.iterdir()) == []


def test_loading_when_the_folder_cannot_be_written_then_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    marks = LoadMarks(tmp_path / "file" / "folder", "worker-1")
    with marks.loading(LOAD):
        assert marks.left_out() == {}


def test_refresh_when_a_version_killed_workers_then_the_others_are_served_until_its_pause_or_its_files_change(
    tmp_path: Path, clock: Turned
) -> None:
    root, folder = tmp_path / "models", tmp_path / "marks"
    toy = publish(root, onnx_models.doubled(), manifest("toy", outputs=(spec("y", "float32", 3),)))
    publish(root, onnx_models.doubled(), manifest("good", outputs=(spec("y", "float32", 3),)))
    for _ in range(DEATHS_LIMIT):
        die_of(folder, ("toy", "1", toy.digest))
    shelf = Shelf(Repository(root), threads=1, marks=LoadMarks(folder, "worker-1", clock=clock))
    shelf.load_all()
    assert shelf.keys() == [("good", "1")]
    assert "a worker died 2 times while it loaded it" in shelf.broken["toy", "1"]
    shelf.refresh()
    assert shelf.keys() == [("good", "1")]
    clock.now += FIRST_PAUSE_S
    assert shelf.refresh().loaded == (("toy", "1"),)
    assert (shelf.broken, list(folder.iterdir())) == ({}, [])
