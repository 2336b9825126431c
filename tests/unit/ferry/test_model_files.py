import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from ferry import model_files
from ferry.errors import ModelRefusedError
from ferry.manifest import MODEL_FILE, Manifest, ModelFile
from ferry.model_files import bring_files, check_files, file_names, find_file, total_bytes, what_is_missing
from tests.manifests import manifest

CONTENT = {MODEL_FILE: b"model", "w.data": b"weights", "parts/v.data": b"more"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def version() -> Manifest:
    files = tuple(
        ModelFile(name=name, sha256=digest(content), size_bytes=len(content))
        for name, content in CONTENT.items()
        if name != MODEL_FILE
    )
    return manifest().model_copy(update={"sha256": digest(CONTENT[MODEL_FILE]), "files": files})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all files of `version()`."""
    for name, content in CONTENT.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A staged folder with the model alone."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / MODEL_FILE).write_bytes(CONTENT[MODEL_FILE])
    return tmp_path / "target"


def test_file_names_when_there_are_further_files_then_the_model_is_first(folder: Path) -> None:
    assert file_names(version()) == (MODEL_FILE, "w.data", "parts/v.data")
    assert total_bytes(folder, version()) == sum(map(len, CONTENT.values()))


# --- checking


def test_check_files_when_all_are_as_the_manifest_says_then_it_is_content(folder: Path) -> None:
    check_files(folder, version())
    assert what_is_missing(folder, version()) == ""


@pytest.mark.parametrize("name", CONTENT)
def test_check_files_when_one_is_another_then_both_digests_are_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x" * len(CONTENT[name]))
    wanted, found = digest(CONTENT[name]), digest(b"x" * len(CONTENT[name]))
    with pytest.raises(ModelRefusedError, match=f"toy:1: .*{name} has sha256 {found}, its manifest says {wanted}"):
        check_files(folder, version())


@pytest.mark.parametrize("name", CONTENT)
def test_check_files_when_one_is_missing_then_it_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelRefusedError, match=f"toy:1: cannot read .*{name}: No such file or directory"):
        check_files(folder, version())
    assert what_is_missing(folder, version()) == f"{name} is missing"


def test_what_is_missing_when_a_size_is_another_then_both_are_named(folder: Path) -> None:
    (folder / "w.data").write_bytes(b"half")
    assert what_is_missing(folder, version()) == "w.data has 4 bytes, the manifest says 7"


# --- bringing

WANTED = {"w.data": "w", "parts/v.data": "v"}


def test_bring_files_when_all_are_there_then_they_are_copied(folder: Path, target: Path) -> None:
    bring_files(WANTED, folder, target)
    check_files(target, version())


def test_bring_files_when_a_link_stays_in_the_folder_then_its_content_is_copied(folder: Path, target: Path) -> None:
    (folder / "w.data").rename(folder / "blob")
    (folder / "w.data").symlink_to("blob")
    bring_files(WANTED, folder, target)
    assert not (target / "w.data").is_symlink()
    check_files(target, version())


def replace_by_link_outside(file: Path) -> None:
    file.rename(file.parent.parent / "outside")
    file.symlink_to(file.parent.parent / "outside")


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, r"there is no file .*w\.data; put it there"),
        (replace_by_link_outside, "is a link to .*outside, outside the model's folder; copy .* `cp -L`"),
        (replace_by_pipe, "is not a regular file"),
        (replace_by_folder, "is not a regular file"),
        (replace_by_loop, "cannot be read"),
    ],
)
def test_bring_files_when_one_cannot_be_taken_then_tensor_and_path_are_named_and_nothing_is_copied(
    folder: Path, target: Path, damage, words: str
) -> None:
    damage(folder / "w.data")
    with pytest.raises(ModelRefusedError, match=rf"tensor 'w' has its values in 'w\.data', and .*{words}"):
        bring_files({"parts/v.data": "v", "w.data": "w"}, folder, target)
    assert [path.name for path in target.iterdir()] == [MODEL_FILE]


def test_bring_files_when_a_folder_is_a_link_outside_then_refused(folder: Path, target: Path) -> None:
    shutil.move(folder / "parts", folder.parent / "elsewhere")
    (folder / "parts").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ModelRefusedError, match="outside the model's folder"):
        bring_files(WANTED, folder, target)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", MODEL_FILE, "a\\b"])
def test_find_file_when_the_name_is_impossible_then_refused_whatever_lies_there(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    with pytest.raises(ModelRefusedError, match=r"tensor 'w' has its values in .*, which .*; save the model again"):
        find_file(name, "w", folder)


def test_bring_files_when_all_together_are_too_large_then_the_limit_is_named(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "MAX_TOTAL_BYTES", 2**30)
    os.truncate(folder / "w.data", 3 * 2**29)  # a hole: takes no space
    with pytest.raises(ModelRefusedError, match=r"its 2 files of external data have 1\.5 GiB, the limit is 1 GiB"):
        bring_files(WANTED, folder, target)


def test_bring_files_when_the_disk_is_too_small_then_refused_before_copying(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(model_files.shutil, "disk_usage", lambda path: usage(2**40, 2**40 - 2**28, 2**28))
    with pytest.raises(ModelRefusedError, match=r"has room for 0\.0 GiB; make room"):
        bring_files(WANTED, folder, target)
    assert [path.name for path in target.iterdir()] == [MODEL_FILE]
