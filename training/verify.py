"""The gates between a converted model and its publication. Each refuses with its name and the figures.

Knows the ONNX file, rows and what Keras said of them; not how the file was made or where it goes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from ferry.errors import ModelRefusedError
from ferry.manifest import DEFAULT_MAX_ROWS, TensorSpec
from training.signature import BATCH_AXIS, INPUT, OUTPUT

# Two float32 softmaxes summed in different orders differ by about 1e-6; a wrong weight or layout by far more.
PARITY_LIMIT = 1e-5
# A row's answer must not depend on its batch: the queue's promise, to its own tolerance.
BATCH_LIMIT = 1e-6
# What the worker runs; the other sizes are held against it.
SERVED_SIZE = DEFAULT_MAX_ROWS
# The least, one that divides nothing, and one far above any batch the worker makes.
OTHER_SIZES = (1, 3, 1024)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the gates measured: greatest absolute differences in probability, over `n_rows` rows."""

    n_rows: int
    keras_diff: float
    batch_diff: float


def verify(path: Path, x: NDArray[np.float32], *, expected: NDArray[np.float32]) -> Agreement:
    """Hold the model at `path` to every gate.

    Shape: x (N, 28, 28) float32 in 0..1, expected (N, 10) float32 from Keras.

    Raises:
        ModelRefusedError: at the first gate that fails.
    """
    _check_file(path)
    session = _load(path)
    _check_signature(session)
    got = _run(session, x, size=SERVED_SIZE)
    keras_diff = _check_parity(got, expected)
    return Agreement(len(x), keras_diff, _check_batch_sizes(session, x, got=got))


def _refusal(gate: str, detail: object) -> ModelRefusedError:
    return ModelRefusedError(f"gate '{gate}' failed: {detail}")


def _check_file(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # ValidationError, InferenceError, protobuf's DecodeError
        raise _refusal("onnx.checker", error) from error


def _load(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; they come back as exceptions, warnings tell a user nothing
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise _refusal("onnxruntime load", error) from error


def _check_signature(session: onnxruntime.InferenceSession) -> None:
    """Hold tensor names, dtypes and shapes to what the manifest will say."""
    for kind, spec, values in (("inputs", INPUT, session.get_inputs()), ("outputs", OUTPUT, session.get_outputs())):
        found = [(value.name, value.type, list(value.shape)) for value in values]
        if found != [_signature(spec)]:
            raise _refusal("signature", f"the {kind} are {found}, not {[_signature(spec)]}")


def _signature(spec: TensorSpec) -> tuple[str, str, list[int | str | None]]:
    """Return name, type and shape as onnxruntime states them; it calls float32 `tensor(float)`."""
    return spec.name, "tensor(float)", [BATCH_AXIS, *spec.inner_shape]


def _run(session: onnxruntime.InferenceSession, x: NDArray[np.float32], *, size: int) -> NDArray[np.float32]:
    """Return (N, 10) probabilities for all of `x`, run `size` rows at a time."""
    parts: list[NDArray[Any]] = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        try:
            (part,) = session.run([OUTPUT.name], {INPUT.name: rows})
        except Exception as error:  # onnxruntime's errors share no other base
            raise _refusal("run", f"a batch of {len(rows)} rows raised: {error}") from error
        if part.shape != (len(rows), *OUTPUT.inner_shape):
            raise _refusal("run", f"a batch of {len(rows)} rows gave shape {part.shape}")
        parts.append(part)
    return np.concatenate(parts)


def _check_parity(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    diff = float(np.abs(got - expected).max())
    if not diff <= PARITY_LIMIT:  # so written, NaN fails too
        raise _refusal(
            "parity", f"onnxruntime and Keras differ by {diff:.2e} on {len(got)} rows, limit {PARITY_LIMIT:.0e}"
        )
    n_differ = int(np.count_nonzero(got.argmax(axis=1) != expected.argmax(axis=1)))
    if n_differ:
        raise _refusal(
            "argmax", f"onnxruntime and Keras choose another class on {n_differ} of {len(got)} rows, limit 0"
        )
    return diff


def _check_batch_sizes(
    session: onnxruntime.InferenceSession, x: NDArray[np.float32], *, got: NDArray[np.float32]
) -> float:
    """Return the greatest difference between batches of `SERVED_SIZE` rows and those of any other size."""
    greatest = 0.0
    for size in OTHER_SIZES:
        diff = float(np.abs(_run(session, x, size=size) - got).max())
        if not diff <= BATCH_LIMIT:
            detail = f"batches of {size} and of {SERVED_SIZE} rows differ by {diff:.2e}, limit {BATCH_LIMIT:.0e}"
            raise _refusal("batch sizes", detail)
        greatest = max(greatest, diff)
    return greatest
