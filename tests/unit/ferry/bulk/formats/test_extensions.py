"""Extension types of Arrow as inputs: tensors in their logical order, and types whose storage is not their value."""

import uuid

import numpy as np
import pyarrow as pa
import pytest

from ferry.bulk.formats.joined_json import json_values
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, index, rules, whole
from tests.unit.ferry.bulk.formats.test_arrow_tables import KINDS, written

SHAPED = rules(manifest(inputs=(spec("x", "float32", 2, 3),)))
IDS = [uuid.UUID(int=n) for n in range(3)]


def tensors(values: list, shape: list[int], permutation: list[int] | None = None) -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.float32(), shape, permutation=permutation)
    return pa.ExtensionArray.from_storage(kind, pa.array(values, pa.list_(pa.float32(), int(np.prod(shape)))))


def extended(kind, values: list) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def of_one(dtype: str, *shape: int | None, **more):
    return rules(manifest(inputs=(spec("x", dtype, *shape, **more),)))


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_when_they_are_permuted_then_their_logical_order(kind: str) -> None:
    rows = [[10 * row + each for each in range(6)] for row in range(9)]
    held = tensors(rows, [3, 2], [1, 0])
    found = whole(chunks_of(*written(kind, pa.table({"x": held}), 5), SHAPED))
    assert found.tolist() == held.to_numpy_ndarray().tolist()
    assert found[0].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("permutation", [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 1, 0]])
def test_tensors_when_there_are_three_axes_then_as_numpy_has_them(permutation: list[int]) -> None:
    held = tensors(np.arange(48).reshape(2, 24).tolist(), [2, 3, 4], permutation)
    wanted = held.to_numpy_ndarray()
    found = whole(chunks_of(*written("file", pa.table({"x": held})), of_one("float32", *wanted.shape[1:])))
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("permutation", [[1, 2, 0], [2, 0, 1]])
def test_tensors_when_pyarrow_itself_reads_a_permutation_in_two_ways_then_the_file_is_refused(permutation) -> None:
    name, data = written(
        "file", pa.table({"x": tensors(np.arange(48).reshape(2, 24).tolist(), [2, 3, 4], permutation)})
    )
    for shape in ([3, 4, 2], [4, 2, 3], [2, 3, 4]):
        (fault,) = index(name, data, of_one("float32", *shape)).faults
        assert "in two ways" in fault.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "permutation"), [([3, 2], None), ([3, 2], [0, 1]), ([2, 3], [1, 0])])
def test_tensors_when_their_shape_does_not_fit_then_the_file_is_refused(kind, shape, permutation) -> None:
    name, data = written(kind, pa.table({"x": tensors([[1, 2, 3, 4, 5, 6]], shape, permutation)}))
    (fault,) = index(name, data, SHAPED).faults
    assert "a row of shape (3, 2), expected (2, 3)" in fault.message


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_when_rows_or_elements_are_null_then_those_rows_fail_alone(kind: str) -> None:
    rows = [None, [1, 2, 3, 4, 5, 6], [1, None, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    held = tensors([[0] * 6, *rows], [3, 2], [1, 0]).slice(1)
    chunks = chunks_of(*written(kind, pa.table({"x": held}), 9), SHAPED)
    assert whole(chunks).tolist() == [[[1, 3, 5], [2, 4, 6]], [[7, 9, 11], [8, 10, 12]]]
    assert [fault.position for fault in faults_of(chunks)] == [0, 2]


def test_tensors_when_they_are_flat_then_they_fit_any_shape_of_as_many_elements() -> None:
    held = tensors([[1, 2, 3, 4, 5, 6]], [6])
    assert whole(chunks_of(*written("file", pa.table({"x": held})), SHAPED)).tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_tensors_when_an_error_line_holds_them_then_their_logical_order() -> None:
    assert json_values(tensors([[1, 2, 3, 4, 5, 6], None], [3, 2], [1, 0])) == [[[1, 3, 5], [2, 4, 6]], None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "dtype", "wanted"),
    [
        (extended(pa.bool8(), [2, 0, -1]), "bool", [True, False, True]),
        (extended(pa.bool8(), [2, 0, -1]), "float32", [1.0, 0.0, 1.0]),
        (extended(pa.uuid(), [each.bytes for each in IDS]), "string", [str(each) for each in IDS]),
        (extended(pa.json_(), ["[1]", '"a"', "null"]), "string", ["[1]", '"a"', "null"]),
        (extended(pa.json_(pa.large_string()), ["[1]", "2", "null"]), "string", ["[1]", "2", "null"]),
    ],
)
def test_extension_when_it_has_values_that_fit_then_those_and_not_its_storage(kind, column, dtype, wanted) -> None:
    assert whole(chunks_of(*written(kind, pa.table({"x": column})), of_one(dtype))).tolist() == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_extension_when_it_is_inside_of_lists_then_its_values(kind: str) -> None:
    lists = pa.ListArray.from_arrays([0, 2, 4], extended(pa.bool8(), [2, 0, 1, 1]))
    assert whole(chunks_of(*written(kind, pa.table({"x": lists})), of_one("bool", 2))).tolist() == [
        [True, False],
        [True, True],
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (extended(pa.bool8(), [1]), "int8"),
        (extended(pa.uuid(), [IDS[0].bytes]), "float32"),
        (extended(pa.json_(), ["1"]), "float32"),
        (extended(pa.opaque(pa.float32(), "price", "shop"), [1]), "float32"),
        (pa.ListArray.from_arrays([0, 1], extended(pa.opaque(pa.string(), "a", "b"), ["c"])), "string"),
    ],
)
def test_extension_when_its_values_cannot_be_the_input_then_the_file_is_refused(kind, column, dtype) -> None:
    (fault,) = index(*written(kind, pa.table({"x": column})), of_one(dtype)).faults
    assert (fault.code, "column 'x' holds" in fault.message) == ("wrong_columns", True)


@pytest.mark.parametrize("kind", KINDS)
def test_extension_when_it_is_null_then_a_missing_value(kind: str) -> None:
    column = extended(pa.bool8(), [None, 3])
    assert (
        whole(chunks_of(*written(kind, pa.table({"x": column})), of_one("bool", missing=True))).tolist() == [True] * 2
    )
