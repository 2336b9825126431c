import os
from pathlib import Path

import onnx
import pytest

from ferry.errors import InvalidInputError, ModelRefusedError
from ferry.inspection_process import TrialOptions
from ferry.manifest import Evidence, ExecutionMode, Manifest
from tests import onnx_models
from worker.inspection.manifests import inspect


def specs(manifest: Manifest) -> list[tuple[str, tuple[int | None, ...], int | None]]:
    return [(spec.name, spec.shape, spec.batch_axis) for spec in (*manifest.inputs, *manifest.outputs)]


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


def test_inspect_when_the_batch_axis_is_fixed_then_the_batching_and_a_note_say_so(look) -> None:
    manifest = look(onnx_models.fixed_batch(4))
    assert (manifest.batching.max_rows, manifest.batching.fixed_rows) == (4, 4)
    assert specs(manifest) == [("x", (None, 3), 0), ("y", (None, 3), 0)]
    (note,) = manifest.notes
    assert "every run has 4 rows, short ones are padded; re-export with a free batch axis" in note


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        # One row, or a file's row, is a whole job where the first axis may have size 1.
        (onnx_models.mixes_rows(), [("x", (None, 3), 0), ("y", (None, 3), 0)]),
        (onnx_models.fixed_batch(1), [("x", (1, 3), 0), ("y", (1, 3), 0)]),
        (onnx_models.mixes_rows(4), [("x", (4, 3), None), ("y", (4, 3), None)]),
        (onnx_models.no_batch_output(), [("x", (None, 3), 0), ("y", (3,), None)]),
        (onnx_models.boxes(), [("x", (None, 3), 0), ("y", (None, 2), 0)]),
        (onnx_models.scalar_input(), [("x", (None, 3), 0), ("factor", (), None), ("y", (None, 3), None)]),
        (onnx_models.different_fixed_batches(), [("a", (2, 3), None), ("b", (4, 3), None), ("y", (6, 3), None)]),
        (onnx_models.doubled(None), [("x", (), None), ("y", (), None)]),
        (onnx_models.doubled(()), [("x", (), None), ("y", (), None)]),
    ],
)
def test_inspect_when_each_job_is_a_run_then_shapes_are_the_models_own(
    look, proto: onnx.ModelProto, expected: list[tuple[str, tuple[int | None, ...], int | None]]
) -> None:
    manifest = look(proto)
    assert manifest.execution.mode is ExecutionMode.WHOLE_JOB
    assert specs(manifest) == expected
    assert manifest.batching.fixed_rows is None


def test_inspect_when_the_number_of_axes_is_not_known_then_any_is_taken(look) -> None:
    manifest = look(onnx_models.doubled(None))
    assert [spec.has_any_rank for spec in (*manifest.inputs, *manifest.outputs)] == [True, True]


@pytest.mark.parametrize("symbol", ["N", "rows", "b2", None])
def test_inspect_when_rows_lie_along_different_axes_then_each_tensor_has_its_own(look, symbol: str | None) -> None:
    manifest = look(onnx_models.keeps_state(symbol), options=TrialOptions(fixed=("sr=16000",)))
    assert manifest.execution.mode is ExecutionMode.BATCHED, manifest.execution.reason
    assert specs(manifest) == [
        ("x", (None, None), 0),
        ("state", (2, None, 8), 1),
        ("y", (None, 1), 0),
        ("next", (2, None, 8), 1),
    ]
    (sr,) = manifest.fixed_inputs
    assert (sr.name, sr.dtype, sr.shape, sr.values) == ("sr", "int64", (), (16000,))


def test_inspect_when_a_scalar_is_not_set_then_each_job_is_a_run_and_the_remedy_is_named(look) -> None:
    manifest = look(onnx_models.keeps_state())
    assert manifest.execution.mode is ExecutionMode.WHOLE_JOB
    assert "--set sr=VALUE" in manifest.execution.reason
    assert [(spec.name, spec.shape) for spec in manifest.inputs] == [
        ("x", (None, None)),
        ("state", (2, None, 8)),
        ("sr", ()),
    ]


@pytest.mark.parametrize(
    "proto", [onnx_models.mixes_rows(), onnx_models.adds_by_place(), onnx_models.raises_on_big_index(100)]
)
def test_inspect_when_the_operator_overrides_then_batched_and_recorded(look, proto: onnx.ModelProto) -> None:
    manifest = look(proto, options=TrialOptions(is_rows_independent=True))
    assert (manifest.execution.mode, manifest.execution.evidence) == (ExecutionMode.BATCHED, Evidence.OVERRIDDEN)
    assert all(spec.batch_axis == 0 and spec.shape[0] is None for spec in (*manifest.inputs, *manifest.outputs))


def test_inspect_when_an_output_that_was_not_seen_declares_no_rows_then_an_override_is_refused(look) -> None:
    proto = onnx_models.raises_on_big_index(100)
    proto.graph.output[0].CopyFrom(onnx_models.value("y", shape=(7, 2)))
    with pytest.raises(InvalidInputError, match=r"output 'y' declares no batch axis.*--example"):
        look(proto, options=TrialOptions(is_rows_independent=True))


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
