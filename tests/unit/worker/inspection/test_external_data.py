import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from ferry.errors import ModelRefusedError
from ferry.manifest import MODEL_FILE, sha256_of
from tests import onnx_models
from tests.onnx_models import EXTERNAL_BYTES, EXTERNAL_FILE
from worker.inspection.__main__ import main
from worker.inspection.external_data import FilesWantedError, wanted_files
from worker.inspection.manifests import inspect
from worker.inspection.onnx_file import tensors

PLACES = ["initializer", "attribute", "subgraph", "sparse"]


def wanted(place: str = "initializer", location: str = EXTERNAL_FILE) -> dict[str, str]:
    return wanted_files(tensors(onnx_models.external_weights(place, location)))


@pytest.mark.parametrize("place", PLACES)
def test_wanted_files_when_a_tensor_is_elsewhere_then_its_file_is_found_wherever_it_stands(place: str) -> None:
    assert wanted(place) == {EXTERNAL_FILE: "w"}


def test_wanted_files_when_none_is_elsewhere_then_there_are_none() -> None:
    proto = onnx_models.classes(3)
    proto.graph.initializer[0].external_data.add(key="location", value="ignored")  # as onnxruntime does
    assert wanted_files(tensors(proto)) == {}


@pytest.mark.parametrize("location", ["./weights.bin", "weights.bin", ".//weights.bin"])
def test_wanted_files_when_a_name_is_written_in_several_ways_then_it_is_one_file(location: str) -> None:
    assert wanted(location=location) == {EXTERNAL_FILE: "w"}


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "a/../../b", "model.onnx", "samples/w", "*/_ORT_MEM_ADDR_/*", "a\\b"]
)
@pytest.mark.parametrize("place", PLACES)
def test_wanted_files_when_a_path_is_not_allowed_then_tensor_path_and_remedy_are_named(
    place: str, location: str
) -> None:
    with pytest.raises(ModelRefusedError) as refusal:
        wanted(place, location)
    for words in ("tensor 'w'", repr(location), "save the model again with onnx.save"):
        assert words in refusal.value.detail


@pytest.mark.parametrize("locations", [[], [""], ["a", "b"]])
def test_wanted_files_when_a_tensor_names_no_file_or_two_then_refused(locations: list[str]) -> None:
    proto = onnx_models.classes(3)
    weights = proto.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    for location in locations:
        weights.external_data.add(key="location", value=location)
    with pytest.raises(ModelRefusedError, match=f"tensor 'w' .* names {len(locations)} of them instead of one"):
        wanted_files(tensors(proto))


# --- as part of an inspection


def save(folder: Path, place: str = "initializer", location: str = EXTERNAL_FILE, **extent: int) -> Path:
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(EXTERNAL_BYTES)
    return onnx_models.save(onnx_models.external_weights(place, location, **extent), folder / MODEL_FILE)


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph"])
@pytest.mark.parametrize("location", [EXTERNAL_FILE, "parts/w.data"])
def test_inspect_when_the_files_are_there_then_they_are_recorded_and_the_model_runs(
    tmp_path: Path, place: str, location: str
) -> None:
    path = save(tmp_path, place, location)
    manifest = inspect(path, "m", "1")
    (file,) = manifest.files
    assert (file.name, file.sha256, file.size_bytes) == (location, sha256_of(tmp_path / location), 12)
    assert manifest.notes == ()  # it was run
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros((1, 3), np.float32)})[0].tolist() == [[1, 2, 3]]


def test_inspect_when_files_are_absent_then_they_are_wanted(tmp_path: Path) -> None:
    path = save(tmp_path)
    (tmp_path / EXTERNAL_FILE).unlink()
    with pytest.raises(FilesWantedError) as error:
        inspect(path, "m", "1")
    assert error.value.wanted == {EXTERNAL_FILE: "w"}


def test_main_when_files_are_absent_then_the_reply_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path)
    (tmp_path / EXTERNAL_FILE).unlink()
    main([str(path), "--name=m", "--version=1"])
    assert json.loads(capsys.readouterr().out) == {"files": {EXTERNAL_FILE: "w"}}


def test_inspect_when_a_link_leaves_the_folder_then_refused(tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    path = save(folder)
    (folder / EXTERNAL_FILE).rename(tmp_path / "secret")
    (folder / EXTERNAL_FILE).symlink_to(tmp_path / "secret")
    with pytest.raises(ModelRefusedError, match=r"tensor 'w' .*weights\.bin is a link to .*secret, outside"):
        inspect(path, "m", "1")


@pytest.mark.parametrize(
    ("extent", "words"),
    [
        ({"offset": 4, "length": 12}, "tensor 'w' needs bytes 4 to 16 of 'weights.bin', which has 12: .*damaged"),
        ({"offset": -4}, "does not say which bytes"),
        ({"length": "many"}, "does not say which bytes"),
    ],
)
def test_inspect_when_the_file_is_too_short_then_tensor_and_sizes_are_named(
    tmp_path: Path, extent: dict[str, int], words: str
) -> None:
    with pytest.raises(ModelRefusedError, match=words):
        inspect(save(tmp_path, **extent), "m", "1")
