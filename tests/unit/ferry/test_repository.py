import hashlib
import os
import time
from pathlib import Path

import pytest

from ferry.errors import ConfigError, ConflictError, InvalidInputError, ModelRefusedError, NotFoundError
from ferry.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, TensorSpec, write_manifest
from ferry.repository import INCOMING_PREFIX, LEFTOVER_AGE_S, Repository

MODEL = b"not read by the repository"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


def manifest_of(name: str, version: str, sha256: str | None = None) -> Manifest:
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 3))
    digest = sha256 or hashlib.sha256(MODEL).hexdigest()
    return Manifest(name=name, version=version, inputs=(spec,), outputs=(spec,), sha256=digest)


def put(repository: Repository, name: str, version: str) -> Path:
    with repository.staging() as staged:
        (staged / MODEL_FILE).write_bytes(MODEL)
        write_manifest(manifest_of(name, version), staged)
        repository.publish(staged)
    return repository.folder(name, version)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- scan


def test_scan_when_the_root_is_missing_then_it_is_empty(repository: Repository) -> None:
    assert repository.scan() == {}
    assert repository.fingerprint() == ()


def test_scan_when_versions_are_many_then_they_come_in_numeric_order(repository: Repository) -> None:
    for name, version in (("b", "10"), ("b", "9"), ("a", "2"), ("a", "10")):
        put(repository, name, version)
    assert list(repository.scan()) == [("a", "2"), ("a", "10"), ("b", "9"), ("b", "10")]


def test_survey_when_one_folder_is_broken_then_it_says_why_and_shows_the_rest(repository: Repository) -> None:
    put(repository, "good", "1")
    (put(repository, "bad", "1") / MODEL_FILE).unlink()
    survey = repository.survey()
    assert list(survey.entries) == [("good", "1")]
    assert survey.broken == {("bad", "1"): "model.onnx is missing"}


@pytest.mark.parametrize("file_name", [MANIFEST_FILE, MODEL_FILE])
def test_survey_when_a_file_is_a_pipe_then_it_is_broken(repository: Repository, file_name: str) -> None:
    put(repository, "good", "1")
    path = put(repository, "bad", "1") / file_name
    path.unlink()
    os.mkfifo(path)
    survey = repository.survey()
    assert list(survey.entries) == [("good", "1")]
    assert file_name in survey.broken["bad", "1"]


def test_survey_when_folders_are_hidden_or_foreign_then_they_are_ignored(repository: Repository) -> None:
    folder = put(repository, "mnist", "1")
    (folder / "samples").mkdir()
    (folder.parent / ".trash").mkdir()
    (folder.parent / "README.md").touch()
    (repository.root / ".incoming-1" / "2").mkdir(parents=True)
    (repository.root / "lost+found" / "3").mkdir(parents=True)
    survey = repository.survey()
    assert (list(survey.entries), survey.broken) == ([("mnist", "1")], {})


# --- versions


def test_latest_when_versions_pass_nine_then_it_counts_numerically(repository: Repository) -> None:
    for version in ("9", "10", "2"):
        put(repository, "mnist", version)
    assert repository.latest("mnist") == "10"


def test_latest_when_there_is_no_such_model_then_it_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match="mnist"):
        repository.latest("mnist")


def test_next_version_when_the_highest_is_broken_then_it_is_still_passed_over(repository: Repository) -> None:
    assert repository.next_version("mnist") == "1"
    put(repository, "mnist", "2")
    repository.folder("mnist", "7").mkdir()
    (repository.root / "mnist" / "notes").mkdir()
    assert repository.next_version("mnist") == "8"


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/etc", ".incoming-x", "Mnist", "a\n", "a" * 65])
def test_folder_when_the_name_could_leave_the_root_then_it_is_refused(repository: Repository, name: str) -> None:
    with pytest.raises(InvalidInputError, match="model name"):
        repository.folder(name, "1")


@pytest.mark.parametrize("version", ["", "0", "01", "..", "1/..", "latest", "-1", "1\n"])
def test_folder_when_the_version_is_no_number_then_it_is_refused(repository: Repository, version: str) -> None:
    with pytest.raises(InvalidInputError, match="version"):
        repository.folder("mnist", version)


# --- publish and remove


def test_publish_when_the_folder_is_whole_then_it_is_found_and_nothing_is_left(repository: Repository) -> None:
    folder = put(repository, "mnist", "1")
    assert repository.scan()["mnist", "1"] == manifest_of("mnist", "1")
    assert names_in(folder) == {MODEL_FILE, MANIFEST_FILE}
    assert names_in(repository.root) == {"mnist"}


