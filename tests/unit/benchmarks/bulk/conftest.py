from pathlib import Path

import numpy as np
import pytest

from benchmarks.bulk.data import load_digits
from benchmarks.bulk.files import Files
from benchmarks.bulk.networks import Network, find


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files of the digits beside the model, cut to a few so that the tests are quick."""
    found = Files(tmp_path, None)
    found.images, found.labels = found.images[:50], found.labels[:50]
    return found


@pytest.fixture
def mlp() -> Network:
    return find("mlp")


@pytest.fixture
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(None)
