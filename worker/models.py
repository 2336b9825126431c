"""A model in memory: its onnxruntime session and how to run rows through it. Knows nothing of jobs or queues."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ferry.errors import ModelRefusedError
from ferry.manifest import MODEL_FILE, Manifest, TensorSpec
from ferry.model_files import check_files
from ferry.profile import BatchLimits, Profile, Tuning, limits_in_force
from ferry.tensors import Array, TensorCodec
from worker.providers import ON_CPU, Accelerator

# An inner axis that takes any size is warmed up with this one.
WARM_UP_SIZE = 1
# A claim is as many batches as run in this time: little enough that no other worker misses them.
CLAIM_S = 0.005
# One claim holds Redis for some 15 µs a job.
MAX_CLAIM_ROWS = 512


class Model:
    """One version of one model, ready to run."""

    def __init__(self, manifest: Manifest, session: Any) -> None:
        self.manifest = manifest
        self.inputs = TensorCodec(manifest.inputs)
        self.outputs = TensorCodec(manifest.outputs)
        self.non_finite = manifest.non_finite
        self._session = session
        self._input_names = [spec.name for spec in manifest.inputs]
        self._output_names = [spec.name for spec in manifest.outputs]
        self.profile: Profile | None = None
        self.limits: BatchLimits = limits_in_force(manifest.batching)

    def adopt(self, profile: Profile | None) -> None:
        """Take a measurement; before the model serves."""
        self.profile = profile
        self.limits = limits_in_force(self.manifest.batching, profile)

    def retune(self, tuning: Tuning) -> None:
        """Follow what was set live, from the next batch on. Called from the pulse's thread."""
        self.limits = limits_in_force(self.manifest.batching, self.profile, tuning)

    @property
    def claim_rows(self) -> int:
        """How many rows a worker takes at once: several batches where one is over too soon to be worth a round trip."""
        rows = self.limits.max_rows
        if self.profile is None:
            return rows
        run_s = (self.profile.a_us + self.profile.b_us * rows) / 1e6
        return rows * max(1, min(int(CLAIM_S / run_s), MAX_CLAIM_ROWS // rows))

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run one batch.

        Shape: each array (N, *inner) in the manifest's order, N up to `max_rows`; each result (N, *inner) too.

        Raises:
            Exception: whatever onnxruntime raises on these rows.
            ValueError: an output that does not have one entry per row.
        """
        n_rows = arrays[0].shape[0]
        fixed = self.manifest.batching.fixed_rows
        if fixed is not None and n_rows < fixed:
            arrays = [_padded(array, fixed) for array in arrays]
        ran_rows = arrays[0].shape[0]
        results = self._session.run(self._output_names, dict(zip(self._input_names, arrays, strict=True)))
        checked = [
            _checked(spec, result, ran_rows) for spec, result in zip(self.manifest.outputs, results, strict=True)
        ]
        return [array[:n_rows] for array in checked]

    def warm_up(self) -> None:
        """Run one row, and a full batch, of zeros, so that the first job does not pay for lazy initialisation."""
        for n_rows in (1, self.limits.max_rows):
            self.run([zeros(spec, n_rows) for spec in self.manifest.inputs])


def load_model(folder: Path, manifest: Manifest, *, threads: int, accelerator: Accelerator = ON_CPU) -> Model:
    """Load one version's folder into a session, on an accelerator that is prepared.

    Raises:
        ModelRefusedError: a file is not the one the manifest names, or onnxruntime will not load it, or not there.
    """
    check_files(folder, manifest)
    path = folder / MODEL_FILE
    options = onnxruntime.SessionOptions()
    # Set by us: onnxruntime would size its pool from the host, not from the container's quota.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning pool takes a core from the neighbours between batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        # The fallback prints what is wrong with a GPU and runs on the CPU, now or amid a batch.
        session = onnxruntime.InferenceSession(
            str(path), options, providers=accelerator.providers, enable_fallback=False
        )
    except Exception as error:
        raise ModelRefusedError(f"{manifest.ref}: onnxruntime will not load {path}: {error}") from error
    if reason := accelerator.why_not_on(session):
        raise ModelRefusedError(f"{manifest.ref}: {reason}")
    return Model(manifest, session)


def _padded(array: Array, n_rows: int) -> Array:
    filler = np.repeat(array[-1:], n_rows - array.shape[0], axis=0)
    return np.concatenate([array, filler])


def _checked(spec: TensorSpec, result: Any, n_rows: int) -> Array:
    array = np.asarray(result)
    if array.ndim == 0 or array.shape[0] != n_rows:
        raise ValueError(f"output {spec.name!r} has shape {array.shape} for {n_rows} rows")
    if array.ndim != len(spec.shape):
        raise ValueError(f"output {spec.name!r} has {array.ndim} axes, its manifest says {len(spec.shape)}")
    return array


def zeros(spec: TensorSpec, n_rows: int, *, free_axis_size: int = WARM_UP_SIZE) -> Array:
    """Return rows of zeros, or of empty text, with every free inner axis at `free_axis_size`."""
    shape = (n_rows, *(free_axis_size if size is None else size for size in spec.inner_shape))
    return np.full(shape, "", dtype=object) if spec.is_string else np.zeros(shape, spec.numpy_dtype)
