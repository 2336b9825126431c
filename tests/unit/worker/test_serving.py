import logging
import shutil
from pathlib import Path

import pytest

from ferry.manifest import DEFAULT_MAX_ROWS, MANIFEST_FILE, MODEL_FILE
from ferry.repository import Repository
from tests import onnx_models
from tests.manifests import profile, spec
from tests.unit.worker.conftest import put_model
from worker.serving import Changes, Shelf

GOOD = onnx_models.doubled().SerializeToString()
OTHER = onnx_models.mixes_rows().SerializeToString()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def shelf(root: Path) -> Shelf:
    return Shelf(Repository(root), threads=1)


def refs(shelf: Shelf) -> list[str]:
    return sorted(manifest.ref for manifest in shelf.manifests())


# --- at the start


def test_load_all_when_all_are_good_then_all_are_served(shelf: Shelf, root: Path) -> None:
    for name, version in (("a", "1"), ("a", "2"), ("b", "1")):
        put_model(root, GOOD, name, version)
    shelf.load_all()
    assert refs(shelf) == ["a:1", "a:2", "b:1"]
    assert shelf.find("a", "2").manifest.ref == "a:2"
    assert shelf.find("a", "3") is None


def test_load_all_when_there_is_nothing_then_nothing_is_served(shelf: Shelf) -> None:
    shelf.load_all()
    assert shelf.manifests() == []


def test_load_all_when_several_are_bad_then_each_is_named_with_its_reason(shelf: Shelf, root: Path) -> None:
    put_model(root, GOOD, "good")
    put_model(root, b"no model", "garbage")
    put_model(root, GOOD, "swapped")
    (root / "swapped" / "1" / MODEL_FILE).write_bytes(OTHER)
    put_model(root, GOOD, "unwritten")
    (root / "unwritten" / "1" / MANIFEST_FILE).write_text("{")
    put_model(root, GOOD, "empty")
    (root / "empty" / "1" / MODEL_FILE).unlink()
    shelf.load_all()
    assert refs(shelf) == ["good:1"]
    reasons = {name: reason for (name, _), reason in sorted(shelf.broken.items())}
    assert list(reasons) == ["empty", "garbage", "swapped", "unwritten"]
    assert "model.onnx is missing" in reasons["empty"]
    assert "onnxruntime will not load" in reasons["garbage"]
    assert "its manifest says" in reasons["swapped"]


def test_load_all_when_a_model_dislikes_zeros_then_served_with_a_warning(
    shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signature = {"inputs": (spec("index", "int64"),), "outputs": (spec("y", "float32", 2),)}
    put_model(root, onnx_models.raises_on_big_index(100).SerializeToString(), "table", **signature)
    with caplog.at_level(logging.WARNING):
        shelf.load_all()
    assert refs(shelf) == ["table:1"]
    assert "table:1 could not be warmed up with zeros" in caplog.text


def test_load_all_when_models_are_measured_then_the_manifest_goes_first_and_the_profile_fills_in(root: Path) -> None:
    put_model(root, GOOD, "says", max_rows=4)
    put_model(root, GOOD, "leaves-it", max_rows=None)
    shelf = Shelf(Repository(root), threads=1, profiler=lambda _: profile(max_rows=32))
    shelf.load_all()
    assert [shelf.find(name, "1").limits.max_rows for name in ("says", "leaves-it")] == [4, 32]
    assert {model.profile.max_rows for model in shelf.models()} == {32}


def test_load_all_when_a_model_cannot_be_measured_then_served_all_the_same(root: Path) -> None:
    put_model(root, GOOD, max_rows=None)
    shelf = Shelf(Repository(root), threads=1, profiler=lambda _: None)
    shelf.load_all()
    assert shelf.find("toy", "1").limits.max_rows == DEFAULT_MAX_ROWS


# --- while it runs


def test_refresh_when_nothing_changed_then_no_changes_and_the_same_models(shelf: Shelf, root: Path) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    before = shelf.find("toy", "1")
    assert shelf.refresh() == Changes()
    assert shelf.find("toy", "1") is before


def test_refresh_when_a_version_was_added_then_loaded_and_the_others_stay(shelf: Shelf, root: Path) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    before = shelf.find("toy", "1")
    put_model(root, GOOD, version="2")
    assert shelf.refresh() == Changes(loaded=(("toy", "2"),))
    assert shelf.find("toy", "1") is before
    assert refs(shelf) == ["toy:1", "toy:2"]


def test_refresh_when_a_version_was_removed_then_unloaded(shelf: Shelf, root: Path) -> None:
    for version in ("1", "2"):
        put_model(root, GOOD, version=version)
    shelf.load_all()
    shutil.rmtree(root / "toy" / "1")
    assert shelf.refresh() == Changes(unloaded=(("toy", "1"),))
    assert refs(shelf) == ["toy:2"]


def test_refresh_when_a_version_was_replaced_then_loaded_anew_and_not_called_unloaded(shelf: Shelf, root: Path) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    replaced = put_model(root, OTHER)
    assert shelf.refresh() == Changes(loaded=(("toy", "1"),))
    assert shelf.find("toy", "1").manifest == replaced


def test_refresh_when_a_version_was_replaced_by_a_bad_one_then_unloaded(shelf: Shelf, root: Path) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    put_model(root, b"no model")
    assert shelf.refresh() == Changes(unloaded=(("toy", "1"),))
    assert shelf.find("toy", "1") is None


def test_refresh_when_a_new_version_is_bad_then_said_once_and_the_others_are_served(
    shelf: Shelf, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_model(root, GOOD)
    shelf.load_all()
    put_model(root, b"no model", "bad")
    for version in ("2", "3"):  # each makes it look at the whole folder again
        put_model(root, GOOD, version=version)
        assert shelf.refresh() == Changes(loaded=(("toy", version),))
    refused = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(refused) == 1
    assert "model_broken: bad:1 is not served: onnxruntime will not load" in refused[0].getMessage()
    assert refs(shelf) == ["toy:1", "toy:2", "toy:3"]


def test_refresh_when_a_refused_version_was_put_right_then_loaded(shelf: Shelf, root: Path) -> None:
    shelf.load_all()
    put_model(root, b"no model")
    assert shelf.refresh() == Changes()
    put_model(root, GOOD)
    assert shelf.refresh() == Changes(loaded=(("toy", "1"),))


def test_refresh_when_a_model_was_still_being_copied_then_loaded_once_it_is_whole(shelf: Shelf, root: Path) -> None:
    shelf.load_all()
    put_model(root, GOOD)
    file = root / "toy" / "1" / MODEL_FILE
    file.write_bytes(GOOD[:50])
    assert shelf.refresh() == Changes()
    file.write_bytes(GOOD)
    assert shelf.refresh() == Changes(loaded=(("toy", "1"),))


def test_refresh_when_a_version_is_left_out_then_dropped_and_loaded_again_afterwards(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put_model(tmp_path, onnx_models.doubled().SerializeToString(), "toy", version)
    shelf = Shelf(Repository(tmp_path), threads=1)
    shelf.leave_out(frozenset({("toy", "2")}))
    shelf.load_all()
    assert shelf.keys() == [("toy", "1")]
    shelf.leave_out(frozenset({("toy", "1")}))
    assert shelf.refresh() == Changes(loaded=(("toy", "2"),), unloaded=(("toy", "1"),))
    assert shelf.refresh() == Changes()
    shelf.leave_out(frozenset())
    assert shelf.refresh() == Changes(loaded=(("toy", "1"),))
