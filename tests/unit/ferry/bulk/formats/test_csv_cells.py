"""Cells of CSV that a spreadsheet would run: text gets an apostrophe in front, where that is asked for."""

import csv
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import rows_of, rules, run

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "=", "+1 2"]
OTHERS = ["", "a=1", " =1", "-5", "+1.5e-3", "-.5", "5.", "'=1", "größer", "1-2"]
TEXTS = [*FORMULAS, *OTHERS]


def cells_of(out: bytes, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(out.decode(), newline=""), delimiter=delimiter))


def parquet_of(columns: dict[str, pa.Array]) -> bytes:
    n_rows = len(next(iter(columns.values())))
    out = io.BytesIO()
    x = pa.FixedSizeListArray.from_arrays(pa.array(rows_of(n_rows).ravel()), 6)
    pq.write_table(pa.table({"x": x} | columns), out)
    return out.getvalue()


@pytest.mark.parametrize(("output", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_cells_when_formulas_are_escaped_then_text_that_would_run_has_an_apostrophe(
    output: str, delimiter: str, kind: pa.DataType
) -> None:
    data = parquet_of({"c": pa.array(TEXTS).cast(kind)})
    out, _ = run("parquet", data, rules(join=("c",), escape_formulas=True), output)
    found = [row[1] for row in cells_of(out, delimiter)[1:]]
    assert found == [*(f"'{text}" for text in FORMULAS), *OTHERS]


def test_cells_when_nothing_is_asked_for_then_text_is_as_it_was() -> None:
    out, _ = run("parquet", parquet_of({"c": pa.array(TEXTS)}), rules(join=("c",)), "csv")
    assert [row[1] for row in cells_of(out)[1:]] == TEXTS


def test_cells_when_formulas_are_escaped_then_numbers_nulls_and_times_stay() -> None:
    columns = {
        "n": pa.array([-5, None]),
        "f": pa.array([-0.5, float("-inf")]),
        "d": pa.array(["-1.50", None]).cast(pa.decimal128(5, 2)),
        "t": pa.array([-(10**14), 0], pa.timestamp("s")),
        "s": pa.array([None, ""], pa.string()),
    }
    plain, escaped = (
        run("parquet", parquet_of(columns), rules(join=tuple(columns), escape_formulas=each), "csv")[0]
        for each in (False, True)
    )
    assert escaped == plain


def test_cells_when_the_name_of_a_column_would_run_then_it_is_escaped_too() -> None:
    data = parquet_of({"=cmd()": pa.array(["a"])})
    out, _ = run("parquet", data, rules(join=("input",), escape_formulas=True), "csv")
    assert cells_of(out)[0][:2] == ["custom_id", "'=cmd()"]


def test_cells_when_the_model_gives_text_or_labels_then_they_are_escaped() -> None:
    model = manifest(inputs=(spec("x", "float32", 2, 3),), outputs=(spec("y", "string"),))
    data = parquet_of({"c": pa.array(["a", "b"])})
    out, _ = run("parquet", data, rules(model, escape_formulas=True), "csv", lambda x: _texts(["=1", "ok"]))
    assert [row[1] for row in cells_of(out)] == ["y", "'=1", "ok"]


def _texts(values: list[str]) -> np.ndarray:
    return np.array(values, dtype=object)
