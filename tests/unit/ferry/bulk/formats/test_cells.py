"""What each spelling of a cell means: the same alone, beside good rows and beside bad ones, for every dtype."""

import numpy as np
import pytest

from ferry.bulk.formats.reading import ReadOptions
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, rules

FAILS = "fails"
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")
INF = float("inf")
# By spelling: as a whole number, as a float, as a bool.
SPELLINGS = {
    "0": (0, 0.0, False), "1": (1, 1.0, True), "7": (7, 7.0, FAILS), "007": (7, 7.0, FAILS), "+1": (1, 1.0, FAILS),
    " 1": (1, 1.0, True), "1 ": (1, 1.0, True), "\t1\t": (1, 1.0, True), "\u00a01": (FAILS, FAILS, FAILS),
    "-0": (0, -0.0, FAILS), "--1": (FAILS, FAILS, FAILS), "1_000": (FAILS, FAILS, FAILS), "1,5": (FAILS, FAILS, FAILS),
    "0x10": (FAILS, FAILS, FAILS), "0XfF": (FAILS, FAILS, FAILS), "-0x1": (FAILS, FAILS, FAILS),
    "0x": (FAILS, FAILS, FAILS), "0x1p3": (FAILS, FAILS, FAILS), "0b1": (FAILS, FAILS, FAILS),
    "0o7": (FAILS, FAILS, FAILS), "1f": (FAILS, FAILS, FAILS), "1e": (FAILS, FAILS, FAILS),
    "\uff11": (FAILS, FAILS, FAILS),
    "1e3": (FAILS, 1000.0, FAILS), "1E3": (FAILS, 1000.0, FAILS), "1e+3": (FAILS, 1000.0, FAILS),
    "+1.5": (FAILS, 1.5, FAILS), "1.0": (FAILS, 1.0, FAILS), "1.": (FAILS, 1.0, FAILS), ".5": (FAILS, 0.5, FAILS),
    "-.5": (FAILS, -0.5, FAILS), ".": (FAILS, FAILS, FAILS), "-": (FAILS, FAILS, FAILS), "+": (FAILS, FAILS, FAILS),
    "1e-400": (FAILS, 0.0, FAILS), "1e400": (FAILS, FAILS, FAILS), "-1e400": (FAILS, FAILS, FAILS),
    "9" * 400: (FAILS, FAILS, FAILS), "9" * 5000: (FAILS, FAILS, FAILS),
    "true": (FAILS, FAILS, True), "TRUE": (FAILS, FAILS, True), "True": (FAILS, FAILS, True),
    " true": (FAILS, FAILS, True), "false": (FAILS, FAILS, False), "FALSE": (FAILS, FAILS, False),
    "t": (FAILS, FAILS, FAILS), "yes": (FAILS, FAILS, FAILS), "no": (FAILS, FAILS, FAILS),
    "inf": (FAILS, INF, FAILS), "-inf": (FAILS, -INF, FAILS), "+inf": (FAILS, INF, FAILS), "Inf": (FAILS, INF, FAILS),
    "Infinity": (FAILS, INF, FAILS), "INF": (FAILS, INF, FAILS), "infinit": (FAILS, FAILS, FAILS),
    "nan": (FAILS, FAILS, FAILS), "NaN": (FAILS, FAILS, FAILS), "-nan": (FAILS, FAILS, FAILS),
    "nan(ab)": (FAILS, FAILS, FAILS),
    "1.#QNAN": (FAILS, FAILS, FAILS),
    "": (FAILS, FAILS, FAILS), "  ": (FAILS, FAILS, FAILS), '""': (FAILS, FAILS, FAILS), '"1"': (1, 1.0, True),
    "NA": (FAILS, FAILS, FAILS), "N/A": (FAILS, FAILS, FAILS), "null": (FAILS, FAILS, FAILS),
    "None": (FAILS, FAILS, FAILS), "#N/A": (FAILS, FAILS, FAILS), "abc": (FAILS, FAILS, FAILS),
    "1 2": (FAILS, FAILS, FAILS), "$1": (FAILS, FAILS, FAILS), "1%": (FAILS, FAILS, FAILS), "½": (FAILS, FAILS, FAILS),
}  # fmt: skip


