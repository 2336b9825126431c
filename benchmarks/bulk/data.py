"""The files of rows that every system is given. Knows no system.

Handwritten digits as float32 from 0 (paper) to 1 (ink), repeated until there are enough.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.places import SAMPLES

INPUT = "x"
INNER_SHAPE = (28, 28)
PIXEL_MAX = np.float32(255)
BLOCK_ROWS = 10_000  # made at once: 31 MB of float32
# Readers decode a row group from its start, so none should be much larger; and every script should have some.
MAX_GROUP_ROWS = 10_000
LEAST_GROUPS = 6
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def load_digits(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the training digits of Keras' mnist.npz, or without a path the samples beside the model.

    Shape: (N, 28, 28) uint8 and (N,) uint8.
    """
    images, labels = ("x_train", "y_train") if path else ("x", "y")
    with np.load(path or SAMPLES, allow_pickle=False) as file:
        return file[images], file[labels]


def scaled(images: np.ndarray) -> np.ndarray:
    """Return grey values as the models take them. Shape: (N, 28, 28) uint8 to float32, 0 to 1."""
    return images.astype(np.float32) / PIXEL_MAX


def tiled(images: np.ndarray, n_rows: int) -> Iterator[np.ndarray]:
    """Yield `n_rows` scaled rows in blocks, the images again and again."""
    for first in range(0, n_rows, BLOCK_ROWS):
        places = np.arange(first, min(first + BLOCK_ROWS, n_rows)) % len(images)
        yield scaled(images[places])


def write_npy(path: Path, images: np.ndarray, n_rows: int) -> None:
    """Write one array. Shape: (n_rows, 28, 28) float32."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, *INNER_SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in tiled(images, n_rows):
            file.write(block.data)


def write_parquet(path: Path, images: np.ndarray, n_rows: int) -> None:
    """Write one column `x` of 784 floats a row, with pyarrow's defaults but for the size of row groups."""
    width, group_rows = int(np.prod(INNER_SHAPE)), min(MAX_GROUP_ROWS, -(-n_rows // LEAST_GROUPS))
    schema = pa.schema([(INPUT, pa.list_(pa.float32(), width))])
    with pq.ParquetWriter(path, schema) as writer:
        for block in tiled(images, n_rows):
            column = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), width)
            writer.write_table(pa.table({INPUT: column}), row_group_size=group_rows)


def write_jsonl(path: Path, images: np.ndarray, n_rows: int, *, url: str) -> None:
    """Write a request for `url` per row in OpenAI's envelope, `row-1` and so on."""
    number = 0
    with path.open("wb") as file:
        for block in tiled(images, n_rows):
            for row in block:
                number += 1
                file.write(_request(number, row, url))


def _request(number: int, row: np.ndarray, url: str) -> bytes:
    tensor = {"name": INPUT, "shape": [1, *row.shape], "datatype": "FP32", "data": row.reshape(-1)}
    line = {"custom_id": row_id(number), "method": "POST", "url": url, "body": {"inputs": [tensor]}}
    return orjson.dumps(line, option=_OPTIONS)


def row_id(number: int) -> str:
    """Return the custom_id of a row, from 1."""
    return f"row-{number}"
