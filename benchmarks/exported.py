"""Networks with random weights, exported once in the environment of `make train`."""

import subprocess
from pathlib import Path

from benchmarks.places import ROOT, WORK
from ferry.manifest import MODEL_FILE

TRAINING_PYTHON = ROOT / ".venv-training" / "bin" / "python"
REPOSITORIES = WORK / "models"
EXPORT_TIMEOUT_S = 600


class NotExportedError(RuntimeError):
    """There is no environment to export in, or the export failed."""


def exported(name: str) -> tuple[Path, Path]:
    """Return a repository that holds this model alone, and the model's folder.

    Raises:
        NotExportedError: saying why.
    """
    repository = REPOSITORIES / name
    folder = repository / name / "1"
    if (folder / MODEL_FILE).exists():
        return repository, folder
    if not TRAINING_PYTHON.exists():
        raise NotExportedError("there is no .venv-training: run `make test-training` or `make train` first")
    command = [str(TRAINING_PYTHON), "-m", "benchmarks.export_model", name, str(repository)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=EXPORT_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise NotExportedError(f"the export of {name} failed: {done.stderr.strip()[-500:]}")
    return repository, folder