def test_publish_when_the_version_exists_then_it_stays_as_it_was(repository: Repository) -> None:
    put(repository, "mnist", "1")
    before = repository.fingerprint()
    with pytest.raises(ConflictError, match="publish it as version 2"):
        put(repository, "mnist", "1")
    assert repository.fingerprint() == before
    assert names_in(repository.root) == {"mnist"}


def test_publish_when_the_last_version_is_removed_meanwhile_then_the_models_folder_is_made_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(repository, "mnist", "1")
    rename, calls = Path.rename, []

    def rename_after_removal(source: Path, target: Path) -> Path:
        calls.append(target.name)
        if calls == ["2"]:
            repository.remove("mnist", "1")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", rename_after_removal)
    put(repository, "mnist", "2")
    assert list(repository.scan()) == [("mnist", "2")]


def test_publish_when_the_digest_is_another_then_it_is_refused(repository: Repository) -> None:
    with repository.staging() as staged:
        (staged / MODEL_FILE).write_bytes(MODEL)
        write_manifest(manifest_of("mnist", "1", sha256="0" * 64), staged)
        with pytest.raises(ModelRefusedError, match="sha256"):
            repository.publish(staged)
    assert repository.scan() == {}


@pytest.mark.parametrize(
    ("missing", "words"),
    [(MODEL_FILE, "cannot read .*model.onnx: No such file"), (MANIFEST_FILE, "manifest.json is missing")],
)
def test_publish_when_a_file_is_missing_then_it_is_refused(repository: Repository, missing: str, words: str) -> None:
    with repository.staging() as staged:
        (staged / MODEL_FILE).write_bytes(MODEL)
        write_manifest(manifest_of("mnist", "1"), staged)
        (staged / missing).unlink()
        with pytest.raises(ModelRefusedError, match=words):
            repository.publish(staged)


def test_staging_when_a_killed_process_left_a_folder_then_it_is_swept_after_a_day(repository: Repository) -> None:
    old, new = (repository.root / f"{INCOMING_PREFIX}{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    long_ago = time.time() - LEFTOVER_AGE_S - 1
    os.utime(old, (long_ago, long_ago))
    with repository.staging():
        pass
    assert names_in(repository.root) == {new.name}


def test_remove_when_it_is_the_last_version_then_the_models_folder_goes_too(repository: Repository) -> None:
    put(repository, "mnist", "1")
    put(repository, "mnist", "2")
    repository.remove("mnist", "1")
    assert list(repository.scan()) == [("mnist", "2")]
    repository.remove("mnist", "2")
    assert names_in(repository.root) == set()


def test_remove_when_the_version_is_broken_then_it_goes(repository: Repository) -> None:
    repository.folder("mnist", "1").mkdir(parents=True)
    repository.remove("mnist", "1")
    assert repository.survey().broken == {}


def test_remove_when_the_version_is_a_link_then_its_target_stays(repository: Repository, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    repository.folder("mnist", "1").parent.mkdir(parents=True)
    repository.folder("mnist", "1").symlink_to(target)
    repository.remove("mnist", "1")
    assert target.is_dir()
    assert names_in(repository.root) == set()


def test_remove_when_there_is_nothing_then_it_is_not_found(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match="mnist:1"):
        repository.remove("mnist", "1")


# --- fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda repository: put(repository, "mnist", "2"),
        lambda repository: put(repository, "other", "1"),
        lambda repository: repository.remove("mnist", "1"),
        lambda repository: (repository.folder("mnist", "1") / MANIFEST_FILE).write_text("{}"),
        lambda repository: os.utime(repository.folder("mnist", "1") / MANIFEST_FILE, (1, 1)),
        lambda repository: (repository.folder("mnist", "1") / MODEL_FILE).unlink(),
    ],
)
def test_fingerprint_when_something_changes_then_it_does_too(repository: Repository, change) -> None:
    put(repository, "mnist", "1")
    before = repository.fingerprint()
    assert repository.fingerprint() == before
    change(repository)
    assert repository.fingerprint() != before


def test_fingerprint_when_a_folder_is_being_staged_then_it_stays(repository: Repository) -> None:
    put(repository, "mnist", "1")
    before = repository.fingerprint()
    with repository.staging() as staged:
        (staged / MODEL_FILE).write_bytes(MODEL)
        assert repository.fingerprint() == before


# --- the root


def test_check_root_when_it_is_missing_or_a_folder_then_fine(tmp_path: Path) -> None:
    Repository(tmp_path).check_root()
    Repository(tmp_path / "none").check_root()


def test_check_root_when_it_is_a_file_or_a_dangling_link_then_refused_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name, reason in (("file", "Not a directory"), ("link", "No such file or directory")):
        with pytest.raises(ConfigError, match=f"FERRY_MODELS_DIR={tmp_path / name}: {reason}; name a folder"):
            Repository(tmp_path / name).check_root()
