import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from conftest import N_SAMPLES, N_TEST, N_TRAIN

from ferry.manifest import MODEL_FILE, read_manifest, sha256_of
from training import pipeline
from training.signature import INPUT, LABELS, OUTPUT

REPO = Path(__file__).parents[2]


def run_ort(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT.name], {INPUT.name: x.astype(np.float32) / 255})[0]


def run_process(*args, **env):
    command = [sys.executable, "-m", "training.train", *args]
    return subprocess.run(
        command, cwd=REPO, env=os.environ | env, capture_output=True, text=True, timeout=100, check=False
    )


def test_train_when_done_then_the_folder_holds_what_the_worker_serves_and_no_more(published):
    files = {str(path.relative_to(published.folder)) for path in published.folder.rglob("*") if path.is_file()}

    assert files == {"model.onnx", "manifest.json", "samples/digits.npz"}
    assert [entry.name for entry in published.folder.parent.iterdir()] == ["1"]


def test_train_when_done_then_the_manifest_tells_the_truth_about_the_model(published):
    manifest = published.manifest
    session = onnxruntime.InferenceSession(published.folder / MODEL_FILE, providers=["CPUExecutionProvider"])
    (x,), (y,) = session.get_inputs(), session.get_outputs()

    assert manifest.sha256 == sha256_of(published.folder / MODEL_FILE)
    assert manifest.inputs == (INPUT,)
    assert (x.name, x.type, x.shape) == ("x", "tensor(float)", ["N", 28, 28])
    assert manifest.outputs == (OUTPUT,)
    assert (y.name, y.type, y.shape) == ("probabilities", "tensor(float)", ["N", 10])
    assert manifest.labels == LABELS == tuple("0123456789")
    assert manifest.inputs[0].range == (0.0, 1.0)
    assert (manifest.batching.max_rows, manifest.batching.max_job_rows) == (None, 4096)


