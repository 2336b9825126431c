import os
from pathlib import Path

import pytest

from ferry.errors import InvalidInputError, ModelRefusedError
from tests import onnx_models
from worker.inspection.manifests import inspect


def test_inspect_when_inputs_and_outputs_are_several_then_each_is_described(look) -> None:
    manifest = look(onnx_models.two_inputs_two_outputs())
    assert [(spec.name, spec.dtype, spec.shape) for spec in (*manifest.inputs, *manifest.outputs)] == [
        ("a", "float32", (None, 2)),
        ("b", "float32", (None, 2)),
        ("k", "int64", (None, 3)),
        ("total", "float32", (None, 2)),
        ("rank", "int64", (None, 3)),
    ]
    assert (manifest.batching.max_rows, manifest.batching.fixed_rows) == (None, None)
    assert manifest.notes == ()
    assert manifest.versions["opset ai.onnx"] == str(onnx_models.OPSET)


@pytest.mark.parametrize(("n_rows", "words"), [(1, "one at a time"), (4, "every run has 4 rows")])
def test_inspect_when_the_batch_axis_is_fixed_then_the_batching_and_a_note_say_so(
    look, n_rows: int, words: str
) -> None:
    manifest = look(onnx_models.fixed_batch(n_rows))
    assert (manifest.batching.max_rows, manifest.batching.fixed_rows) == (n_rows, n_rows)
    assert [spec.shape for spec in (*manifest.inputs, *manifest.outputs)] == [(None, 3), (None, 3)]
    (note,) = manifest.notes
    assert words in note
    assert "re-export with a free batch axis" in note


def test_inspect_when_the_file_is_the_same_then_so_is_the_manifest(look) -> None:
    assert look(onnx_models.classes(5)) == look(onnx_models.classes(5))


def test_inspect_when_labels_fit_then_they_are_recorded(look) -> None:
    manifest = look(onnx_models.classes(2), ("no", "yes"))
    assert (manifest.labels, manifest.labels_of) == (("no", "yes"), "scores")


def test_inspect_when_labels_do_not_fit_then_both_numbers_are_named(look) -> None:
    with pytest.raises(InvalidInputError, match=r"2 labels, and no output .* last axis of output 'scores' has 3"):
        look(onnx_models.classes(3), ("no", "yes"))


@pytest.mark.parametrize(("name", "version"), [("../m", "1"), ("m", "v1")])
def test_inspect_when_the_name_is_impossible_then_it_is_invalid_input(tmp_path: Path, name: str, version: str) -> None:
    path = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    with pytest.raises(InvalidInputError):
        inspect(path, name, version)


def test_inspect_when_the_file_is_empty_then_it_says_so(refuses) -> None:
    refuses(b"", "empty; export")


def test_inspect_when_text_in_the_file_is_no_utf8_then_it_is_damaged(refuses) -> None:
    whole = onnx_models.doubled(("batch", "width")).SerializeToString()
    refuses(whole.replace(b"width", b"\xff\xfe\xfd\xfc\xfb"), "damaged|cannot load")


def test_inspect_when_the_file_is_above_the_limit_then_its_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    os.truncate(path, 3 * 2**30)  # a hole: takes no space
    with pytest.raises(ModelRefusedError, match=r"3\.0 GiB, the limit is 2 GiB; keep its weights in another file"):
        inspect(path, "m", "1")


def test_inspect_when_there_is_no_file_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match="there is no file"):
        inspect(tmp_path / "model.onnx", "m", "1")
