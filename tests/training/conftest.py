"""Small synthetic digits, and one published model of them that the tests share."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ferry.manifest import Manifest, read_manifest
from training import train

# Tests import TensorFlow themselves, so the command line's own setting would come too late.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

N_TRAIN, N_TEST, N_SAMPLES = 400, 120, 12


def make_arrays(n_rows, seed):
    """Digits a network learns in one epoch: the digit decides which three rows of the image are white."""
    random = np.random.default_rng(seed)
    y = (np.arange(n_rows) % 10).astype(np.uint8)
    x = random.integers(0, 64, (n_rows, 28, 28), dtype=np.uint8)
    for row, digit in enumerate(y):
        x[row, digit * 2 + 4 : digit * 2 + 7] = 255
    return x, y


@dataclass(frozen=True)
class Published:
    folder: Path
    workdir: Path
    manifest: Manifest
    x_test: np.ndarray
    y_test: np.ndarray


@pytest.fixture(scope="session")
def arrays():
    (x_train, y_train), (x_test, y_test) = make_arrays(N_TRAIN, 1), make_arrays(N_TEST, 2)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@pytest.fixture(scope="session")
def data_path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def run_cli(data_path):
    """Train on the small digits for one epoch with these options more; return the exit code."""

    def run(home, *more):
        places = ["--models-dir", str(home / "models"), "--workdir", str(home / "work")]
        return train.main(["--data", str(data_path), "--epochs", "1", "--batch-size", "8", *places, *more])

    return run


@pytest.fixture(scope="session", params=["mlp", "cnn"])
def published(request, run_cli, arrays, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    assert run_cli(home, "--network", request.param, "--samples", str(N_SAMPLES)) == 0
    folder = home / "models" / {"mlp": "mnist", "cnn": "mnist-cnn"}[request.param] / "1"
    return Published(folder, home / "work", read_manifest(folder), arrays["x_test"], arrays["y_test"])
