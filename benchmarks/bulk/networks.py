"""The two models that bulk files are run through, and what they say of each digit."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bulk.answers import Truth
from benchmarks.bulk.files import Files
from benchmarks.bulk.onnx_session import open_session, run_rows
from benchmarks.exported import exported
from benchmarks.places import MODEL, MODELS
from ferry.manifest import MODEL_FILE


@dataclass(frozen=True, slots=True)
class Network:
    """A model by its name in Ferry, the repository it is served from, and its file."""

    label: str
    name: str
    repository: Path
    file: Path

    def truth(self, files: Files) -> Truth:
        """Return what the model says of every digit, by itself."""
        return Truth(run_rows(open_session(self.file), files.unique()), files.labels)


def find(label: str) -> Network:
    """Return `mlp`, the committed model, or `cnn`, with random weights, which cost what trained ones do.

    Raises:
        NotExportedError: there is no cnn and nothing to export it with.
    """
    if label == "mlp":
        return Network(label, "mnist", MODELS, MODEL)
    repository, folder = exported(label)
    return Network(label, label, repository, folder / MODEL_FILE)


def both(folder: Path) -> Path:
    """Return a repository with the two of them."""
    for network in (find("mlp"), find("cnn")):
        shutil.copytree(network.repository / network.name, folder / network.name)
    return folder
