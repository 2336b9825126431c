"""The model that ships in models/mnist/1 is what its manifest says it is."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ferry.manifest import MODEL_FILE, read_manifest, sha256_of
from training.signature import INPUT, LABELS, OUTPUT

FOLDER = Path(__file__).parents[2] / "models/mnist/1"


@pytest.fixture(scope="module")
def samples():
    with np.load(FOLDER / "samples/digits.npz", allow_pickle=False) as archive:
        return archive["x"], archive["y"]


def test_committed_model_when_compared_with_its_manifest_then_it_is_that_file():
    manifest = read_manifest(FOLDER)

    assert manifest.ref == "mnist:1"
    assert manifest.sha256 == sha256_of(FOLDER / MODEL_FILE)
    assert (manifest.inputs, manifest.outputs, manifest.labels) == ((INPUT,), (OUTPUT,), LABELS)
    assert manifest.metrics["test_accuracy"] >= 0.975
    assert manifest.metrics["parity_max_abs_diff"] <= 1e-5


def test_committed_model_when_checked_then_it_is_valid():
    onnx.checker.check_model(str(FOLDER / MODEL_FILE), full_check=True)


def test_committed_samples_when_counted_then_they_are_1000_digits_of_all_classes(samples):
    x, y = samples

    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1000, 28, 28), np.uint8, (1000,), np.uint8)
    assert set(y.tolist()) == set(range(10))


def test_committed_model_when_run_on_its_samples_then_it_is_as_good_as_it_says(samples):
    x, y = samples
    session = onnxruntime.InferenceSession(FOLDER / MODEL_FILE, providers=["CPUExecutionProvider"])

    (got,) = session.run([OUTPUT.name], {INPUT.name: x.astype(np.float32) / 255})

    accuracy = (got.argmax(axis=1) == y).mean()
    assert accuracy >= 0.97
    assert accuracy == pytest.approx(read_manifest(FOLDER).metrics["samples_accuracy"])
