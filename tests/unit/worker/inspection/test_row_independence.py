import onnx
import pytest

from tests import onnx_models


@pytest.mark.parametrize("proto", [onnx_models.mixes_rows(), onnx_models.mixes_rows(1)], ids=["free", "fixed at 1"])
def test_find_dependence_when_rows_change_their_neighbours_then_rows_run_one_at_a_time(
    look, proto: onnx.ModelProto
) -> None:
    batching = look(proto).batching
    assert (batching.max_rows, batching.fixed_rows) == (1, 1)


def test_find_dependence_when_rows_change_their_neighbours_then_a_note_says_so(look) -> None:
    (note,) = look(onnx_models.mixes_rows()).notes
    assert note.startswith("a row's outcome depends on the rows beside it")


def test_find_dependence_when_the_batch_is_fixed_and_mixes_rows_then_it_is_refused(refuses) -> None:
    refuses(onnx_models.mixes_rows(4), "fixed at 4, so none can run alone")


def test_find_dependence_when_the_model_draws_random_numbers_then_it_keeps_its_batches(look) -> None:
    manifest = look(onnx_models.draws_random_numbers())
    assert (manifest.batching.max_rows, manifest.batching.fixed_rows) == (None, None)
    assert "random" in manifest.notes[0]
