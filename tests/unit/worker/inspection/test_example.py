from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from ferry.errors import InvalidInputError
from ferry.inspection_process import TrialOptions
from ferry.manifest import ExecutionMode
from tests import onnx_models
from worker.inspection import signature
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.example import read_example, rows_of

TWO = signature.read(onnx_models.two_inputs_two_outputs().graph)
GOOD = {"a": np.ones((2, 2)), "b": np.zeros((2, 2), np.float32), "k": np.ones((2, 3), np.int32)}


def npz(tmp_path: Path, **arrays: object) -> Path:
    path = tmp_path / "jobs.npz"
    np.savez(path, **arrays)
    return path


def test_read_example_when_arrays_fit_then_they_have_the_dtypes_of_the_inputs(tmp_path: Path) -> None:
    example = read_example(npz(tmp_path, **GOOD, more=np.ones(1)), TWO)
    assert {name: array.dtype.name for name, array in example.items()} == {"a": "float32", "b": "float32", "k": "int64"}


def test_read_example_when_the_input_takes_text_then_str_and_bytes_do(tmp_path: Path) -> None:
    said = signature.read(onnx_models.string_input().graph)
    for text in (np.array([["größer"]]), np.array([["größer".encode()]])):
        assert read_example(npz(tmp_path, text=text), said)["text"].tolist() == [["größer"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"a": np.ones((2, 5))}, r"array 'a' is \(2, 5\), expected \(N, 2\)"),
        ({"a": np.ones(2)}, "array 'a' has 1 axes"),
        ({"k": np.ones((2, 3))}, "array 'k' is float64, the input takes int64"),
        ({"a": np.array([["x", "y"]])}, "array 'a' is <U1, the input takes float32"),
        ({"a": np.array([[{}, {}]], dtype=object)}, "cannot be read .* numpy.savez"),
    ],
)
def test_read_example_when_an_array_does_not_fit_then_it_is_named(
    tmp_path: Path, changes: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read_example(npz(tmp_path, **GOOD | changes), TWO)


def test_read_example_when_an_array_is_missing_then_all_that_it_needs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no array 'b'; it needs a, b, k"):
        read_example(npz(tmp_path, a=GOOD["a"]), TWO)


def test_read_example_when_all_arrays_are_empty_then_rows_are_asked_for(tmp_path: Path) -> None:
    empty = {name: array[:0] for name, array in GOOD.items()}
    with pytest.raises(InvalidInputError, match="all its arrays are empty; give at least one row"):
        read_example(npz(tmp_path, **empty), TWO)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_read_example_when_it_is_no_such_file_then_it_says_how_to_write_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"numpy\.savez"):
        read_example(path, TWO)


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)], ids=["encrypted", "unknown compression"])
def test_read_example_when_its_zip_cannot_be_unpacked_then_it_says_how_to_write_one(
    tmp_path: Path, offset: int, value: int
) -> None:
    path = npz(tmp_path, **GOOD)
    content = bytearray(path.read_bytes())
    # The entry of the first array in the ZIP's directory: its flags are at byte 8, its compression at byte 10.
    content[content.index(b"PK\x01\x02") + offset] = value
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"jobs.npz cannot be read .*numpy\.savez"):
        read_example(path, TWO)


def test_read_example_when_an_array_says_that_it_is_huge_then_the_example_is_at_fault(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, 2)}\n"
    with ZipFile(tmp_path / "jobs.npz", "w") as file:
        for name in GOOD:
            file.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InvalidInputError, match=r"jobs.npz cannot be read .*numpy\.savez"):
        read_example(tmp_path / "jobs.npz", TWO)


def test_read_example_when_it_is_one_array_of_numpy_save_then_it_says_how_to_write_one(tmp_path: Path) -> None:
    np.save(tmp_path / "jobs.npy", np.ones(3))
    with pytest.raises(InvalidInputError, match=r"numpy\.savez"):
        read_example(tmp_path / "jobs.npy", TWO)


def test_rows_of_when_numbers_of_rows_differ_then_there_are_none() -> None:
    example = {"a": np.ones((2, 3)), "b": np.ones((3, 2))}
    assert rows_of(example, BatchAxes({"a": 0, "b": 0})) is None
    rows = rows_of(example, BatchAxes({"a": 0, "b": 1}))
    assert rows is not None
    assert {array.shape for array in rows.values()} == {(2, 3)}


# --- what an inspection makes of it


def test_inspect_when_made_up_ids_do_not_run_then_an_example_shows_that_rows_are_independent(
    look, tmp_path: Path
) -> None:
    example = npz(tmp_path, index=np.array([-100, -95, -91]))
    execution = look(onnx_models.raises_on_big_index(100), options=TrialOptions(example=example)).execution
    assert execution.mode is ExecutionMode.BATCHED, execution.reason


def test_inspect_when_the_model_cannot_run_the_example_then_it_says_so(look, tmp_path: Path) -> None:
    example = npz(tmp_path, index=np.array([5]))
    with pytest.raises(InvalidInputError, match=r"--example: the model cannot run it: .*out of data bounds"):
        look(onnx_models.raises_on_big_index(100), options=TrialOptions(example=example))
