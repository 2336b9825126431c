import stat
from pathlib import Path

from ferry.local.private_files import read_or_make, tail_of, write_private


def test_write_makes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("before")
    path.chmod(0o644)
    write_private(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_read_or_make_when_there_is_a_file_makes_none(tmp_path: Path) -> None:
    assert read_or_make(tmp_path / "password", lambda: "first") == "first"
    assert read_or_make(tmp_path / "password", lambda: "second") == "first"


def test_tail_returns_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\xff\nthree\n")
    assert tail_of(path, 2) == ["two\N{REPLACEMENT CHARACTER}", "three"]


def test_tail_when_the_file_is_missing_is_empty(tmp_path: Path) -> None:
    assert tail_of(tmp_path / "none") == []
