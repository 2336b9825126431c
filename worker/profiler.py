"""Gives each loaded model its profile: kept from before, or measured now. Joins measurement, choice and files."""

import hashlib
import logging
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime

from ferry.cores import available_cores
from ferry.manifest import DEFAULT_MAX_ROWS, Manifest
from ferry.profile import Profile
from worker.models import Model
from worker.profile_files import ProfileFiles
from worker.profiling import Budget, choose, measure
from worker.providers import ON_CPU, Accelerator

# Raised whenever the measurement or the choice changes, so that older files are not believed.
PROFILE_FORMAT = 2
CPU_INFO = Path("/proc/cpuinfo")

logger = logging.getLogger(__name__)


class Profiler:
    """Profiles models of this process's machine, once per model file, kind of machine and budget."""

    def __init__(
        self, files: ProfileFiles, *, machine: str, budget: Budget, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._files = files
        self._machine = machine
        self._budget = budget
        self._clock = clock

    def __call__(self, model: Model) -> Profile | None:
        """Return a model's profile; None, and said, where it raised on made-up rows."""
        try:
            return self._files.find_or_make(self._file_name(model.manifest), lambda: self._profile(model))
        except Exception as error:  # noqa: BLE001  a model may dislike zeros and still be right about real rows
            said = model.manifest.batching.max_rows or DEFAULT_MAX_ROWS
            reason = str(error).partition("\n")[0]
            logger.warning("%s cannot be measured, so %d rows a run it is: %s", model.manifest.ref, said, reason)
            return None

    def _file_name(self, manifest: Manifest) -> str:
        """Return a name that differs wherever the profile might: file, its use, machine, budget."""
        inputs = [(spec.dtype, spec.shape, spec.batch_axis) for spec in manifest.inputs]
        fixed = [(each.name, each.shape, each.values) for each in manifest.fixed_inputs]
        use = (manifest.is_batched, manifest.batching.fixed_rows, inputs, fixed)
        kind = repr((PROFILE_FORMAT, self._machine, self._budget, *use))
        return f"{manifest.sha256}-{hashlib.sha256(kind.encode()).hexdigest()[:12]}.json"

    def _profile(self, model: Model) -> Profile:
        curve = measure(model, self._budget, clock=self._clock)
        is_fixed = model.manifest.batching.fixed_rows is not None
        choice = choose(curve.seconds, self._budget, is_fixed=is_fixed)
        profile = Profile(
            sizes=tuple(curve.seconds),
            microseconds=tuple(max(round(seconds * 1e6, 1), 0.1) for seconds in curve.seconds.values()),
            a_us=round(choice.a_s * 1e6, 2),
            b_us=round(choice.b_s * 1e6, 3),
            max_rows=choice.max_rows,
            max_wait_ms=choice.max_wait_ms,
            free_axis_size=curve.free_axis_size,
            machine=self._machine,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        logger.info(
            "measured %s: %g µs + %g µs a row, %d rows a run, %g ms wait",
            model.manifest.ref, profile.a_us, profile.b_us, profile.max_rows, profile.max_wait_ms,
        )  # fmt: skip
        return profile


def describe_machine(threads: int, accelerator: Accelerator = ON_CPU) -> str:
    """Return what decides how fast a model runs here: processor, cores, onnxruntime, its threads and its provider."""
    said = f"{_processor()}, cores: {available_cores()}, onnxruntime {onnxruntime.__version__}, threads: {threads}"
    # Nothing is said of the CPU, so that what older releases measured is still believed.
    return f"{said}, {accelerator.kind}" if accelerator.kind else said


def _processor() -> str:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
