"""Jobs of the exports: one row each, of several magnitudes. Knows arrays and files alone."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

N_JOBS = 24
_SCALES = (1.0, 20.0, 0.05, 5.0)

# Returns the inputs of job n by name; each shape is (1, *inner).
MakeJob = Callable[[int], Mapping[str, NDArray[np.generic]]]


def floats(name: str, *inner: int) -> MakeJob:
    """Return jobs of normal float32 numbers."""
    return lambda n: {name: np.random.default_rng(n).normal(size=(1, *inner)).astype(np.float32) * _SCALES[n % 4]}


def ids(name: str, n_ids: int, *inner: int) -> MakeJob:
    """Return jobs of int64 numbers below `n_ids`."""
    return lambda n: {name: np.random.default_rng(n).integers(0, n_ids, (1, *inner))}


def joined(*makers: MakeJob) -> MakeJob:
    """Return jobs with the inputs of all makers."""
    return lambda n: {name: array for make in makers for name, array in make(n).items()}


def write_jobs(path: Path, make: MakeJob) -> None:
    """Write the jobs of a model into the file beside it."""
    arrays = {f"{name}/{n}": array for n in range(N_JOBS) for name, array in make(n).items()}
    np.savez(path.with_suffix(".npz"), **arrays)
    sys.stdout.write(f"{path}\n")
    sys.stdout.flush()


def folder_of_arguments() -> Path:
    """Return the folder that the command line names, made where it is missing."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m {__package__}.NAME FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
