"""A graph of the corpus as Ferry serves it: published, its jobs in the shape of its manifest, and the right answers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from ferry.manifest import MODEL_FILE, Manifest, write_manifest
from ferry.tensors import Array, rows_first
from tests.corpus.models import Case
from worker.equality import largest_move
from worker.inspection.manifests import inspect
from worker.map_outputs import arrays_from_maps

# What may differ from `session.run` on the job alone, beside the move that the manifest records.
TOLERANCE = 1e-6
N_JOBS = 24


@dataclass(frozen=True)
class ServedCase:
    """A published graph. `jobs`: the inputs of each job by name, in the model's own layout."""

    case: Case
    manifest: Manifest
    folder: Path
    jobs: list[dict[str, Array]]

    def session(self) -> onnxruntime.InferenceSession:
        """Return a session of its own, on one thread as the worker's is."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        path = str(self.folder / MODEL_FILE)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def alone(self, session: onnxruntime.InferenceSession, job: dict[str, Array]) -> list[Array]:
        """Return what the model gives for one job alone."""
        results = session.run([spec.name for spec in self.manifest.outputs], job)
        return [
            arrays_from_maps(result, spec.map_keys) if spec.map_keys else np.asarray(result)
            for spec, result in zip(self.manifest.outputs, results, strict=True)
        ]

    def is_repeatable(self) -> bool:
        """Say whether `session.run` itself gives the same answer again; with random numbers, or with statistics that
        onnxruntime updates in place (batch normalization in training mode), it does not."""
        session = self.session()
        first = [self.alone(session, job) for job in self.jobs[:3]]
        again = [self.alone(session, job) for job in reversed(self.jobs[:3])][::-1]
        return all(largest_move(one, other) == 0 for one, other in zip(first, again, strict=True))

    def payload(self, job: dict[str, Array]) -> tuple[list[Array], int]:
        """Return a job's arrays as its codec packs them, and how many rows it counts as."""
        arrays = [job[spec.name] for spec in self.manifest.inputs]
        if not self.manifest.is_batched:
            return arrays, 1
        rows = [rows_first(spec, array) for spec, array in zip(self.manifest.inputs, arrays, strict=True)]
        return rows, len(rows[0])

    def differs(self, got: list[Array], right: list[Array]) -> bool:
        """Say whether an answer is not the one that the model gives alone."""
        return largest_move(right, got) > TOLERANCE + self.manifest.execution.max_move


def publish(case: Case, root: Path) -> ServedCase:
    """Inspect a graph as `ferry models add` does, and lay it into a repository."""
    folder = root / case.name / "1"
    folder.mkdir(parents=True)
    onnx.save(case.model, folder / MODEL_FILE)
    manifest = inspect(folder / MODEL_FILE, case.name, "1")
    write_manifest(manifest, folder)
    return ServedCase(case, manifest, folder, [case.make_job(seed) for seed in range(N_JOBS)])
