"""Rows to try a model with: real ones beside it, else made up; always such as the model's own checks take."""

from pathlib import Path

import numpy as np
import pytest

from ferry.examples import MOST_ELEMENTS, examples_of
from ferry.json_tensors import read_inputs
from ferry.manifest import ExecutionMode, Manifest, TensorSpec
from tests.manifests import manifest, spec


def put_samples(folder: Path, name: str = "a.npz", **arrays: np.ndarray) -> Path:
    (folder / "samples").mkdir(exist_ok=True)
    np.savez(folder / "samples" / name, **arrays)
    return folder


@pytest.mark.parametrize(
    "inputs",
    [
        (spec("x", "float32", 3),),
        (spec("x", "float64", 3, range=(-2.5, -2.25)),),
        (spec("x", "float16", None, 2),),
        (spec("x", "uint8", 4), spec("k", "int64", range=(3, 3)), spec("j", "int32", range=(0.5, 9))),
        (spec("x", "bool", 2), spec("text", "string", 1)),
        (spec("x", "float32"),),
    ],
    ids=lambda inputs: "-".join(each.dtype for each in inputs),
)
def test_examples_when_there_are_no_samples_then_made_up_such_as_the_model_takes(
    inputs: tuple[TensorSpec, ...],
) -> None:
    model = manifest(inputs=inputs)
    made = examples_of(model, None, 5, free_axis_size=7)
    assert (made.count, made.is_made_up, made.truths) == (5, True, None)
    value = {each.name: array.tolist() for each, array in zip(inputs, made.arrays, strict=True)}
    assert read_inputs(model, value).n_rows == 5
    again = examples_of(model, None, 5, free_axis_size=7)
    assert all((one == other).all() for one, other in zip(made.arrays, again.arrays, strict=True))


def test_examples_when_rows_are_large_then_fewer() -> None:
    made = examples_of(manifest(inputs=(spec("x", "float32", MOST_ELEMENTS // 4),)), None, 100)
    assert made.count == 4
    assert examples_of(manifest(inputs=(spec("x", "float32", 2 * MOST_ELEMENTS),)), None, 100).count == 1


def test_examples_when_samples_lie_beside_then_those_with_their_truths(tmp_path: Path) -> None:
    model = labelled(spec("x", "float32", 2, range=(0, 1)))
    images = np.array([[0, 255], [51, 102], [1, 2]], np.uint8)
    put_samples(tmp_path, x=images, y=np.array([1, 0, 9], np.uint8))
    made = examples_of(model, tmp_path, 10)
    assert (made.count, made.is_made_up, made.truths) == (3, False, ["yes", "no", "9"])
    assert made.arrays[0].dtype == np.float32
    assert np.allclose(made.arrays[0], images / 255)
    assert examples_of(model, tmp_path, 1).truths == ["yes"]


def labelled(*inputs: TensorSpec) -> Manifest:
    return Manifest(**manifest(inputs=inputs).model_dump() | {"labels": ("no", "yes")})


def test_examples_when_samples_are_text_or_without_truths_then_as_they_are(tmp_path: Path) -> None:
    put_samples(tmp_path, text=np.array([["größer"], ["b"]]))
    made = examples_of(manifest(inputs=(spec("text", "string", 1),)), tmp_path, 2)
    assert made.arrays[0].tolist() == [["größer"], ["b"]]
    assert made.truths is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.zeros((2, 3))}, {"x": np.zeros((2, 4))}, {"x": np.zeros((0, 3))}, {"x": np.zeros(3)},
        {"x": np.array(["a", "b"])}, {"x": np.array([{}], dtype=object)}, {"x": np.float64(1)},
    ],
)  # fmt: skip
def test_examples_when_samples_do_not_fit_then_made_up(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    put_samples(tmp_path, **arrays)
    assert examples_of(manifest(inputs=(spec("x", "float32", 3),)), tmp_path, 2).is_made_up


def test_examples_when_a_file_is_broken_then_the_next_one(tmp_path: Path) -> None:
    put_samples(tmp_path, "b.npz", x=np.ones((1, 3)))
    (tmp_path / "samples" / "a.npz").write_bytes(b"no archive")
    (tmp_path / "samples" / "aa.npz").write_bytes((tmp_path / "samples" / "b.npz").read_bytes()[:60])
    made = examples_of(manifest(inputs=(spec("x", "float32", 3),)), tmp_path, 2)
    assert (made.is_made_up, made.count) == (False, 1)


BOXES = (
    TensorSpec(name="boxes", dtype="float32", shape=(None, 4), batch_axis=None),
    TensorSpec(name="threshold", dtype="float32", batch_axis=None),
    TensorSpec(name="any", dtype="int64", batch_axis=None, has_any_rank=True),
)
STATE = TensorSpec(name="h", dtype="float32", shape=(2, None, 4), batch_axis=1)


def test_examples_when_the_model_has_no_rows_then_whole_tensors_that_it_takes() -> None:
    model = manifest(inputs=BOXES, mode=ExecutionMode.WHOLE_JOB)
    made = examples_of(model, None, 3, free_axis_size=5)
    assert [array.shape for array in made.arrays] == [(3, 5, 4), (3,), (3, 5)]
    for number in range(made.count):
        value = {each.name: array[number].tolist() for each, array in zip(BOXES, made.arrays, strict=True)}
        assert read_inputs(model, value).arrays[0].shape == (5, 4)


def test_examples_when_one_input_has_no_rows_then_those_that_have_get_one() -> None:
    made = examples_of(manifest(inputs=(STATE, BOXES[1]), mode=ExecutionMode.WHOLE_JOB), None, 3, free_axis_size=5)
    assert [array.shape for array in made.arrays] == [(3, 2, 1, 4), (3,)]


@pytest.mark.parametrize("mode", ExecutionMode)
def test_examples_when_rows_lie_along_another_axis_then_rows_without_it(mode: ExecutionMode, tmp_path: Path) -> None:
    model = manifest(inputs=(STATE,), mode=mode)
    assert examples_of(model, None, 3).arrays[0].shape == (3, 2, 4)
    put_samples(tmp_path, h=np.ones((2, 2, 4)))
    made = examples_of(model, tmp_path, 3)
    assert (made.is_made_up, made.arrays[0].shape) == (False, (2, 2, 4))


def test_examples_when_samples_of_a_model_without_rows_lie_beside_then_one_job_each(tmp_path: Path) -> None:
    put_samples(tmp_path, boxes=np.ones((2, 7, 4)), threshold=np.array([0.5, 0.6]), any=np.ones((2, 1), np.int64))
    made = examples_of(manifest(inputs=BOXES, mode=ExecutionMode.WHOLE_JOB), tmp_path, 5)
    assert (made.is_made_up, made.count, made.arrays[0].shape) == (False, 2, (2, 7, 4))
