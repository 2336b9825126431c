import os
import stat
from pathlib import Path

import pytest

from ferry.errors import ConfigError
from ferry.local.data_dir import DataDir, RunInfo, read_run_info

INFO = RunInfo(1, "http://api", "http://flower", "redis://", "ferry", "log", ("port 8000 is taken",))


def test_enter_when_the_folder_is_new_makes_it_private(tmp_path: Path) -> None:
    with DataDir(tmp_path / "deep" / "data") as data_dir:
        assert stat.S_IMODE(data_dir.path.stat().st_mode) == 0o700
        assert data_dir.logs.is_dir()


def test_enter_when_it_is_in_use_names_the_process(tmp_path: Path) -> None:
    with DataDir(tmp_path), pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"), DataDir(tmp_path):
        pass


def test_enter_when_it_was_left_is_free_again(tmp_path: Path) -> None:
    with DataDir(tmp_path):
        pass
    with DataDir(tmp_path) as data_dir:
        assert data_dir.lock_fd >= 0


def test_enter_when_a_killed_run_left_its_run_file_removes_it(tmp_path: Path) -> None:
    with DataDir(tmp_path) as data_dir:
        data_dir.write_run_info(INFO)
        stale = (tmp_path / "run.json").read_bytes()
    (tmp_path / "run.json").write_bytes(stale)
    with DataDir(tmp_path):
        assert read_run_info(tmp_path) is None


def test_enter_when_it_cannot_be_made_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"FERRY_DATA_DIR=.*/file/data: Not a directory"),
        DataDir(tmp_path / "file" / "data"),
    ):
        pass


def test_run_info_when_written_is_read_back_and_private(tmp_path: Path) -> None:
    with DataDir(tmp_path) as data_dir:
        data_dir.write_run_info(INFO)
        assert read_run_info(tmp_path) == INFO
        assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600
    assert read_run_info(tmp_path) is None