def meaning(dtype: str, cells: list[str], place: int, decimal: str = "", missing: object = "error") -> object:
    """Return what the cell at `place` is among these, read in one chunk."""
    model = manifest(inputs=(spec("x", dtype, missing=missing),), outputs=(spec("y"),))
    lines = "".join(
        f"{cell if cell.startswith(chr(34)) or ',' not in cell else chr(34) + cell + chr(34)};n\n" for cell in cells
    )
    reading = ReadOptions(delimiter=";", decimal=decimal or ".")  # type: ignore[arg-type]
    chunks = chunks_of("csv", f"x;note\n{lines}".encode(), rules(model, chunk_rows=100, reading=reading))
    faults = {fault.position for fault in faults_of(chunks)}
    if place in faults:
        return FAILS
    (group,) = chunks[0].groups
    assert group.arrays[0].dtype == spec("x", dtype).numpy_dtype
    return group.arrays[0][list(group.positions).index(place)].item()


def everywhere(dtype: str, cell: str, good: str, decimal: str = "", missing: object = "error") -> list[object]:
    return [
        meaning(dtype, cells, place, decimal, missing)
        for cells, place in (
            ([cell], 0),
            ([good, cell, good], 1),
            (["bad", cell], 1),
            ([good, "bad", cell, good], 2),
            ([cell, "9" * 30, ""], 0),
        )
    ]


@pytest.mark.parametrize("cell", SPELLINGS)
@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS, "bool"])
def test_cell_when_spelled_in_any_way_then_it_means_the_same_beside_any_rows(dtype: str, cell: str) -> None:
    right = SPELLINGS[cell][0 if dtype in INTEGERS else 1 if dtype in FLOATS else 2]
    found = everywhere(dtype, cell, "1" if dtype == "bool" else "3")
    assert repr(found) == repr([right] * len(found))


@pytest.mark.parametrize(
    "cell", ["", " ", '""', "NA", " NA ", "N/A", "null", "None", "nan", "NaN", "-nan", "#N/A", "1.#QNAN"]
)
@pytest.mark.parametrize(
    ("dtype", "missing", "right"),
    [("float32", "nan", float("nan")), ("float64", "nan", float("nan")), ("float32", -1.5, -1.5), ("int64", -7, -7),
     ("uint8", 9, 9), ("bool", True, True)],
)  # fmt: skip
def test_cell_when_it_is_missing_then_the_rule_of_the_input_holds_beside_any_rows(
    dtype: str, missing: object, right: object, cell: str
) -> None:
    found = everywhere(dtype, cell, "1" if dtype == "bool" else "3", missing=missing)
    assert repr(found) == repr([right] * len(found))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_cell_when_a_whole_number_is_at_the_limit_of_its_dtype_then_it_is_exact_or_fails(dtype: str) -> None:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for value in (low, low + 1, high - 1, high):
        assert everywhere(dtype, str(value), "3") == [value] * 5
    for value in (low - 1, high + 1, 10**25):
        assert everywhere(dtype, str(value), "3") == [FAILS] * 5


@pytest.mark.parametrize("cell", ["9007199254740993", "9223372036854775807", "-9223372036854775807"])
def test_cell_when_it_is_a_64_bit_id_then_no_digit_changes_whatever_overflows_beside_it(cell: str) -> None:
    assert everywhere("int64", cell, "99999999999999999999") == [int(cell)] * 5


@pytest.mark.parametrize(
    ("cell", "right"),
    [("1,5", 1.5), ("-0,25", -0.25), (",5", 0.5), ("1,5e3", 1500.0), ("7", 7.0), ("1.5", FAILS), ("1.234,5", FAILS),
     ("1,2,3", FAILS), ("inf", INF), ("", FAILS)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_cell_when_the_decimal_sign_is_a_comma_then_a_point_is_none(dtype: str, cell: str, right: object) -> None:
    assert everywhere(dtype, cell, "3,5", ",") == [right] * 5


@pytest.mark.parametrize("cell", ["", " a ", "NA", "1", "nan", '""', "5 feet", "ä"])
def test_cell_when_it_is_text_then_it_stays_as_it_is(cell: str) -> None:
    model = manifest(inputs=(spec("x", "string"), spec("n", "int64")), outputs=(spec("y"),))
    for more in ("", "b,oh\n"):
        (chunk,) = chunks_of("csv", f"x,n\n{cell},1\n{more}".encode(), rules(model))
        assert chunk.groups[0].arrays[0].tolist() == [cell.strip('"')]


def test_cell_when_a_decimal_comma_is_unasked_for_then_its_row_says_what_to_do() -> None:
    model = manifest(inputs=(spec("x"),), outputs=(spec("y"),))
    rows = "1\n" * 3000
    (fault,) = faults_of(chunks_of("csv", f'x\n{rows}"1,5"\n'.encode(), rules(model, chunk_rows=5000)))
    assert fault.message == "column 'x': expected float32, got '1,5'; say --decimal , if that is its decimal sign"
