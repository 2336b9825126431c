import hashlib
import zipfile

import numpy as np
import pytest

from ferry.errors import ConfigError
from training.data import KEYS, Split, load_dataset


def save(path, arrays, **changes):
    np.savez(path, **(arrays | changes))
    return path


def refusal_of(path):
    with pytest.raises(ConfigError) as caught:
        load_dataset(path)
    assert "give --data an npz with x_train, y_train, x_test, y_test" in caught.value.detail
    return caught.value.detail


def test_load_when_the_file_is_good_then_it_gives_rows_digest_and_source(data_path, arrays):
    data = load_dataset(data_path)

    np.testing.assert_array_equal(data.train.x, arrays["x_train"])
    np.testing.assert_array_equal(data.test.y, arrays["y_test"])
    assert data.source == str(data_path)
    assert data.digest == hashlib.sha256(b"".join(arrays[key].tobytes() for key in KEYS)).hexdigest()


def test_load_when_the_file_is_compressed_then_the_digest_is_the_same(tmp_path, data_path, arrays):
    np.savez_compressed(tmp_path / "small.npz", **arrays)

    assert load_dataset(tmp_path / "small.npz").digest == load_dataset(data_path).digest


def test_scaled_when_given_bytes_then_it_gives_float32_from_0_to_1():
    scaled = Split(np.array([[[0, 51, 255]]], np.uint8), np.zeros(1, np.uint8)).scaled()

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[[0.0, 0.2, 1.0]]])


def test_spread_when_rows_divide_unevenly_then_it_still_gives_as_many_as_asked_for():
    split = Split(np.zeros((7, 28, 28), np.uint8), np.zeros(7, np.uint8))

    assert split.spread(3).tolist() == [0, 2, 4]
    assert split.spread(0).tolist() == []
    with pytest.raises(ConfigError, match="--samples 8 is more than the 7 test rows"):
        split.spread(8)


def test_load_when_there_is_no_file_then_the_error_names_the_remedy(tmp_path):
    assert "no such file" in refusal_of(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x93NUMPY\x01\x00"], ids=["empty", "text", "npy"])
def test_load_when_the_file_is_no_npz_then_the_error_names_the_remedy(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)

    assert "not an npz" in refusal_of(tmp_path / "bad.npz")


def test_load_when_the_file_is_damaged_then_the_error_names_the_remedy(tmp_path, data_path):
    content = bytearray(data_path.read_bytes())
    content[5000] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(content)

    assert "cannot be read (Bad CRC-32" in refusal_of(tmp_path / "bad.npz")


def test_load_when_keys_are_missing_then_the_error_names_them(tmp_path, arrays):
    np.savez(tmp_path / "bad.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])

    assert "no x_test, y_test in it" in refusal_of(tmp_path / "bad.npz")


def test_load_when_an_array_is_pickled_then_it_is_not_opened(tmp_path, arrays):
    path = save(tmp_path / "bad.npz", arrays, y_test=np.array([print], object))

    assert "allow_pickle=False" in refusal_of(path)


def test_load_when_a_member_is_no_array_then_its_dtype_is_refused(tmp_path, data_path):
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for key in KEYS:
            archive.writestr(key, b"text")

    assert "x_train is |S4[], not uint8[rows, 28, 28]" in refusal_of(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((4, 28, 28), np.float32)}, "x_train is float32[4, 28, 28], not uint8[rows, 28, 28]"),
        ({"x_test": np.zeros((4, 784), np.uint8)}, "x_test is uint8[4, 784], not uint8[rows, 28, 28]"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, "x_test is uint8[0, 28, 28], not uint8[rows, 28, 28]"),
        ({"y_train": np.zeros((400, 1), np.uint8)}, "y_train is uint8[400, 1], not uint8[rows]"),
        ({"y_train": np.zeros((), np.uint8)}, "y_train is uint8[], not uint8[rows]"),
        ({"y_train": np.zeros(3, np.uint8)}, "x_train has 400 rows and y_train 3"),
        ({"y_test": np.full(120, 10, np.uint8)}, "y_test holds the label 10, not only 0 to 9"),
    ],
    ids=["dtype", "shape", "empty", "labels", "scalar", "rows", "range"],
)
def test_load_when_an_array_does_not_fit_then_the_error_says_which_and_how(tmp_path, arrays, changes, message):
    assert message in refusal_of(save(tmp_path / "bad.npz", arrays, **changes))
