from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ferry.errors import ModelRefusedError
from tests import onnx_models
from tests.unit.worker.conftest import put_model
from worker.inspection.map_session import MapSession
from worker.models import load_model

MAPS = "seq(map(string,tensor(float)))"


class FakeSession:
    """A session of one output with maps and one tensor; `results` is what its runs give."""

    def __init__(self, *results: list[dict[str, float]]) -> None:
        self.results = list(results)

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="label", type="tensor(int64)"), SimpleNamespace(name="scores", type=MAPS)]

    def run(self, names: list[str], feed: object) -> list[Any]:
        found = {"label": np.zeros(1, np.int64), "scores": self.results.pop(0)}
        return [found[name] for name in names]


def test_run_when_an_output_is_a_list_of_maps_then_a_tensor_in_the_order_of_the_keys() -> None:
    session = MapSession(FakeSession([{"a": 0.25, "b": 0.75}], [{"b": 1.0, "a": 0.0}]))
    label, scores = session.run(None, {})
    assert (label.tolist(), scores.tolist(), scores.dtype) == ([0], [[0.25, 0.75]], np.float32)
    assert session.run(["scores"], {})[0].tolist() == [[0.0, 1.0]]
    assert session.keys == {"scores": ("a", "b")}
    assert session.map_outputs == {"scores"}


@pytest.mark.parametrize(
    "runs", [([{"a": 1.0}, {"b": 1.0}],), ([{"a": 1.0}], [{"a": 0.5, "b": 0.5}]), ([{"a": 1.0}], [{}])]
)
def test_run_when_the_keys_change_then_refused(runs: tuple[list[dict[str, float]], ...]) -> None:
    session = MapSession(FakeSession(*runs))
    for _ in runs[1:]:
        session.run(None, {})
    with pytest.raises(ModelRefusedError, match=r"maps of output 'scores' do not always have the same keys \(row"):
        session.run(None, {})


def test_run_when_there_is_no_row_then_the_keys_stay_unknown() -> None:
    session = MapSession(FakeSession([]))
    assert session.run(["scores"], {})[0].shape == (0, 0)
    assert session.keys == {}


@pytest.mark.parametrize(
    ("keys", "labels"), [((0, 1, 2), ("0", "1", "2")), ((-5, 7), ("-5", "7")), (("cat", "dog"), ("cat", "dog"))]
)
def test_inspect_when_an_output_is_a_list_of_maps_then_it_is_a_tensor_and_its_keys_are_the_labels(
    look, tmp_path, keys: tuple[int | str, ...], labels: tuple[str, ...]
) -> None:
    proto = onnx_models.maps(keys)
    manifest = look(proto)
    label, scores = manifest.outputs
    assert (label.name, label.dtype, label.shape, label.map_keys) == ("label", "int64", (None,), ())
    assert (scores.name, scores.dtype, scores.shape, scores.map_keys) == ("scores", "float32", (None, len(keys)), keys)
    assert (manifest.labels, manifest.labels_of, manifest.notes) == (labels, "scores", ())
    signature = {"inputs": manifest.inputs, "outputs": manifest.outputs}
    made = put_model(tmp_path, proto.SerializeToString(), **signature)
    x = np.arange(2 * len(keys), dtype=np.float32).reshape(2, len(keys))
    assert load_model(tmp_path / "toy" / "1", made, threads=1).run([x])[1].tolist() == x.tolist()


def test_inspect_when_labels_are_given_for_maps_then_they_name_the_keys(look) -> None:
    manifest = look(onnx_models.maps(), ("setosa", "versicolor", "virginica"))
    assert (manifest.labels_of, manifest.labels[0], manifest.outputs[1].map_keys) == ("scores", "setosa", (0, 1, 2))


def test_inspect_when_maps_could_not_be_tried_then_refused_with_the_remedy(refuses) -> None:
    refuses(onnx_models.maps_that_cannot_be_tried(), "whose keys only a run shows, and made-up rows .*zipmap=False")
