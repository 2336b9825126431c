from pathlib import Path

import pytest

from ferry.folders import delete, rename_into, visible_folders


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    folder = tmp_path / ".staged"
    folder.mkdir()
    (folder / "file").touch()
    return folder


def test_visible_folders_when_there_are_files_and_hidden_ones_then_only_folders_are_listed(
    tmp_path: Path, staged: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert visible_folders(tmp_path) == ["folder"]
    assert visible_folders(tmp_path / "none") == []


def test_rename_into_when_the_place_is_free_then_its_parent_is_made(tmp_path: Path, staged: Path) -> None:
    assert rename_into(staged, tmp_path / "name" / "1")
    assert (tmp_path / "name" / "1" / "file").is_file()
    assert not staged.exists()


def test_rename_into_when_the_place_is_taken_then_both_stay(tmp_path: Path, staged: Path) -> None:
    target = tmp_path / "name" / "1"
    target.mkdir(parents=True)
    (target / "other").touch()
    assert not rename_into(staged, target)
    assert visible_folders(tmp_path) == ["name"]
    assert (staged / "file").is_file()
    assert [path.name for path in target.iterdir()] == ["other"]


def test_rename_into_when_there_is_nothing_to_move_then_it_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename_into(tmp_path / "none", tmp_path / "name" / "1")


def test_delete_when_it_is_a_link_then_its_target_stays(tmp_path: Path, staged: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(staged)
    delete(link)
    assert not link.is_symlink()
    assert (staged / "file").is_file()
    delete(staged)
    assert not staged.exists()
