"""Train, evaluate, export, verify and publish, in this order; what fails stops the rest.

Imports TensorFlow, so the command line imports it last. Knows nothing of argv or exit codes.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ferry.manifest import MODEL_FILE, Manifest, sha256_of, write_manifest
from training.data import Dataset, Split
from training.describe import Figures, describe
from training.export import save_onnx, save_saved_model
from training.networks import build
from training.options import Options
from training.publish import draft_of
from training.verify import verify

SAMPLES_FILE = "samples/digits.npz"
HISTORY_FILE = "history.json"
SAVED_MODEL_FOLDER = "saved_model"
# Rows in one step of evaluation; any size gives the same figures.
EVALUATION_ROWS = 256


@dataclass(frozen=True, slots=True)
class Trained:
    """A network after training, and the wall time that took."""

    model: keras.Model
    history: dict[str, list[float]]
    train_s: float


def run(options: Options, data: Dataset, *, target: Path) -> Manifest:
    """Make one version of a model and publish it as `target`.

    Effects: SavedModel, ONNX and history in `options.workdir`; `target` only when every gate passed.

    Raises:
        ModelRefusedError: when a gate failed.
        ConflictError: when `target` was published meanwhile.
    """
    sample_rows = data.test.spread(options.n_samples)
    trained = train(options, data.train)
    options.workdir.mkdir(parents=True, exist_ok=True)
    save_saved_model(trained.model, options.workdir / SAVED_MODEL_FOLDER)
    save_onnx(trained.model, options.workdir / MODEL_FILE)
    (options.workdir / HISTORY_FILE).write_text(json.dumps(trained.history, indent=2) + "\n", encoding="utf-8")

    x = data.test.scaled()  # (N, 28, 28)
    expected = trained.model.predict(x, batch_size=EVALUATION_ROWS, verbose=0)  # (N, 10)
    figures = evaluate(trained, data.test, expected=expected, sample_rows=sample_rows)
    with draft_of(target, is_replacing=options.is_replacing) as draft:
        # The copy is what gets checked and hashed: another run may write to the same workdir meanwhile.
        copyfile(options.workdir / MODEL_FILE, draft / MODEL_FILE)
        agreement = verify(draft / MODEL_FILE, x, expected=expected)
        digest = sha256_of(draft / MODEL_FILE)
        manifest = describe(
            options, data, figures=figures, agreement=agreement, version_name=target.name, sha256=digest
        )
        if options.n_samples:
            write_samples(data.test, sample_rows, path=draft / SAMPLES_FILE)
        write_manifest(manifest, draft)
    return manifest


def train(options: Options, split: Split) -> Trained:
    """Train a fresh network; the same options on the same machine give the same weights."""
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()  # else threads add up gradients in any order
    model = build(options.network)
    started = time.monotonic()

    def print_epoch(epoch: int, logs: dict[str, Any]) -> None:
        figures = f"loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.4f}"
        print(f"epoch {epoch + 1}/{options.epochs}  {figures}  {time.monotonic() - started:.1f} s", flush=True)

    history = model.fit(
        split.scaled(),
        split.y,
        epochs=options.epochs,
        batch_size=options.batch_size,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=print_epoch)],
    )
    return Trained(model, history.history, time.monotonic() - started)


def evaluate(trained: Trained, test: Split, *, expected: NDArray[np.float32], sample_rows: NDArray[np.intp]) -> Figures:
    """Measure a trained network on the test split. Shape: expected (N, 10), the network's answers."""
    scores = trained.model.evaluate(test.scaled(), test.y, batch_size=EVALUATION_ROWS, verbose=0, return_dict=True)
    is_right = expected.argmax(axis=1) == test.y  # (N,)
    return Figures(
        train_s=trained.train_s,
        n_parameters=trained.model.count_params(),
        test_loss=float(scores["loss"]),
        test_accuracy=float(is_right.mean()),
        samples_accuracy=float(is_right[sample_rows].mean()) if len(sample_rows) else None,
    )


def write_samples(test: Split, rows: NDArray[np.intp], *, path: Path) -> None:
    """Write digits a user can send at once: `x` (N, 28, 28) uint8 and `y` (N,) uint8."""
    path.parent.mkdir()
    np.savez_compressed(path, x=test.x[rows], y=test.y[rows])
