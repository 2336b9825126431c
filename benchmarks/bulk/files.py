"""The scratch folder and the files of rows in it, each made when it is first asked for."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.bulk.data import load_digits, scaled, write_jsonl, write_npy, write_parquet

URL = "/v2/models/{model}/infer"
GB = 10**9


class DiskTooSmallError(RuntimeError):
    """There is not enough room for the files; the message says how much is wanted."""


class Files:
    """Digits, their classes, and files of them."""

    def __init__(self, folder: Path, digits: Path | None) -> None:
        self.folder = folder
        self._digits = digits
        self.images, self.labels = load_digits(digits)

    def get(self, form: str, n_rows: int, *, model: str = "mnist") -> Path:
        """Return a file of rows: `npy`, `parquet` or `jsonl`; the lines of JSONL name a model.

        Effects: writes it, and waits until it is on the disk, so that writing it back slows nobody's turn.
        """
        named = f"-{model}" if form == "jsonl" else ""
        path = self.folder / f"rows-{n_rows}{named}.{form}"
        if not path.exists():
            if form == "jsonl":
                write_jsonl(path, self.images, n_rows, url=URL.format(model=model))
            else:
                {"npy": write_npy, "parquet": write_parquet}[form](path, self.images, n_rows)
            os.sync()
        return path

    def test_digits(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the test digits of Keras' file, or the samples. Shape: (N, 28, 28) uint8 and (N,) uint8."""
        if self._digits is None:
            return self.images, self.labels
        with np.load(self._digits, allow_pickle=False) as file:
            return file["x_test"], file["y_test"]

    def drop(self, path: Path) -> None:
        """Delete a file that is not needed any more."""
        path.unlink(missing_ok=True)

    def unique(self) -> np.ndarray:
        """Return the rows that are repeated. Shape: (N, 28, 28) float32."""
        return scaled(self.images)

    def fresh(self, name: str) -> Path:
        """Return an empty folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


@contextmanager
def scratch(root: Path, digits: Path | None, *, need_bytes: int) -> Iterator[Files]:
    """Give a folder for everything a run writes, and delete it afterwards.

    Raises:
        DiskTooSmallError: as named.
    """
    free = shutil.disk_usage(root).free
    if free < need_bytes:
        raise DiskTooSmallError(f"{root} has {free / GB:.1f} GB free, the run needs {need_bytes / GB:.1f}")
    with tempfile.TemporaryDirectory(prefix="ferry-bulk-", dir=root, ignore_cleanup_errors=True) as folder:
        yield Files(Path(folder), digits)
