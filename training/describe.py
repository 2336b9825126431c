"""Write the manifest of a trained model: what it takes, how good it is, what made it.

Knows figures and versions; trains and checks nothing.
"""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from ferry.manifest import DEFAULT_MAX_JOB_ROWS, Batching, Execution, ExecutionMode, Manifest
from training.data import KEYS, Dataset
from training.export import IR_VERSION, OPSET
from training.options import Options
from training.signature import IMAGE_SIDE, INPUT, LABELS, OUTPUT
from training.verify import Agreement

LIBRARIES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
TITLES = {
    "mlp": "Recognises one handwritten digit (MNIST) per row: a network of 784, 128 and 10 units.",
    "cnn": "Recognises one handwritten digit (MNIST) per row: a small convolutional network.",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What training and evaluation measured; `samples_accuracy` is None where no samples are published."""

    train_s: float
    n_parameters: int
    test_loss: float
    test_accuracy: float
    samples_accuracy: float | None


def describe(
    options: Options, data: Dataset, *, figures: Figures, agreement: Agreement, version_name: str, sha256: str
) -> Manifest:
    """Return the manifest of one version."""
    return Manifest(
        name=options.name,
        version=version_name,
        description=TITLES[options.network],
        inputs=(INPUT,),
        outputs=(OUTPUT,),
        labels=LABELS,
        execution=Execution(
            mode=ExecutionMode.BATCHED,
            reason="every layer works on one row alone; the export was compared with Keras at several numbers of rows",
        ),
        batching=Batching(max_wait_ms=0.0, max_job_rows=DEFAULT_MAX_JOB_ROWS),  # how many rows: the worker measures
        sha256=sha256,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics=_metrics(options, data, figures=figures, agreement=agreement),
        versions={name: version(name) for name in LIBRARIES}
        | {"python": platform.python_version(), "onnx_opset": str(OPSET), "onnx_ir": str(IR_VERSION)},
        data_digest=data.digest,
        notes=_notes(options, data),
    )


def _metrics(options: Options, data: Dataset, *, figures: Figures, agreement: Agreement) -> dict[str, float]:
    metrics: dict[str, float] = {
        "test_accuracy": figures.test_accuracy,
        "test_loss": figures.test_loss,
        "test_rows": len(data.test.y),
        "train_rows": len(data.train.y),
        "train_s": round(figures.train_s, 1),
        "parameters": figures.n_parameters,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "parity_max_abs_diff": agreement.keras_diff,
        "batch_max_abs_diff": agreement.batch_diff,
    }
    if figures.samples_accuracy is not None:
        metrics |= {"samples_accuracy": figures.samples_accuracy, "samples_rows": options.n_samples}
    return metrics


def _notes(options: Options, data: Dataset) -> tuple[str, ...]:
    """Return what a user should know, in plain words."""
    command = (
        f"python -m training.train --network {options.network} --epochs {options.epochs} "
        f"--batch-size {options.batch_size} --seed {options.seed}"
    )
    notes = (
        "Input: grey values divided by 255, white ink (1.0) on black (0.0), the digit centred as in MNIST.",
        f"Images (a ZIP of PNG or JPEG) and columns pixel0 to pixel{IMAGE_SIDE**2 - 1} hold grey values from 0 to 255, "
        "white ink on black too.",
        "Output: one probability for each digit 0 to 9. Even an image of something else gets such probabilities.",
        f"Trained on {len(data.train.y):,} and tested on {len(data.test.y):,} other digits by: {command}",
        "Checked on all test digits: onnxruntime gives what Keras gave (parity_max_abs_diff), in batches of any size "
        "(batch_max_abs_diff).",
        f"data_digest is the sha256 of the bytes of {', '.join(KEYS)}, in this order.",
    )
    if not options.n_samples:
        return notes
    return (*notes, f"samples/digits.npz holds {options.n_samples:,} test digits: x (uint8, 0 to 255) and labels y.")
