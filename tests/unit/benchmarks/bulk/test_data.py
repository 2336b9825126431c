from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from benchmarks.bulk import data

Digits = tuple[np.ndarray, np.ndarray]


def test_load_digits_when_no_path_is_given_then_the_samples_beside_the_model_come(digits: Digits) -> None:
    images, labels = digits
    assert images.shape == (1000, 28, 28)
    assert images.dtype == np.uint8
    assert len(labels) == 1000


def test_load_digits_when_a_path_is_given_then_its_training_rows_come(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=np.full((3, 28, 28), 7, np.uint8), y_train=np.array([1, 2, 3], np.uint8))
    images, labels = data.load_digits(path)
    assert images.shape == (3, 28, 28)
    assert labels.tolist() == [1, 2, 3]


def test_write_npy_when_there_are_more_rows_than_images_then_they_repeat(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "rows.npy"
    data.write_npy(path, digits[0][:7], 25)
    rows = np.load(path)
    assert rows.shape == (25, 28, 28)
    assert rows.dtype == np.float32
    assert rows.max() <= 1.0
    np.testing.assert_array_equal(rows, data.scaled(digits[0][np.arange(25) % 7]))


def test_write_npy_when_rows_come_in_several_blocks_then_none_is_lost(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "BLOCK_ROWS", 4)
    data.write_npy(tmp_path / "rows.npy", digits[0][:7], 25)
    rows = np.load(tmp_path / "rows.npy")
    np.testing.assert_array_equal(rows, data.scaled(digits[0][np.arange(25) % 7]))


def test_write_parquet_when_read_back_then_rows_are_lists_in_several_groups(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "rows.parquet"
    data.write_parquet(path, digits[0], 60)
    file = pq.ParquetFile(path)
    assert file.num_row_groups == data.LEAST_GROUPS
    rows = file.read().column("x").combine_chunks().flatten().to_numpy().reshape(-1, 28, 28)
    np.testing.assert_array_equal(rows, data.scaled(digits[0][:60]))


def test_write_jsonl_when_read_back_then_each_line_is_a_request_of_one_row(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "rows.jsonl"
    data.write_jsonl(path, digits[0], 3, url="/v2/models/mnist/infer")
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["custom_id"] for line in lines] == ["row-1", "row-2", "row-3"]
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v2/models/mnist/infer")}
    tensor = lines[2]["body"]["inputs"][0]
    assert tensor["shape"] == [1, 28, 28]
    np.testing.assert_array_equal(np.float32(tensor["data"]), data.scaled(digits[0][2]).reshape(-1))
