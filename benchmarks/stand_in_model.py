"""The model repository of the stand-in device: what clients and workers must agree on. Loads nothing."""

from pathlib import Path

from ferry.manifest import MODEL_FILE, Execution, ExecutionMode, Manifest, TensorSpec, sha256_of, write_manifest

NAME, VERSION = "stand-in", "1"
MAX_ROWS = 8


def write_repository(root: Path) -> Manifest:
    """Write a repository with the stand-in: one float a row, batches of MAX_ROWS."""
    folder = root / NAME / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(b"stands in for a device")
    manifest = Manifest(
        name=NAME,
        version=VERSION,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 1)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 1)),),
        execution=Execution(mode=ExecutionMode.BATCHED, reason="every layer works on one row alone"),
        batching={"max_rows": MAX_ROWS},
        sha256=sha256_of(folder / MODEL_FILE),
    )
    write_manifest(manifest, folder)
    return manifest
