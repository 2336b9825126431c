"""A point or a comma that may part thousands, wherever in the file it is: two readings never run without a word."""

import io

import pytest

from ferry.bulk.formats.base import Index
from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.registry import format_named
from ferry.bulk.formats.thousands import SignEvidence, ThousandsWatch
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, rules, whole

T3 = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("y"),))
MIX = manifest(inputs=(spec("n", "int64"), spec("x")), outputs=(spec("y"),))
WIDE = manifest(inputs=(spec("x", "float32", 2000),), outputs=(spec("y"),))
MANY = 1001


def indexed(data: str, model=T3, **options: str) -> Index:
    given = rules(model, chunk_rows=100, reading=read_options(options))
    return format_named("csv").index(io.BytesIO(data.encode()), given)


def later(*lines: str, before: str = "900;2;3", header: str = "x_0;x_1;x_2", n: int = MANY) -> str:
    return "\n".join([header, *[before] * n, *lines]) + "\n"


@pytest.mark.parametrize("header", ["x_0;x_1;x_2", "a;b;c", "id;x_0;x_1;x_2"])
def test_sign_when_a_later_row_may_have_thousands_then_the_file_is_refused_with_its_line(header: str) -> None:
    begin = "1;" if header.startswith("id") else ""
    (fault,) = indexed(later(f"{begin}1.234;2;3", f"{begin}5;6;7", before=f"{begin}900;2;3", header=header)).faults
    assert (fault.code, fault.line) == ("wrong_columns", MANY + 2)
    assert "'1.234' may have a decimal point, or a point between thousands; say --decimal ." in fault.message


@pytest.mark.parametrize("line", ["1;2;12.345.678", "1;2;-1.000 ", '1;2;"1.234"', "1; 1.234;2"])
def test_sign_when_the_doubtful_cell_is_anywhere_then_the_file_is_refused(line: str) -> None:
    assert len(indexed(later(line)).faults) == 1
    assert len(indexed(later(line)[:-1]).faults) == 1  # no last line break


@pytest.mark.parametrize("more", ["1.5;2;3", "1;2;0.234", "1;2;1234.567", "1;2;.5"])
@pytest.mark.parametrize("is_first", [True, False])
def test_sign_when_any_later_row_shows_that_it_is_decimal_then_the_file_runs(more: str, is_first: bool) -> None:
    lines = [*["7;8;9"] * 500, "1.234;2;3"]
    data = later(*([more, *lines] if is_first else [*lines, *["7;8;9"] * 500, more]))
    assert indexed(data).faults == ()
    values = whole(chunks_of("csv", data.encode(), rules(T3))).reshape(-1).tolist()
    assert any(abs(value - 1.234) < 1e-6 for value in values)


def test_sign_when_the_option_says_which_then_the_file_runs() -> None:
    assert indexed(later("1.234;2;3"), decimal=".").faults == ()


def test_sign_when_the_table_is_wide_then_later_rows_count_too() -> None:
    names = ";".join(f"x_{n}" for n in range(2000))
    plain, doubtful = ";".join(["9"] * 2000), ";".join(["9"] * 1999 + ["1.234"])
    (fault,) = indexed("\n".join([names, *[plain] * 60, doubtful, plain]) + "\n", WIDE).faults
    assert fault.line == 62


@pytest.mark.parametrize("line", ["1.234;5;text 1.234", "1.234;5;x"])
def test_sign_when_a_column_is_no_float_then_it_says_nothing(line: str) -> None:
    assert indexed(later(line, before="9;9;text", header="note;x;n"), MIX).faults == ()


def test_sign_when_rows_do_not_fit_then_the_others_are_looked_at() -> None:
    (fault,) = indexed(later("1;2", "1.234;2;3", "1;2;3;4", '"a" b;2;3')).faults
    assert fault.line == MANY + 3


def test_sign_when_a_later_row_has_both_signs_then_points_are_in_doubt_with_any_delimiter() -> None:
    comma = later("1.234,2,3", '"1.234,5",2,3', before="900,2,3", header="x_0,x_1,x_2")
    (fault,) = indexed(comma).faults
    assert ("'1.234'" in fault.message, fault.line) == (True, MANY + 2)
    assert indexed(later("1.234,2,3", before="900,2,3", header="x_0,x_1,x_2")).faults == ()
    alone = later('"1.234,5",2,3', before="900,2,3", header="x_0,x_1,x_2")
    assert indexed(alone).faults == ()
    assert len(faults_of(chunks_of("csv", alone.encode(), rules(T3)))) == 1


def test_sign_when_commas_are_only_in_later_rows_then_those_fail_with_the_option() -> None:
    data = later('"1,234"', before="9", header="x")
    model = manifest(inputs=(spec("x"),), outputs=(spec("y"),))
    assert indexed(data, model).faults == ()
    (fault,) = faults_of(chunks_of("csv", data.encode(), rules(model)))
    assert (fault.position, "say --decimal ," in fault.message) == (MANY % 4, True)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize(
    ("text", "is_alone", "may_doubt"),
    [
        (b"9;9\n1.234;2\n", True, True),
        (b"9;9\n1.234", True, True),
        (b"9;9\n1.23;2\n1.2345;6", True, False),
        (b"9\t1.234\t5,6\n", False, False),
        (b"9\t1.234,56\n", False, True),
        (b"12345678", True, False),
    ],
)
def test_watch_when_blocks_end_anywhere_then_no_doubt_is_missed(size, text, is_alone, may_doubt) -> None:
    watch = ThousandsWatch(SignEvidence(".", is_doubtful_alone=is_alone), "\t")
    blocks = [text[at : at + size] for at in range(0, len(text), size)]
    assert b"".join(watch.passing(blocks)) == text
    assert watch.may_doubt >= may_doubt
    if size > len(text):
        assert watch.may_doubt == may_doubt
