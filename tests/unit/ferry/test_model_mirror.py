import fcntl
import logging
from pathlib import Path

import pytest

from ferry.bulk.storage import Storage
from ferry.errors import StorageError
from ferry.manifest import MANIFEST_FILE, MODEL_FILE, ModelFile, sha256_of, write_manifest
from ferry.model_mirror import MARK, Mirror, MirrorThread, mirror_of
from ferry.repository import Repository
from ferry.settings import Settings
from tests.manifests import manifest


def put(
    root: Path, version: str = "1", content: bytes = b"model", name: str = "toy", files: dict[str, bytes] | None = None
) -> None:
    folder = root / name / version
    for file, data in {MODEL_FILE: content, **(files or {})}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    more = tuple(
        ModelFile(name=file, sha256=sha256_of(folder / file), size_bytes=len(data))
        for file, data in (files or {}).items()
    )
    update = {"sha256": sha256_of(folder / MODEL_FILE), "files": more}
    write_manifest(manifest(name, version).model_copy(update=update), folder)


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        self.there, self.here = tmp_path / "there", tmp_path / "here"
        self.there.mkdir()
        self.repository = Repository(self.here)
        self.mirror = Mirror(Storage(str(self.there)), self.repository)

    def versions(self) -> dict[str, bytes]:
        return {
            f"{name}:{version}": (self.repository.folder(name, version) / MODEL_FILE).read_bytes()
            for name, version in self.repository.scan()
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_pull_when_versions_come_change_and_go_then_this_folder_follows(bench: Bench) -> None:
    put(bench.there)
    put(bench.there, "2", b"second")
    assert bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"model", "toy:2": b"second"}
    stamp = (bench.here / "toy/1" / MODEL_FILE).stat().st_mtime_ns
    put(bench.there, "2", b"mended")
    bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"model", "toy:2": b"mended"}
    assert (bench.here / "toy/1" / MODEL_FILE).stat().st_mtime_ns == stamp  # not copied again
    (bench.there / "toy/1" / MANIFEST_FILE).unlink()
    bench.mirror.pull()
    assert bench.versions() == {"toy:2": b"mended"}


def test_pull_when_a_version_there_is_half_or_damaged_then_left_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    put(bench.there)
    put(bench.there, "2")
    (bench.there / "toy/2" / MODEL_FILE).write_bytes(b"damaged")
    put(bench.there, "3")
    (bench.there / "toy/3" / MANIFEST_FILE).unlink()
    for _ in range(2):
        bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"model"}
    assert len([message for message in caplog.messages if "toy:2 is not taken" in message]) == 1
    assert list(bench.here.glob(".incoming-*")) == []
    put(bench.there, "2", b"mended")
    bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"model", "toy:2": b"mended"}


def test_pull_when_a_version_was_here_before_then_it_stays(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    put(bench.here, "1", b"baked in")
    put(bench.here, "7", b"baked in")
    put(bench.there, "1", b"other")
    bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"baked in", "toy:7": b"baked in"}
    assert "is here already" in caplog.text


def test_pull_when_another_process_is_at_it_then_left_to_that_one(bench: Bench) -> None:
    put(bench.there)
    bench.here.mkdir()
    with (bench.here / ".mirror.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not bench.mirror.pull()
    assert bench.versions() == {}


def test_push_and_remove_when_done_here_then_there_too(bench: Bench, tmp_path: Path) -> None:
    put(bench.here)
    bench.mirror.push("toy", "1")
    elsewhere = Repository(tmp_path / "elsewhere")
    other = Mirror(Storage(str(bench.there)), elsewhere)
    other.pull()
    assert list(elsewhere.scan()) == [("toy", "1")]
    assert (tmp_path / "elsewhere/toy/1" / MARK).exists()
    bench.mirror.remove("toy", "1")
    other.pull()
    assert list(elsewhere.scan()) == []
    bench.mirror.remove("toy", "1")


WEIGHTS = {"w.data": b"weights", "parts/v.data": b"more"}


def test_push_and_pull_when_a_model_has_further_files_then_all_travel(bench: Bench, tmp_path: Path) -> None:
    put(bench.here, files=WEIGHTS)
    bench.mirror.push("toy", "1")
    elsewhere = Repository(tmp_path / "elsewhere")
    assert Mirror(Storage(str(bench.there)), elsewhere).pull()
    assert {file: (elsewhere.folder("toy", "1") / file).read_bytes() for file in WEIGHTS} == WEIGHTS
    assert elsewhere.scan()["toy", "1"] == bench.repository.scan()["toy", "1"]
    bench.mirror.remove("toy", "1")
    assert [path for path in (bench.there / "toy").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "parts/v.data is missing there, its manifest says 4 bytes"),
        (lambda file: file.write_bytes(b"half more"), "parts/v.data has 9 bytes there"),
        (lambda file: file.write_bytes(b"evil"), "has sha256"),
    ],
)
def test_pull_when_a_further_file_is_not_whole_there_then_not_taken_until_it_is(
    bench: Bench, caplog: pytest.LogCaptureFixture, damage, words: str
) -> None:
    put(bench.there, files=WEIGHTS)
    damage(bench.there / "toy/1/parts/v.data")
    for _ in range(2):
        bench.mirror.pull()
    assert bench.versions() == {}
    assert len([message for message in caplog.messages if words in message]) == 1
    assert list(bench.here.glob(".incoming-*")) == []
    put(bench.there, files=WEIGHTS | {"parts/v.data": b"mended"})
    bench.mirror.pull()
    assert bench.versions() == {"toy:1": b"model"}


def test_pull_when_the_manifest_there_is_damaged_then_the_field_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    put(bench.there, files=WEIGHTS)
    manifest_file = bench.there / "toy/1" / MANIFEST_FILE
    manifest_file.write_text(manifest_file.read_text().replace("w.data", "../w.data"))
    bench.mirror.pull()
    assert "files.0.name" in caplog.text
    assert "leaves the model's folder" in caplog.text
    assert bench.versions() == {}


class Away:
    """A mirror whose store is away for the first pulls."""

    def __init__(self, *answers: bool) -> None:
        self.answers = iter(answers)

    def pull(self) -> bool:
        if next(self.answers):
            return True
        raise StorageError("the store is away")


def test_thread_when_the_store_is_away_then_said_when_it_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    thread = MirrorThread(Away(True, False, False, True, True), every_s=30)
    for _ in range(5):
        thread.pull()
    assert caplog.messages == [
        "no news from FERRY_MODELS_URL, models stay as they are: the store is away",
        "FERRY_MODELS_URL answers again",
    ]


def test_mirror_of_when_no_store_is_named_then_none(tmp_path: Path) -> None:
    assert mirror_of(Settings(_env_file=None)) is None
    assert mirror_of(Settings(_env_file=None, models_url=str(tmp_path), models_dir=tmp_path / "here"))
