import os
from pathlib import Path

import pytest

from ferry.manifest import MANIFEST_FILE, MODEL_FILE, ModelFile, write_manifest
from ferry.repository_entry import BrokenEntryError, read_entry, stamps_of
from tests.manifests import manifest


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A whole version: toy:1."""
    folder = tmp_path / "toy" / "1"
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(b"not read")
    write_manifest(manifest(), folder)
    return folder


def test_read_entry_when_the_folder_is_whole_then_its_manifest_is_returned(entry: Path) -> None:
    assert read_entry(entry) == manifest()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / MANIFEST_FILE).write_text("{"), "manifest.json: Invalid JSON"),
        (lambda folder: (folder / MANIFEST_FILE).write_bytes(b"\xff\xfe"), "manifest.json: Invalid JSON"),
        (lambda folder: (folder / MANIFEST_FILE).write_text("{}"), "manifest.json: name: Field required"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "manifest.json is missing"),
        (lambda folder: (folder / MODEL_FILE).unlink(), "model.onnx is missing"),
        (lambda folder: write_manifest(manifest("other"), folder), "says other:1, the folder says toy:1"),
        (lambda folder: write_manifest(manifest(version="2"), folder), "says toy:2, the folder says toy:1"),
    ],
)
def test_read_entry_when_the_folder_is_damaged_then_it_says_how(entry: Path, damage, reason: str) -> None:
    damage(entry)
    with pytest.raises(BrokenEntryError, match=reason):
        read_entry(entry)


def test_read_entry_when_the_manifest_is_a_folder_then_it_is_broken(entry: Path) -> None:
    (entry / MANIFEST_FILE).unlink()
    (entry / MANIFEST_FILE).mkdir()
    with pytest.raises(BrokenEntryError, match=r"manifest\.json: Is a directory"):
        read_entry(entry)


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("My Model", "1", "cannot be a model's name"),
        ("mnist", "v1", "is no version"),
        ("mnist", "01", "is no version"),
        ("mnist", "0", "is no version"),
    ],
)
def test_read_entry_when_the_folders_name_is_impossible_then_it_is_broken(
    tmp_path: Path, name: str, version: str, reason: str
) -> None:
    with pytest.raises(BrokenEntryError, match=reason):
        read_entry(tmp_path / name / version)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "parts/w.data is missing"),
        (lambda file: file.write_bytes(b"longer"), "parts/w.data has 6 bytes, the manifest says 3"),
        (lambda file: (file.unlink(), file.mkdir()), "parts/w.data is missing"),
    ],
)
def test_read_entry_when_a_further_file_is_damaged_then_it_says_how(entry: Path, damage, reason: str) -> None:
    add_file(entry)
    assert [file.name for file in read_entry(entry).files] == ["parts/w.data"]
    damage(entry / "parts/w.data")
    with pytest.raises(BrokenEntryError, match=reason):
        read_entry(entry)


def add_file(entry: Path) -> None:
    (entry / "parts").mkdir()
    (entry / "parts/w.data").write_bytes(b"abc")
    file = ModelFile(name="parts/w.data", sha256="0" * 64, size_bytes=3)
    write_manifest(manifest().model_copy(update={"files": (file,)}), entry)


@pytest.mark.parametrize("name", [MANIFEST_FILE, MODEL_FILE, "parts/w.data"])
@pytest.mark.parametrize(
    "change", [lambda file: file.write_bytes(b"more"), lambda file: os.utime(file, (1, 1)), Path.unlink]
)
def test_stamps_of_when_a_file_changes_then_they_do_too(entry: Path, name: str, change) -> None:
    add_file(entry)
    before = stamps_of(entry)
    assert stamps_of(entry) == before
    change(entry / name)
    assert stamps_of(entry) != before


def test_stamps_of_when_it_is_asked_then_neither_hidden_files_nor_samples_nor_linked_folders_are_part(
    entry: Path, tmp_path: Path
) -> None:
    (entry / "samples").mkdir()
    (entry / "samples" / "rows.npz").touch()
    (entry / ".mirrored").touch()
    (entry / "loop").symlink_to(tmp_path)
    assert [name for name, *_ in stamps_of(entry) if name != "loop"] == [MANIFEST_FILE, MODEL_FILE]


def test_stamps_of_when_there_is_no_folder_then_there_are_none(tmp_path: Path) -> None:
    assert stamps_of(tmp_path / "none") == ()
