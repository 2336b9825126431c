import numpy as np
import pytest

from worker.map_outputs import arrays_from_maps, keys_of


@pytest.mark.parametrize("keys", [(0, 1, 2), ("a", "b", "c")])
def test_maps_when_rows_order_their_keys_differently_then_one_column_for_each_key(keys: tuple[int | str, ...]) -> None:
    first = dict(zip(keys, (0.5, 0.25, 0.25), strict=True))
    second = dict(reversed(list(zip(keys, (0.0, 0.0, 1.0), strict=True))))
    assert keys_of([first, second]) == keys
    array = arrays_from_maps([first, second], keys)
    assert array.dtype == np.float32
    assert array.tolist() == [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]


def test_maps_when_there_is_no_row_then_no_keys_and_an_empty_tensor() -> None:
    assert keys_of([]) == ()
    assert arrays_from_maps([], ("a", "b")).shape == (0, 2)


def test_maps_when_a_row_has_other_keys_then_an_error_names_the_row() -> None:
    with pytest.raises(ValueError, match="row 1 has scores for"):
        arrays_from_maps([{"a": 1.0}, {"b": 1.0}], ("a",))
