from ferry.manifest import Manifest
from tests import onnx_models


def rows_a_run(manifest: Manifest) -> tuple[int, int | None]:
    return manifest.batching.max_rows, manifest.batching.fixed_rows


def test_try_out_when_two_inputs_share_a_free_axis_then_they_are_tried_at_one_size(look) -> None:
    assert look(onnx_models.two_inputs_of_one_width()).notes == ()


def test_try_out_when_the_model_needs_wide_rows_then_wider_ones_are_tried(look) -> None:
    (note,) = look(onnx_models.wide_kernel()).notes
    assert note.startswith("free axes ran at size 32; at size 4 the model raised")


def test_try_out_when_made_up_values_raise_then_it_is_served_with_a_note(look) -> None:
    (note,) = look(onnx_models.raises_on_big_index(100)).notes
    assert note.startswith("could not be tried with made-up rows: ")
    assert "out of data bounds" in note
    assert look(onnx_models.raises_on_big_index()).notes == ()


def test_try_out_when_a_row_is_too_large_to_make_up_then_it_is_not_tried(look) -> None:
    (note,) = look(onnx_models.doubled(("N", 2**30))).notes
    assert "could not be tried with made-up rows: 3 rows would take more than 256 MiB" in note


def test_try_out_when_only_single_rows_run_then_rows_run_one_at_a_time(look) -> None:
    manifest = look(onnx_models.built_in_batch_of_one())
    assert rows_a_run(manifest) == (1, 1)
    assert "two in one run raised" in manifest.notes[0]


def test_try_out_when_an_output_has_no_batch_axis_then_it_is_refused(refuses) -> None:
    refuses(onnx_models.no_batch_output(), r"'y' has no batch axis: for 1 row .*\(3,\)")
