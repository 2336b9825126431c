"""Lines that hold several rows keep as many places where they fail."""

import io
from dataclasses import replace

import numpy as np
import pytest

from ferry.bulk.formats.base import PartResult, RowFault, unrun_faults
from ferry.bulk.formats.registry import format_named
from ferry.bulk.formats.row_counts import count_rows
from ferry.bulk.formats.table_output import to_table
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, jsonl, rules

ROWS = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("y", "float32", 3),))
COLUMN = manifest(inputs=(spec("x", "float32", 1),), outputs=(spec("y", "float32", 1),))
LINES = [{"x": [[1, 1, 1], [2, 2, 2]]}, {"x": [[3, None, 3], [4, 4, 4]]}, {"x": [[5, 5, 5]]}]


def _written(name: str, result: PartResult, given) -> bytes:
    out, writer = io.BytesIO(), format_named(name)
    n_rows = writer.write_part(out, result, given)
    assert n_rows == 5
    return out.getvalue()


@pytest.mark.parametrize("name", ["npy", "npz"])
@pytest.mark.parametrize("endpoint", ["infer", "predictions"])
def test_arrays_when_a_line_of_several_rows_fails_then_later_rows_keep_their_places(name: str, endpoint: str) -> None:
    given = rules(ROWS, endpoint=endpoint)
    (rows,) = chunks_of("jsonl", jsonl(LINES), given)
    loaded = np.load(io.BytesIO(_written(name, PartResult(rows, [[g.arrays[0]] for g in rows.groups]), given)))
    y = loaded if name == "npy" else loaded["y"]
    np.testing.assert_array_equal(y[:, 0], [1, 2, np.nan, np.nan, 5])


def test_arrays_when_the_run_fails_a_line_of_several_rows_then_all_its_places_are_nan() -> None:
    given = rules(ROWS)
    (rows,) = chunks_of("jsonl", jsonl(LINES), given)
    faults = (RowFault(0, "model_error", "no", status=500),)
    result = PartResult(rows, [[group.arrays[0]] for group in rows.groups], faults)
    y = np.load(io.BytesIO(_written("npy", result, given)))
    np.testing.assert_array_equal(y[:, 0], [np.nan, np.nan, np.nan, np.nan, 5])


def test_arrays_when_lines_were_never_run_then_each_has_its_places() -> None:
    given = rules(ROWS)
    (rows,) = chunks_of("jsonl", jsonl(LINES), given)
    faults = (*rows.faults, *unrun_faults(rows, "batch_cancelled", "no"))
    y = np.load(io.BytesIO(_written("npy", PartResult(replace(rows, groups=(), faults=()), [], faults), given)))
    assert y.shape == (5, 3)
    assert np.isnan(y).all()


def test_table_when_errors_are_inline_then_a_failed_line_has_its_rows() -> None:
    given = rules(ROWS, errors_inline=True)
    (rows,) = chunks_of("jsonl", jsonl(LINES), given)
    table = to_table(PartResult(rows, [[group.arrays[0]] for group in rows.groups]), given, flat=False)
    assert table["custom_id"].to_pylist() == ["1", "1", "2", "2", "3"]
    assert [text is not None for text in table["error"].to_pylist()] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("body", "n_rows"),
    [
        ({"x": [[1, 2, 3], None]}, 2),
        ({"x": [None, [1, 2, 3]]}, 2),
        ({"input": [[1], [2], [3]]}, 3),
        ({"input": [{"x": [1, 2, None]}, {"x": 0}]}, 2),
        ({"x": [1, None, 3]}, 1),
        ({"x": []}, 1),
        ({"x": "no"}, 1),
        ({}, 1),
        ("no", 1),
        ({"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, None]}]}, 2),
        ({"inputs": [{"name": "x", "shape": [10**9, 3], "datatype": "FP32", "data": [1]}]}, 1),
        ({"inputs": [{"name": "x", "shape": ["a"], "data": 1}, 3]}, 1),
    ],
)
def test_count_rows_when_a_body_is_faulty_then_its_rows_are_counted(body: object, n_rows: int) -> None:
    assert count_rows(body, ROWS) == n_rows


def test_count_rows_when_an_input_is_one_column_then_a_plain_list_is_rows() -> None:
    assert count_rows({"x": [30, None, 40]}, COLUMN) == 3
    assert count_rows({"x": [[30], [None]]}, COLUMN) == 2