def test_train_when_done_then_the_manifest_tells_the_truth_about_the_run(published):
    manifest, metrics = published.manifest, published.manifest.metrics
    got = run_ort(published.folder / MODEL_FILE, published.x_test)

    assert metrics["test_accuracy"] == pytest.approx((got.argmax(axis=1) == published.y_test).mean())
    rows = np.arange(len(got))
    assert metrics["test_loss"] == pytest.approx(-np.log(got[rows, published.y_test]).mean(), rel=1e-4)
    assert (metrics["train_rows"], metrics["test_rows"], metrics["epochs"]) == (N_TRAIN, N_TEST, 1)
    assert metrics["parity_max_abs_diff"] <= 1e-5
    assert metrics["batch_max_abs_diff"] <= 1e-6
    assert manifest.versions["tensorflow"] == tf.__version__
    assert {"keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "python"} < manifest.versions.keys()
    assert len(manifest.data_digest) == 64


def test_train_when_done_then_the_onnx_file_is_pinned(published):
    proto = onnx.load(published.folder / MODEL_FILE)

    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
    assert [entry.version for entry in proto.opset_import if not entry.domain] == [18]


def test_train_when_samples_are_asked_for_then_every_nth_test_digit_is_published(published):
    with np.load(published.folder / "samples/digits.npz", allow_pickle=False) as samples:
        x, y = samples["x"], samples["y"]
    step = N_TEST // N_SAMPLES
    got = run_ort(published.folder / MODEL_FILE, x)

    assert x.dtype == y.dtype == np.uint8
    np.testing.assert_array_equal(x, published.x_test[::step])
    np.testing.assert_array_equal(y, published.y_test[::step])
    assert published.manifest.metrics["samples_accuracy"] == pytest.approx((got.argmax(axis=1) == y).mean())


def test_train_when_done_then_the_saved_model_gives_the_same_under_the_same_names(published):
    saved = tf.saved_model.load(published.workdir / "saved_model")
    x = published.x_test.astype(np.float32) / 255

    got = saved.signatures["serving_default"](x=tf.constant(x))["probabilities"].numpy()

    np.testing.assert_allclose(got, run_ort(published.folder / MODEL_FILE, published.x_test), atol=1e-5)
    assert json.loads((published.workdir / "history.json").read_text())["loss"]


def test_train_when_run_twice_with_one_seed_then_the_results_are_the_same(run_cli, tmp_path, capfd):
    assert run_cli(tmp_path) == 0
    assert run_cli(tmp_path) == 0

    first, second = (read_manifest(tmp_path / "models/mnist" / version) for version in "12")
    assert first.metrics["test_accuracy"] == pytest.approx(second.metrics["test_accuracy"], abs=0.002)
    assert first.metrics["test_loss"] == pytest.approx(second.metrics["test_loss"], rel=1e-4)
    assert first.metrics["test_accuracy"] > 0.9
    out = capfd.readouterr().out
    assert "epoch 1/1" in out
    assert f"published  {tmp_path}/models/mnist/2" in out


def test_train_when_the_version_exists_then_it_is_refused_before_training(run_cli, tmp_path, capfd):
    (tmp_path / "models/mnist/3").mkdir(parents=True)

    assert run_cli(tmp_path, "--version", "3") == 2

    out, err = capfd.readouterr()
    assert err.startswith(f"error: {tmp_path}/models/mnist/3 exists; leave --version out for the next free one")
    assert err.count("\n") == 1
    assert out == ""


def test_train_when_forced_then_the_version_is_replaced(run_cli, tmp_path):
    old = tmp_path / "models/mnist/3/old"
    old.parent.mkdir(parents=True)
    old.touch()

    assert run_cli(tmp_path, "--version", "3", "--force") == 0

    assert read_manifest(old.parent).ref == "mnist:3"
    assert not old.exists()


def test_train_when_a_gate_fails_then_nothing_is_published_and_the_figures_are_told(
    run_cli, tmp_path, capfd, monkeypatch
):
    def save_spoiled(model, path):
        model.layers[-1].bias.assign_add([0.01] + [0.0] * 9)
        save_onnx(model, path)
        model.layers[-1].bias.assign_sub([0.01] + [0.0] * 9)

    save_onnx = pipeline.save_onnx
    monkeypatch.setattr(pipeline, "save_onnx", save_spoiled)

    assert run_cli(tmp_path) == 1

    err = capfd.readouterr().err
    assert err.startswith("refused, nothing was published: gate 'parity' failed: onnxruntime and Keras differ by ")
    assert err.count("\n") == 1
    assert not (tmp_path / "models/mnist").exists()
    assert (tmp_path / "work/model.onnx").exists()


def test_train_when_more_samples_than_rows_are_asked_for_then_one_line_says_so(run_cli, tmp_path, capfd):
    assert run_cli(tmp_path, "--samples", "121") == 2

    assert capfd.readouterr().err == "error: --samples 121 is more than the 120 test rows; ask for fewer\n"


def test_train_when_the_data_is_not_there_then_one_line_says_so(run_cli, tmp_path, capfd):
    assert run_cli(tmp_path, "--data", "nowhere.npz") == 2

    err = capfd.readouterr().err
    assert err.startswith("error: --data nowhere.npz: no such file")
    assert err.count("\n") == 1


def test_train_when_the_workdir_is_a_file_then_one_line_says_so(run_cli, tmp_path, capfd):
    (tmp_path / "work").touch()

    assert run_cli(tmp_path) == 2

    err = capfd.readouterr().err
    assert str(tmp_path / "work") in err
    assert err.count("\n") == 1


def test_train_when_asked_for_help_then_it_names_every_option():
    process = run_process("--help")

    assert process.returncode == 0
    for option in (
        "network",
        "data",
        "epochs",
        "batch-size",
        "seed",
        "models-dir",
        "name",
        "version",
        "force",
        "samples",
    ):
        assert f"--{option}" in process.stdout


def test_train_when_neither_file_nor_network_is_there_then_one_line_names_the_remedy(tmp_path):
    nowhere = "http://127.0.0.1:9"  # port 9, discard: nobody listens

    process = run_process(
        "--models-dir", str(tmp_path), KERAS_HOME=str(tmp_path), https_proxy=nowhere, HTTPS_PROXY=nowhere
    )

    assert process.returncode == 2
    assert process.stderr.startswith("error: Keras could not load MNIST (URL fetch failure")
    assert "give --data an npz with x_train, y_train, x_test, y_test" in process.stderr
    assert process.stderr.count("\n") == 1
