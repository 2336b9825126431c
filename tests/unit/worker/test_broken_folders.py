"""Half a model folder of every kind beside a sound model, which is served; the other is named with its reason."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.manifest import MANIFEST_FILE, MODEL_FILE, FixedInput, Manifest, ModelFile, write_manifest
from ferry.repository import NO_VERSION, Repository
from tests import onnx_models
from tests.unit.worker.conftest import put_model
from worker.serving import Changes, Shelf

GOOD = onnx_models.doubled().SerializeToString()
EXTERNAL = onnx_models.external_weights().SerializeToString()
EXTERNAL_FILE = ModelFile(
    name=onnx_models.EXTERNAL_FILE,
    sha256=hashlib.sha256(onnx_models.EXTERNAL_BYTES).hexdigest(),
    size_bytes=len(onnx_models.EXTERNAL_BYTES),
)
FIXED_OVERFLOW = FixedInput(name="w", dtype="int8", shape=(1,), values=(300,))


def put_external(root: Path, content: bytes = onnx_models.EXTERNAL_BYTES) -> Path:
    made = put_model(root, EXTERNAL, "bad")
    folder = root / "bad" / "1"
    write_manifest(made.model_copy(update={"files": (EXTERNAL_FILE,)}), folder)
    (folder / onnx_models.EXTERNAL_FILE).write_bytes(content)
    return folder


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    made = Manifest.model_validate_json(path.read_bytes())
    write_manifest(made.model_copy(update=changes), folder)


def directory_in_place_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


def no_onnx(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()


def no_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()


def truncated_onnx(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes(GOOD[: len(GOOD) // 2])


def truncated_onnx_with_its_own_digest(folder: Path) -> None:
    half = GOOD[: len(GOOD) // 2]
    (folder / MODEL_FILE).write_bytes(half)
    rewrite(folder, sha256=hashlib.sha256(half).hexdigest())


def cut_manifest(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def manifest_of_bytes(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00")


def deep_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text('{"metrics":' * 50_000)


def empty_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(b"")


def onnx_is_a_directory(folder: Path) -> None:
    directory_in_place_of(folder / MODEL_FILE)


def manifest_is_a_directory(folder: Path) -> None:
    directory_in_place_of(folder / MANIFEST_FILE)


def empty_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def stray_folder(folder: Path) -> None:
    folder.rename(folder.with_name("old copy"))


def another_name(folder: Path) -> None:
    rewrite(folder, name="other")


def link_to_itself(folder: Path) -> None:
    path = folder / MODEL_FILE
    path.unlink()
    path.symlink_to(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("damage", "version", "reason"),
    [
        (no_onnx, "1", "model.onnx is missing"),
        (no_manifest, "1", "manifest.json is missing"),
        (truncated_onnx, "1", "its manifest says"),
        (truncated_onnx_with_its_own_digest, "1", "onnxruntime will not load"),
        (cut_manifest, "1", "manifest.json: Invalid JSON"),
        (manifest_of_bytes, "1", "manifest.json: Invalid JSON"),
        (deep_manifest, "1", "manifest.json: Invalid JSON"),
        (empty_manifest, "1", "manifest.json: Invalid JSON"),
        (onnx_is_a_directory, "1", "model.onnx is missing"),
        (manifest_is_a_directory, "1", "manifest.json: Is a directory"),
        (empty_folder, "1", "manifest.json is missing"),
        (stray_folder, "old copy", "is no version"),
        (another_name, "1", "manifest.json says other:1, the folder says bad:1"),
        (link_to_itself, "1", "model.onnx is missing"),
    ],
)
@pytest.mark.parametrize("is_later", [False, True], ids=["at-start", "while-it-runs"])
def test_refresh_when_a_folder_is_damaged_then_the_others_are_served_and_it_says_why(
    root: Path,
    damage: Callable[[Path], None],
    version: str,
    reason: str,
    is_later: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put_model(root, GOOD, "good")
    shelf = Shelf(Repository(root), threads=1)
    if is_later:
        shelf.load_all()
    put_model(root, GOOD, "bad")
    damage(root / "bad" / "1")
    shelf.refresh()
    put_model(root, GOOD, "good", "2")  # it looks at everything again
    shelf.refresh()
    assert shelf.keys() == [("good", "1"), ("good", "2")]
    assert list(shelf.broken) == [("bad", version)]
    assert reason in shelf.broken["bad", version]
    assert "\n" not in shelf.broken["bad", version]
    assert not shelf.has_nothing_left
    assert [record.levelno for record in caplog.records if "model_broken: bad:" in record.getMessage()] == [
        logging.ERROR
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (onnx_models.EXTERNAL_BYTES[:5], "weights.bin has 5 bytes, the manifest says 12"),
        (b"x" * len(onnx_models.EXTERNAL_BYTES), "weights.bin has sha256"),
        (None, "weights.bin is missing"),
    ],
)
def test_refresh_when_external_data_is_damaged_then_the_others_are_served_and_it_says_why(
    root: Path, content: bytes | None, reason: str
) -> None:
    put_model(root, GOOD, "good")
    folder = put_external(root)
    if content is None:
        (folder / onnx_models.EXTERNAL_FILE).unlink()
    else:
        (folder / onnx_models.EXTERNAL_FILE).write_bytes(content)
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert shelf.keys() == [("good", "1")]
    assert reason in shelf.broken["bad", "1"]
    (folder / onnx_models.EXTERNAL_FILE).write_bytes(onnx_models.EXTERNAL_BYTES)
    assert shelf.refresh() == Changes(loaded=(("bad", "1"),))
    assert shelf.broken == {}


def test_refresh_when_a_file_may_not_be_read_then_broken_until_it_may(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(root, GOOD, "good")
    put_model(root, GOOD, "bad")
    closed = root / "bad" / "1" / MANIFEST_FILE
    read = Path.read_bytes

    def guarded(path: Path) -> bytes:
        if path == closed and not path.stat().st_mode & 0o444:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    closed.chmod(0)
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert (shelf.keys(), shelf.broken) == ([("good", "1")], {("bad", "1"): "manifest.json: Permission denied"})
    closed.chmod(0o644)
    assert shelf.refresh() == Changes(loaded=(("bad", "1"),))


def test_refresh_when_a_models_folder_cannot_be_listed_then_the_model_is_broken_and_the_others_are_served(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(root, GOOD, "good")
    put_model(root, GOOD, "closed")
    monkeypatch.setattr(
        "ferry.repository.why_unreadable", lambda folder: "Permission denied" if folder.name == "closed" else ""
    )
    monkeypatch.setattr("ferry.repository.visible_folders", lambda folder: {
        "models": ["good", "closed"], "good": ["1"], "closed": []}[folder.name])  # fmt: skip
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert shelf.keys() == [("good", "1")]
    assert shelf.broken == {("closed", NO_VERSION): "its folder cannot be listed: Permission denied"}


def test_refresh_when_stray_files_lie_about_then_nothing_is_broken(root: Path) -> None:
    put_model(root, GOOD, "good")
    (root / "README.md").write_text("notes")
    (root / "good" / "notes.txt").write_text("notes")
    (root / "good" / "1" / "unused.bin").write_bytes(b"x")
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert (shelf.keys(), shelf.broken) == ([("good", "1")], {})


def test_refresh_when_a_folder_is_empty_or_a_link_leads_nowhere_then_it_is_broken_until_it_is_mended(
    root: Path,
) -> None:
    put_model(root, GOOD, "good")
    (root / "empty").mkdir()
    (root / "dangling").symlink_to(root / "nowhere")
    (root / "good" / "2").symlink_to(root / "nowhere")
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert shelf.keys() == [("good", "1")]
    leads_nowhere = "it is a link that leads nowhere"
    assert shelf.broken == {
        ("dangling", NO_VERSION): leads_nowhere,
        ("good", "2"): leads_nowhere,
        ("empty", NO_VERSION): "it has no version: put model.onnx and manifest.json into a folder 1 in it",
    }
    (root / "good" / "2").unlink()
    (root / "empty").rmdir()
    shelf.refresh()
    assert set(shelf.broken) == {("dangling", NO_VERSION)}
    (root / "dangling").unlink()
    put_model(root, GOOD, "dangling")
    shelf.refresh()
    assert shelf.broken == {}
    assert shelf.find("dangling", "1") is not None


def test_refresh_when_loading_raises_anything_then_that_model_alone_is_broken(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(root, GOOD, "good")
    put_model(root, GOOD, "bad")
    rewrite(root / "bad" / "1", fixed_inputs=(FIXED_OVERFLOW,))
    monkeypatch.setattr("worker.models.why_not_as_declared", lambda *_: "")
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert shelf.keys() == [("good", "1")]
    assert shelf.broken["bad", "1"].startswith("OverflowError: ")


def test_has_nothing_left_when_all_are_broken_or_unloaded_then_only_the_broken_count(root: Path) -> None:
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert not shelf.has_nothing_left  # an empty repository waits for its first model
    (root / "notes").mkdir(parents=True)
    shelf.refresh()
    assert not shelf.has_nothing_left
    put_model(root, b"no model", "bad")
    shelf.refresh()
    assert shelf.has_nothing_left
    put_model(root, GOOD, "good")
    shelf.leave_out(frozenset({("good", "1")}))
    shelf.refresh()
    assert shelf.keys() == []
    assert not shelf.has_nothing_left


def test_refresh_when_a_broken_version_is_removed_then_no_longer_reported(root: Path) -> None:
    put_model(root, GOOD, "good")
    put_model(root, b"no model", "bad")
    shelf = Shelf(Repository(root), threads=1)
    shelf.load_all()
    assert list(shelf.broken) == [("bad", "1")]
    Repository(root).remove("bad", "1")
    shelf.refresh()
    assert shelf.broken == {}
