"""What tests of the worker share: versions of real, tiny models in a model repository."""

import hashlib
from pathlib import Path

from ferry.manifest import MODEL_FILE, Manifest, write_manifest
from tests.manifests import manifest, spec

XYZ = {"inputs": (spec("x", "float32", 3),), "outputs": (spec("y", "float32", 3),)}


def put_model(root: Path, content: bytes, name: str = "toy", version: str = "1", **signature: object) -> Manifest:
    """Lay a version into a repository with the right digest; it takes x (rows, 3) and gives y (rows, 3)."""
    made = manifest(name, version, **(XYZ | signature))
    placed = made.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    folder = root / name / version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(content)
    write_manifest(placed, folder)
    return placed
