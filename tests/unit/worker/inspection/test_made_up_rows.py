import numpy as np
import pytest

from ferry.manifest import OIP_DATATYPES
from tests import onnx_models
from worker.inspection import signature
from worker.inspection.made_up_rows import feed_bytes, make_up_rows, take


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
def test_make_up_rows_when_made_twice_then_they_are_the_same_and_of_the_dtype(dtype: str) -> None:
    said = signature.read(onnx_models.identity(dtype, ("N", "W", 2)).graph)
    one, other = (make_up_rows(said, 3, 4)["x"] for _ in range(2))
    assert one.shape == (3, 4, 2)
    assert one.dtype == said.inputs[0].numpy_dtype
    assert np.array_equal(one, other)


def test_feed_bytes_when_rows_are_made_then_that_is_their_size() -> None:
    said = signature.read(onnx_models.two_inputs_two_outputs().graph)
    assert feed_bytes(said, 3, 4) == sum(array.nbytes for array in make_up_rows(said, 3, 4).values())


def test_take_when_an_index_repeats_then_so_does_the_row() -> None:
    taken = take({"x": np.arange(6).reshape(3, 2)}, [2, 2])
    assert taken["x"].tolist() == [[4, 5], [4, 5]]
