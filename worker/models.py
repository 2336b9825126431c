"""A model in memory: its onnxruntime session and how to run rows through it. Knows nothing of jobs or queues."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ferry.errors import ModelRefusedError
from ferry.manifest import MODEL_FILE, Manifest, TensorSpec
from ferry.model_files import check_files
from ferry.profile import WHOLE_JOB_LIMITS, BatchLimits, Profile, Tuning, limits_in_force
from ferry.tensors import Array, TensorCodec, WholeCodec, model_layout, rows_first
from worker.claim_size import ClaimSize
from worker.map_outputs import arrays_from_maps
from worker.providers import ON_CPU, Accelerator
from worker.session_check import why_not_as_declared

# An inner axis that takes any size is warmed up with this one.
WARM_UP_SIZE = 1
# A claim has as many batches as run in this time. It is so short that other workers still find enough jobs.
CLAIM_S = 0.005
# One claim holds Redis for some 15 µs a job.
MAX_CLAIM_ROWS = 512
# Whole jobs may be large: a claim holds fewer of them.
MAX_CLAIM_JOBS = 64
# How much the newest whole job counts in the average of their run times.
NEWEST_JOB_WEIGHT = 0.2


logger = logging.getLogger(__name__)


class Model:
    """One version of one model, ready to run."""

    def __init__(self, manifest: Manifest, session: Any) -> None:
        self.manifest = manifest
        self.digest = manifest.digest
        # Why its jobs run one by one although the manifest says batched; empty where they do not.
        self.switched = ""
        # Whether the queue was asked if a check switched it before this process began.
        self.has_asked = False
        codec = TensorCodec if manifest.is_batched else WholeCodec
        # Typed as the batched ones: running whole jobs needs only pack and unpack.
        self.inputs: Any = codec(manifest.inputs)
        self.outputs: Any = codec(manifest.outputs)
        self.non_finite = manifest.non_finite
        self._session = session
        self._output_names = [spec.name for spec in manifest.outputs]
        self._fixed = {fixed.name: fixed.to_array() for fixed in manifest.fixed_inputs}
        self.profile: Profile | None = None
        self.limits: BatchLimits = limits_in_force(manifest)
        # Of a whole job, averaged over the last few; None before the first.
        self._job_s: float | None = None
        self._claim_size = ClaimSize()

    @property
    def is_batched(self) -> bool:
        """Whether rows of many jobs share a run."""
        return self.manifest.is_batched and not self.switched

    def switch_to_whole_jobs(self, reason: str) -> None:
        """Run jobs one by one from the next claim on; there is no way back. Called from any thread."""
        if not self.switched:
            self.switched = reason
            self.limits = WHOLE_JOB_LIMITS
            logger.error("%s runs one job at a time from now on: %s", self.manifest.ref, reason)

    def adopt(self, profile: Profile | None) -> None:
        """Take a measurement; before the model serves."""
        self.profile = profile
        self._limit(Tuning())

    def retune(self, tuning: Tuning) -> None:
        """Use limits that were set live, from the next batch on. Called from the heartbeat's thread."""
        self._limit(tuning)

    def _limit(self, tuning: Tuning) -> None:
        in_force = limits_in_force(self.manifest, self.profile, tuning)
        self.limits = WHOLE_JOB_LIMITS if self.switched else in_force

    @property
    def claim_rows(self) -> int:
        """How many rows a worker claims at once.

        Rows for several runs where one run is too short for a round trip, and fewer than a run may have where they cost
        so much beside the device that a high-priority job would wait for long (`claim_size.py`).
        """
        rows = self.limits.max_rows
        if not self.is_batched:
            # A job of a switched model may have many rows: it is claimed although it has more than these.
            return 1 if self._job_s is None else max(1, min(int(CLAIM_S / max(self._job_s, 1e-6)), MAX_CLAIM_JOBS))
        if self.profile is None:
            return rows
        fixed_s, row_s = self.profile.a_us / 1e6, self.profile.b_us / 1e6
        most = rows * max(1, min(int(CLAIM_S / (fixed_s + row_s * rows)), MAX_CLAIM_ROWS // rows))
        fitting = self._claim_size.rows(most, run_s=fixed_s, row_run_s=row_s)
        # More than one run: whole runs.
        return min(most, -(-fitting // rows) * rows) if fitting > rows else fitting

    @property
    def rows_beside_high(self) -> int:
        """Up to how many rows other jobs fill a claim that has high-priority ones."""
        if self.profile is None or not self.is_batched:
            return self.claim_rows
        fixed_s, row_s = self.profile.a_us / 1e6, self.profile.b_us / 1e6
        return self._claim_size.rows_beside_high(self.claim_rows, run_s=fixed_s, row_run_s=row_s)

    def claim_settled(self, rows: int, host_s: float) -> None:
        """Take in what a claim cost beside the device, from its reply to the reply of its settle, in seconds."""
        self._claim_size.observe(rows, host_s)

    def run(self, arrays: list[Array]) -> list[Array]:
        """Run one batch of rows.

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
        laid_out = [model_layout(spec, array) for spec, array in zip(self.manifest.inputs, arrays, strict=True)]
        results = [
            _rows_of(spec, result, ran_rows)
            for spec, result in zip(self.manifest.outputs, self._session_run(laid_out), strict=True)
        ]
        return [array[:n_rows] for array in results]

    def run_whole(self, arrays: list[Array]) -> list[Array]:
        """Run the arrays of one job as they are.

        Shape: each array as the codec unpacks it, in the manifest's order; so is each result. That is the model's own
        layout, or rows first for a model that was batched when it was added.

        Raises:
            Exception: whatever onnxruntime raises on these arrays.
            ValueError: an output that is not of the shape that the manifest says.
        """
        started = time.perf_counter()
        results = self._run_switched(arrays) if self.manifest.is_batched else self._session_run(arrays)
        spent_s = time.perf_counter() - started
        self._job_s = spent_s if self._job_s is None else self._job_s + (spent_s - self._job_s) * NEWEST_JOB_WEIGHT
        if not self.manifest.is_batched:
            for spec, result in zip(self.manifest.outputs, results, strict=True):
                _check_shape(spec, result)
        return results

    def _run_switched(self, arrays: list[Array]) -> list[Array]:
        """Run the rows of one job without other rows; each by itself where the batch axis is fixed: `run` pads it."""
        if self.manifest.batching.fixed_rows is None:
            return self.run(arrays)
        rows = [self.run([array[row : row + 1] for array in arrays]) for row in range(len(arrays[0]))]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def warm_up(self) -> None:
        """Run zeros (a row, a full batch, or one whole job), so that the first job does not wait for lazy set-up."""
        specs = self.manifest.inputs
        if not self.manifest.is_batched:
            self._session_run([whole_zeros(spec) for spec in specs])
            return
        for n_rows in (1, self.limits.max_rows):
            self.run([zeros(spec, n_rows) for spec in specs])

    def _session_run(self, arrays: list[Array]) -> list[Array]:
        feed = {spec.name: array for spec, array in zip(self.manifest.inputs, arrays, strict=True)}
        results = self._session.run(self._output_names, feed | self._fixed)
        return [
            arrays_from_maps(result, spec.map_keys) if spec.map_keys else np.asarray(result)
            for spec, result in zip(self.manifest.outputs, results, strict=True)
        ]


def load_model(folder: Path, manifest: Manifest, *, threads: int, accelerator: Accelerator = ON_CPU) -> Model:
    """Load one version's folder into a session, on an accelerator that is prepared.

    Raises:
        ModelRefusedError: a file is not the one the manifest names, or onnxruntime will not load it, or not there, or
            its tensors are not those of the manifest.
    """
    check_files(folder, manifest)
    path = folder / MODEL_FILE
    options = onnxruntime.SessionOptions()
    # Set here: onnxruntime would size its pool by the host's cores, not by the container's quota.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning pool takes a core from other processes between batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        # The fallback prints an error of the GPU and runs on the CPU, now or during a batch.
        session = onnxruntime.InferenceSession(
            str(path), options, providers=accelerator.providers, enable_fallback=False
        )
    except Exception as error:
        raise ModelRefusedError(f"{manifest.ref}: onnxruntime will not load {path}: {error}") from error
    if reason := accelerator.why_not_on(session) or why_not_as_declared(manifest, session):
        raise ModelRefusedError(f"{manifest.ref}: {reason}")
    return Model(manifest, session)


def _padded(array: Array, n_rows: int) -> Array:
    filler = np.repeat(array[-1:], n_rows - array.shape[0], axis=0)
    return np.concatenate([array, filler])


def _rows_of(spec: TensorSpec, array: Array, n_rows: int) -> Array:
    """Return the output of a batch with its rows first, one for each row that ran."""
    axis = spec.batch_axis or 0
    if array.ndim <= axis or array.shape[axis] != n_rows:
        raise ValueError(f"output {spec.name!r} has shape {array.shape} for {n_rows} rows")
    if array.ndim != len(spec.shape):
        raise ValueError(f"output {spec.name!r} has {array.ndim} axes, its manifest says {len(spec.shape)}")
    return rows_first(spec, array)


def _check_shape(spec: TensorSpec, array: Array) -> None:
    """Hold the output of a whole job to the manifest: files of tables rely on its fixed sizes."""
    if spec.has_any_rank:
        return
    if array.ndim != len(spec.shape) or any(
        want not in (None, have) for have, want in zip(array.shape, spec.shape, strict=True)
    ):
        raise ValueError(f"output {spec.name!r} has shape {array.shape}, its manifest says {list(spec.shape)}")


def zeros(spec: TensorSpec, n_rows: int, *, free_axis_size: int = WARM_UP_SIZE) -> Array:
    """Return rows of zeros, or of empty text, with every free inner axis at `free_axis_size`."""
    return _blank(spec, (n_rows, *(free_axis_size if size is None else size for size in spec.inner_shape)))


def whole_zeros(spec: TensorSpec, *, free_axis_size: int = WARM_UP_SIZE) -> Array:
    """Return one whole job's array of zeros, or of empty text; a batch axis has one row."""
    free = {axis: 1 if axis == spec.batch_axis else free_axis_size for axis in range(len(spec.shape))}
    return _blank(spec, tuple(free[axis] if size is None else size for axis, size in enumerate(spec.shape)))


def _blank(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    return np.full(shape, "", dtype=object) if spec.is_string else np.zeros(shape, spec.numpy_dtype)
