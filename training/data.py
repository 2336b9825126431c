"""Load MNIST, hold it to what training expects, and name its content by a digest.

Owns the data's layout: Keras' own, `x_train, y_train, x_test, y_test` in one npz. Must not know networks or ONNX.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferry.errors import ConfigError
from training.quiet import import_quietly
from training.signature import IMAGE_SIDE, LABELS, PIXEL_MAX

KEYS = ("x_train", "y_train", "x_test", "y_test")
REMEDY = f"give --data an npz with {', '.join(KEYS)} (Keras' mnist.npz)"


@dataclass(frozen=True, slots=True)
class Split:
    """Rows with their labels: `x` (N, 28, 28) uint8 grey values, `y` (N,) uint8 digits."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]

    def scaled(self) -> NDArray[np.float32]:
        """Return the rows as the networks take them: (N, 28, 28) float32 in 0..1."""
        return self.x.astype(np.float32) / np.float32(PIXEL_MAX)

    def spread(self, n_rows: int) -> NDArray[np.intp]:
        """Return the indices of `n_rows` rows at even distance: every tenth one for 1,000 of 10,000.

        Raises:
            ConfigError: when there are fewer rows than that.
        """
        if n_rows > len(self.y):
            raise ConfigError(f"--samples {n_rows} is more than the {len(self.y)} test rows; ask for fewer")
        return np.arange(n_rows) * (len(self.y) // max(n_rows, 1))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Both splits, where they came from, and the sha256 of their bytes in the order of `KEYS`."""

    train: Split
    test: Split
    source: str
    digest: str


def load_dataset(path: Path | None) -> Dataset:
    """Load MNIST from `path`, or through Keras where none is given.

    Raises:
        ConfigError: when it cannot be had or is not MNIST's layout; the message names the remedy.
    """
    source = "keras.datasets.mnist" if path is None else str(path)
    arrays = _download() if path is None else _read(path)
    for key in KEYS:
        _check(source, key, arrays[key])
    for split in ("train", "test"):
        n_images, n_labels = len(arrays[f"x_{split}"]), len(arrays[f"y_{split}"])
        if n_images != n_labels:
            raise ConfigError(f"{source}: x_{split} has {n_images} rows and y_{split} {n_labels}; {REMEDY}")
    digest = hashlib.sha256()
    for key in KEYS:
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    train, test = (Split(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test"))
    return Dataset(train, test, source, digest.hexdigest())


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise ConfigError(f"--data {path}: no such file; {REMEDY}, or leave --data out and let Keras download it")
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"--data {path}: not an npz; {REMEDY}")
    try:
        # Pickled arrays run code of the file's author: never.
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in KEYS if key not in archive]
            if missing:
                raise ConfigError(f"--data {path}: no {', '.join(missing)} in it; {REMEDY}")
            # A member that is no array comes as bytes; as an array of text its dtype is refused.
            return {key: np.asarray(archive[key]) for key in KEYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"--data {path}: cannot be read ({error}); {REMEDY}") from error


def _download() -> dict[str, NDArray[Any]]:
    mnist = import_quietly("keras.datasets.mnist")
    try:
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except Exception as error:  # Keras raises bare Exception where the download fails
        raise ConfigError(f"Keras could not load MNIST ({error}); {REMEDY}") from error
    return dict(zip(KEYS, (x_train, y_train, x_test, y_test), strict=True))


def _check(source: str, key: str, array: NDArray[Any]) -> None:
    """Hold one array to its dtype, shape and values."""
    inner = (IMAGE_SIDE, IMAGE_SIDE) if key.startswith("x_") else ()
    if array.dtype != np.uint8 or array.ndim == 0 or array.shape[1:] != inner or len(array) == 0:
        wanted = ", ".join(["rows", *map(str, inner)])
        raise ConfigError(f"{source}: {key} is {array.dtype}{list(array.shape)}, not uint8[{wanted}]; {REMEDY}")
    if not inner and array.max() >= len(LABELS):
        raise ConfigError(f"{source}: {key} holds the label {array.max()}, not only 0 to {len(LABELS) - 1}; {REMEDY}")
