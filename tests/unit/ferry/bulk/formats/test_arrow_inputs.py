"""Inputs of Parquet and Arrow in unusual types: columns of nothing but nulls, and views of lists and of text."""

import numpy as np
import pyarrow as pa
import pytest

from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, rules, whole
from tests.unit.ferry.bulk.formats.test_arrow_tables import KINDS, written

VIEWS = [pa.ListViewArray, pa.LargeListViewArray]
TWO = rules(manifest(inputs=(spec("x", "float32", 2),)))


def of_one(dtype: str, *shape: int | None, **more):
    return rules(manifest(inputs=(spec("x", dtype, *shape, **more),)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "value"), [("string", "none"), ("float32", 5.0), ("int64", 7), ("uint8", 3), ("bool", True)]
)
def test_nulls_when_a_column_has_no_other_type_then_each_row_is_missing(kind: str, dtype: str, value) -> None:
    name, data = written(kind, pa.table({"x": pa.nulls(5)}))
    refused = faults_of(chunks_of(name, data, of_one(dtype)))
    assert len(refused) == 5
    assert all("missing value" in fault.message for fault in refused)
    assert whole(chunks_of(name, data, of_one(dtype, missing=value))).tolist() == [value] * 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2**63 - 1, 2**53 + 1])
def test_nulls_when_another_column_has_large_integers_then_those_are_exact(kind: str, n: int) -> None:
    name, data = written(kind, pa.table({"x_0": pa.nulls(2), "x_1": pa.array([n, -n])}))
    assert whole(chunks_of(name, data, of_one("int64", 2, missing=4))).tolist() == [[4, n], [4, -n]]


@pytest.mark.parametrize("kind", KINDS)
def test_nulls_when_lists_hold_nothing_else_then_missing_elements(kind: str) -> None:
    name, data = written(kind, pa.table({"x": [[None, None]] * 3}))
    assert len(faults_of(chunks_of(name, data, TWO))) == 3
    filled = whole(chunks_of(name, data, of_one("float32", 2, missing="nan")))
    assert (filled.shape, np.isnan(filled).all()) == ((3, 2), True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", VIEWS)
def test_views_when_lists_are_out_of_order_then_values_exact(kind: str, view) -> None:
    lists = view.from_arrays([4, 0, 2, 1, 0], [2, 2, 2, 2, 1], pa.array(range(6), pa.float64()))
    chunks = chunks_of(*written(kind, pa.table({"x": lists})), TWO)
    assert whole(chunks).tolist() == [[4, 5], [0, 1], [2, 3], [1, 2]]
    assert [fault.message for fault in faults_of(chunks)] == ["a row of shape (1,), expected (2)"]


@pytest.mark.parametrize("kind", KINDS)
def test_views_when_some_are_null_and_they_nest_then_values_exact(kind: str) -> None:
    lists = pa.array([[[1, 2]], None, [[3, 4]], [[5, 6]]], pa.list_view(pa.list_view(pa.decimal128(5, 1)))).slice(1)
    chunks = chunks_of(*written(kind, pa.table({"x": lists})), TWO)
    assert whole(chunks).tolist() == [[3, 4], [5, 6]]
    assert [fault.position for fault in faults_of(chunks)] == [0]


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_views_when_categories_are_of_text_views_then_text(kind: str) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), pa.array(["a", "b"], pa.string_view()))
    chunks = chunks_of(*written(kind, pa.table({"x": words})), of_one("string"))
    assert (whole(chunks).tolist(), [fault.position for fault in faults_of(chunks)]) == (["b", "a"], [2])
