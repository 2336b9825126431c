import fcntl
import logging
import multiprocessing
from pathlib import Path

import pytest

from ferry.profile import Profile
from tests.manifests import profile
from worker.profile_files import LOCK_TIMEOUT_S, ProfileFiles

NAME = "0123-4567.json"


class Maker:
    """Makes a profile and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Profile:
        self.calls += 1
        return profile(max_rows=self.calls)


def test_find_or_make_when_there_is_none_then_made_and_kept_for_the_next(tmp_path: Path) -> None:
    make, folder = Maker(), tmp_path / "data" / "profiles"
    assert ProfileFiles(folder).find_or_make(NAME, make) == profile(max_rows=1)
    assert ProfileFiles(folder).find_or_make(NAME, make) == profile(max_rows=1)
    assert make.calls == 1
    assert sorted(path.name for path in folder.iterdir()) == [NAME, "lock"]


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b"{}"])
def test_find_or_make_when_the_file_is_damaged_then_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    make = Maker()
    ProfileFiles(tmp_path).find_or_make(NAME, make)
    assert ProfileFiles(tmp_path).find_or_make(NAME, make) == profile(max_rows=1)


def test_find_or_make_when_making_raises_then_nothing_is_kept_and_the_lock_is_free(tmp_path: Path) -> None:
    def fail() -> Profile:
        raise ValueError("not these rows")

    files = ProfileFiles(tmp_path)
    with pytest.raises(ValueError, match="not these rows"):
        files.find_or_make(NAME, fail)
    assert files.find_or_make(NAME, Maker()) == profile(max_rows=1)


def test_find_or_make_when_the_folder_cannot_be_written_then_made_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file")
    make, files = Maker(), ProfileFiles(tmp_path / "data" / "profiles")
    assert [files.find_or_make(NAME, make).max_rows for _ in range(2)] == [1, 2]
    assert "cannot be written: Not a directory" in caplog.text


def test_find_or_make_when_another_measures_the_same_then_its_result_is_read(tmp_path: Path) -> None:
    make = Maker()

    def finish_the_other(_: float) -> None:
        (tmp_path / NAME).write_text(profile(max_rows=77).model_dump_json())
        fcntl.flock(other, fcntl.LOCK_UN)

    with (tmp_path / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert ProfileFiles(tmp_path, sleep=finish_the_other).find_or_make(NAME, make).max_rows == 77
    assert make.calls == 0


def test_find_or_make_when_the_other_hangs_then_made_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with (tmp_path / "lock").open("w") as other, caplog.at_level(logging.WARNING):
        fcntl.flock(other, fcntl.LOCK_EX)
        files = ProfileFiles(tmp_path, clock=lambda: now[0], sleep=sleep)
        assert files.find_or_make(NAME, Maker()) == profile(max_rows=1)
    assert now[0] >= LOCK_TIMEOUT_S
    assert "measuring beside it" in caplog.text


def _make_and_note(folder: Path, number: int) -> None:
    def make() -> Profile:
        with (folder / "made").open("a") as file:
            file.write(f"{number}\n")
        return profile()

    ProfileFiles(folder).find_or_make(NAME, make)


def test_find_or_make_when_processes_start_together_then_one_makes_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_make_and_note, args=(tmp_path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len((tmp_path / "made").read_text().splitlines()) == 1
