"""Which columns are an input: no element of an input is left out, mixed up or taken twice without a word."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from ferry.bulk.formats.base import Index
from ferry.bulk.formats.reading import read_options
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, index, rules, whole
from tests.unit.ferry.bulk.formats.test_arrow_tables import written

T3 = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("y"),))
T1 = manifest(inputs=(spec("x"),), outputs=(spec("y"),))
PIXELS = {"mode": "L", "size": (1, 3), "layout": "HW", "columns": "pixel{}"}
P3 = manifest(inputs=(spec("x", "float32", 1, 3, preprocess=PIXELS),), outputs=(spec("y"),))


def csv_of(names: str) -> tuple[str, bytes]:
    columns = names.split(",")
    return "csv", (names + "\n" + ",".join(map(str, range(len(columns)))) + "\n").encode()


def table_of(kind: str) -> Callable[[str], tuple[str, bytes]]:
    return lambda names: written(kind, pa.table({name: [float(n)] for n, name in enumerate(names.split(","))}))


EACH_FORMAT = pytest.mark.parametrize("made", [csv_of, table_of("parquet"), table_of("file"), table_of("stream")])


def found(made, names: str, model=T3, join: tuple[str, ...] = ()) -> Index:
    return index(*made(names), rules(model, join=join))


def refusal(made, names: str, model=T3, join: tuple[str, ...] = ()) -> str:
    (fault,) = found(made, names, model, join).faults
    assert fault.code == "wrong_columns"
    return fault.message


def values(made, names: str, model=T3, join: tuple[str, ...] = ()) -> list:
    return whole(chunks_of(*made(names), rules(model, join=join))).reshape(-1).tolist()


@EACH_FORMAT
@pytest.mark.parametrize(
    ("names", "surplus"),
    [
        ("x_0,x_1,x_2,x_3", "x_3"),
        ("x_3,x_0,x_1,x_2", "x_3"),
        ("x.0,x.1,x.2,x.17", "x.17"),
        ("x[0],x[1],x[2],x[3]", "x[3]"),
        ("x_0,x_1,x_2,X_3", "X_3"),
        ("x_0,x_1,x_2,x_03", "x_03"),
        ("x_0,x_1,x_2,x.3", "x.3"),
    ],
)
@pytest.mark.parametrize("join", [(), ("input",), ("x_0",)])
def test_columns_when_one_is_beyond_the_input_then_the_file_is_refused(made, names, surplus, join) -> None:
    if join == ("x_0",) and "x_0" not in names:
        join = ()
    said = refusal(made, names, join=join)
    assert f"has no input {surplus!r}" in said
    assert f"--join {surplus}" in said


@EACH_FORMAT
def test_columns_when_one_beyond_the_input_is_joined_by_its_name_then_the_file_runs(made) -> None:
    assert values(made, "x_3,x_0,x_1,x_2", join=("x_3",)) == [1, 2, 3]


@EACH_FORMAT
@pytest.mark.parametrize("names", ["pixel1,pixel2,pixel3,pixel5", "pixel0,pixel1,pixel2,pixel4"])
def test_columns_when_a_pixel_is_beyond_the_input_then_the_file_is_refused(made, names: str) -> None:
    assert f"has no input {names[-6:]!r}" in refusal(made, names, P3)


@EACH_FORMAT
def test_columns_when_two_inputs_have_names_alike_then_each_has_its_own(made) -> None:
    model = manifest(inputs=(spec("x", "float32", 3), spec("x_3")), outputs=(spec("y"),))
    first, second = (whole(chunks_of(*made("x_3,x_2,x_1,x_0"), rules(model)), place).tolist() for place in (0, 1))
    assert (first, second) == ([[3, 2, 1]], [0])
    both = manifest(inputs=(spec("x"), spec("x_0")), outputs=(spec("y"),))
    assert [whole(chunks_of(*made("x_0,x"), rules(both)), place).tolist() for place in (0, 1)] == [[1], [0]]
    assert "needs a column 'x'" in refusal(made, "x_0,z,a", both)


@EACH_FORMAT
@pytest.mark.parametrize(
    ("names", "model"), [("x_0,x_1,x_2,x.0,x.1,x.2", T3), ("x,x_0", T1), ("x_0,pixel0,x_1,pixel1,x_2,pixel2", P3)]
)
def test_columns_when_two_ways_give_the_input_then_the_file_is_refused(made, names: str, model) -> None:
    assert "are both input 'x'; leave one out" in refusal(made, names, model)


@EACH_FORMAT
def test_columns_when_the_other_way_is_joined_then_it_is_only_joined(made) -> None:
    assert values(made, "x,x_0", T1, join=("x_0",)) == [0]
    assert values(made, "x,x_0", T1, join=("x", "x_0")) == [0]
    assert "are both input 'x'" in refusal(made, "x,x_0", T1, join=("x",))


@EACH_FORMAT
def test_columns_when_a_numbered_one_is_beside_that_of_the_name_then_a_note_says_so(made) -> None:
    said = found(made, "x,x_7", T1).notes
    assert said == ("column 2 ('x_7') is left out: input 'x' is the column of that name",)
    assert found(made, "x,x_7", T1, ("x_7",)).notes == ()


@EACH_FORMAT
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("X_2,X_1,X_0", "rename 'X_2' to 'x_2', 'X_1' to 'x_1', 'X_0' to 'x_0'"),
        ("x_0,X_1,x_2", "rename 'X_1' to 'x_1'"),
        ("X.0,X.1,X.2", "rename 'X.0' to 'x.0'"),
        ("X[0],X[1],X[2]", "rename 'X[0]' to 'x[0]'"),
        ("X_1,b,c", "rename 'X_1' to 'x_1'"),
        ("a,X_1,b,c", "rename 'X_1' to 'x_1'"),
    ],
)
def test_columns_when_names_differ_in_case_then_the_file_is_refused(made, names: str, said: str) -> None:
    assert said in refusal(made, names)


@EACH_FORMAT
def test_columns_when_names_of_pixels_differ_in_case_then_the_file_is_refused(made) -> None:
    assert "rename 'Pixel0' to 'pixel0'" in refusal(made, "Pixel0,Pixel1,Pixel2", P3)


@EACH_FORMAT
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("x_5,x_6,x_7", "have other numbers: 'x_5', 'x_6', 'x_7'"),
        ("X_5,X_6,X_7", "have other numbers: 'X_5'"),
        ("x_1,x_2,x_3", "incomplete: 'x_0' is missing"),
    ],
)
def test_columns_when_their_numbers_are_others_then_they_are_not_taken_by_place(made, names: str, said: str) -> None:
    assert said in refusal(made, names)


def test_columns_when_the_file_has_no_header_then_an_input_may_have_any_name() -> None:
    model = manifest(inputs=(spec("column_2"), spec("column", "float32", 2)), outputs=(spec("y"),))
    given = rules(model, reading=read_options({"header": "no"}))
    assert [whole(chunks_of("csv", b"1,2,3\n", given), place).tolist() for place in (0, 1)] == [[1], [[2, 3]]]
