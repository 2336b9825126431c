"""How CSV and TSV are read: files as pandas, R, Excel, Spark and polars write them, and what is refused and why."""

import io

import numpy as np
import pytest

from ferry.bulk.formats.base import Index, Rules
from ferry.bulk.formats.reading import read_options
from ferry.bulk.formats.recognition import recognise
from ferry.bulk.formats.registry import format_named
from ferry.errors import InvalidInputError
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, rules, whole

T3 = manifest(inputs=(spec("x", "float32", 3),), outputs=(spec("y", "float32", 3),))
T1 = manifest(inputs=(spec("x"),), outputs=(spec("y"),))
I2 = manifest(inputs=(spec("x", "int64", 2),), outputs=(spec("y", "int64", 2),))
S0 = manifest(inputs=(spec("text", "string"),), outputs=(spec("y"),))
TWO = manifest(inputs=(spec("age"), spec("city", "string")), outputs=(spec("y"),))
FRAME = [[0.5, 1.0, 2.0], [3.0, 4.0, 5.25]]


def given(model=T3, *, join=(), **options: str) -> Rules:
    return rules(model, chunk_rows=100, join=join, reading=read_options(options))


def indexed(data: bytes, name: str = "csv", model=T3, *, join=(), **options: str) -> Index:
    return format_named(name).index(io.BytesIO(data), given(model, join=join, **options))


def rows(data: bytes | str, name: str = "csv", model=T3, *, join=(), **options: str) -> list[object]:
    raw = data.encode() if isinstance(data, str) else data
    return whole(chunks_of(name, raw, given(model, join=join, **options))).tolist()


def notes(data: str, name: str = "csv", model=T3, *, join=(), **options: str) -> str:
    found = indexed(data.encode(), name, model, join=join, **options)
    assert found.faults == ()
    return "\n".join(found.notes)


def refusal(data: bytes | str, name: str = "csv", model=T3, *, join=(), **options: str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    (fault,) = indexed(raw, name, model, join=join, **options).faults
    return fault.message


FRAMES = {
    "pandas": ",a,b,c\n0,0.5,1.0,2.0\n1,3.0,4.0,5.25\n",
    "pandas, no index": "a,b,c\n0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "pandas, no header": "0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "pandas, saved twice": ",Unnamed: 0,a,b,c\n0,0,0.5,1.0,2.0\n1,1,3.0,4.0,5.25\n",
    "pandas, saved twice without index": "Unnamed: 0,a,b,c\n0,0.5,1.0,2.0\n1,3.0,4.0,5.25\n",
    "pandas, MultiIndex": ",,a,b,c\n1,x,0.5,1.0,2.0\n2,y,3.0,4.0,5.25\n",
    "pandas, text index": ",a,b,c\nr,0.5,1.0,2.0\ns,3.0,4.0,5.25\n",
    "pandas, of an array": ",0,1,2\n0,0.5,1.0,2.0\n1,3.0,4.0,5.25\n",
    "pandas, sep and decimal": "a;b;c\n0,5;1,0;2,0\n3,0;4,0;5,25\n",
    "pandas, decimal comma in quotes": 'a,b,c\n"0,5","1,0","2,0"\n"3,0","4,0","5,25"\n',
    "pandas, sep tab, CRLF": "a\tb\tc\r\n0.5\t1.0\t2.0\r\n3.0\t4.0\t5.25\r\n",
    "R write.csv": '"","a","b","c"\n"1",0.5,1,2\n"2",3,4,5.25\n',
    "R write.csv, row names of words": '"","a","b","c"\n"Mazda RX4",0.5,1,2\n"Datsun",3,4,5.25\n',
    "R write.csv(row.names = FALSE)": '"V1","V2","V3"\n0.5,1,2\n3,4,5.25\n',
    "R write.csv2": '"";"a";"b";"c"\n"1";0,5;1;2\n"2";3;4;5,25\n',
    "R write.table(sep = ',')": '"a","b","c"\n"1",0.5,1,2\n"2",3,4,5.25\n',
    "R write.table, tab": '"a"\t"b"\t"c"\n"1"\t0.5\t1\t2\n"2"\t3\t4\t5.25\n',
    "Excel": "a,b,c\r\n0.5,1,2\r\n3,4,5.25\r\n",
    "Excel, German": "a;b;c\r\n0,5;1;2\r\n3;4;5,25\r\n",
    "Excel, CSV UTF-8": "\ufeffa;b;c\r\n0,5;1;2\r\n3;4;5,25\r\n",
    "Excel, sep=": "sep=;\r\na;b;c\r\n0,5;1;2\r\n3;4;5,25\r\n",
    "Excel, sep=|": "sep=|\r\na|b|c\r\n0.5|1|2\r\n3|4|5.25\r\n",
    "Excel, Macintosh": "a,b,c\r0.5,1,2\r3,4,5.25\r",
    "Excel, empty column behind": "a,b,c,\r\n0.5,1,2,\r\n3,4,5.25,\r\n",
    "Excel, German, no header": "0,5;1;2\r\n3;4;5,25\r\n",
    "Spark, no header": "0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "Spark, header": "_c0,_c1,_c2\n0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "Spark, quoteAll": '"a","b","c"\n"0.5","1.0","2.0"\n"3.0","4.0","5.25"\n',
    "Spark, sep pipe": "a|b|c\n0.5|1.0|2.0\n3.0|4.0|5.25\n",
    "polars": "column_0,column_1,column_2\n0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "polars, decimal_comma": "a;b;c\n0,5;1,0;2,0\n3,0;4,0;5,25\n",
    "polars, include_bom": "\ufeffa,b,c\n0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "polars, no header": "0.5,1.0,2.0\n3.0,4.0,5.25\n",
    "by name, in another order": "x_2,id,x_0,x_1\n2,a,0.5,1\n5.25,b,3,4\n",
    "by name, an index": "x_0,x_1,x_2,__index_level_0__\n0.5,1,2,7\n3,4,5.25,8\n",
    "numpy savetxt": "5.000000000000000000e-01,1.000000000000000000e+00,2.0e+00\n3.0e+00,4.0e+00,5.25e+00\n",
    "a delimiter at the end of rows": "a,b,c\n0.5,1,2,\n3,4,5.25,\n",
    "blank lines": "\n\na,b,c\n\n0.5,1,2\n\n3,4,5.25\n\n",
    "header of years": "id1,id2,id3\n0.5,1,2\n3,4,5.25\n",
}


@pytest.mark.parametrize("tool", FRAMES)
@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_layout_when_a_tool_wrote_the_file_then_its_rows_are_all_there_and_right(tool: str, name: str) -> None:
    assert rows(FRAMES[tool], name) == FRAME


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("pandas, no header", "the file has no header"),
        ("pandas, no header", "columns are taken by their place"),
        ("pandas", "column 1 ('Unnamed: 0') is left out"),
        ("pandas, saved twice", "column 2 ('Unnamed: 0') is left out"),
        ("pandas, MultiIndex", "column 2 ('Unnamed: 1') is left out"),
        ("pandas, no index", "taken by their place, as none is named after input 'x': 'a', 'b', 'c'"),
        ("R write.table(sep = ',')", "R's row names"),
        ("Excel, German", "the delimiter is ';'\nthe decimal sign is a comma"),
        ("by name, an index", "column 4 ('__index_level_0__') is left out"),
        ("a delimiter at the end of rows", "rows end with a delimiter"),
    ],
)
def test_layout_when_something_was_decided_then_the_batch_says_so(tool: str, said: str) -> None:
    assert said in notes(FRAMES[tool])


@pytest.mark.parametrize("data", ["x_0,x_1,x_2\n1,2,3\n", "id,x_0,x_1,x_2\n1,1,2,3\n"])
def test_layout_when_columns_are_named_as_the_model_says_then_nothing_is_noted(data: str) -> None:
    assert notes(data) == ""


@pytest.mark.parametrize("first", ["0,1,2", "1,2,3", " 0, 1, 2", '"0","1","2"'])
def test_layout_when_the_first_line_counts_the_columns_then_only_the_option_settles_it(first: str) -> None:
    data = f"{first}\n0.5,1,2\n"
    assert "--header yes or --header no" in refusal(data)
    assert rows(data, header="yes") == [[0.5, 1, 2]]
    assert len(rows(data, header="no")) == 2


@pytest.mark.parametrize(
    ("data", "model"),
    [
        ("hello\nworld\n", S0), ("hello\n", S0), ('"a, b"\nc\n', S0), ("a,1,c\n1,2,3\n", T3), ("2,b,c\n1,2,3\n", T3),
        ("0\n1.5\n", T1), ("1\n1.5\n", T1), ("0,1\n5,6\n", I2), ("how,old\n5,berlin\n", TWO), ("NA,b,c\n1,2,3\n", T3),
        (",1.5,2,3\n,4,5,6\n", T3), ("text;y\nb\n", S0), ("a,a\nb,c\n", TWO), ("1.5,0x1,2\n3,4,5\n", T3),
    ],
)  # fmt: skip
def test_layout_when_the_first_line_is_as_well_a_header_as_a_row_then_it_is_asked(data: str, model) -> None:
    assert "--header yes or --header no" in refusal(data, model=model)


@pytest.mark.parametrize("header", ["yes", "no"])
def test_layout_when_the_header_is_said_then_no_row_is_lost_or_made(header: str) -> None:
    texts = rows("hello\nworld\n", model=S0, header=header)
    assert texts == (["world"] if header == "yes" else ["hello", "world"])


@pytest.mark.parametrize(
    ("first", "is_row"),
    [("3,4,5", True), ("1.5,2,3", True), ("-1,nan,inf", True), ("NA,2,3.5", True), ("1e3,2,3", True), ("a,b,c", False)],
)
def test_layout_when_the_first_line_is_numbers_alone_then_it_is_a_row(first: str, is_row: bool) -> None:
    found = chunks_of("csv", f"{first}\n7,8,9\n".encode(), given())
    assert sum(len(chunk.ids) for chunk in found) == 1 + is_row


@pytest.mark.parametrize(
    ("data", "model", "option"),
    [
        ("x\n1,5\n2,7\n", T1, "--delimiter"),  # a decimal comma, or row names and a number
        ("a;b;c\n1,234;2,567;3\n", T3, "--decimal"),  # or thousands
        ('x\n"1,234"\n"12,345,678"\n', T1, "--decimal"),
    ],
)
def test_layout_when_two_readings_parse_then_the_option_is_named(data: str, model, option: str) -> None:
    assert option in refusal(data, model=model)


def test_layout_when_the_option_is_given_then_it_is_obeyed() -> None:
    assert rows("x\n1,5\n2,7\n", model=T1, delimiter=";", decimal=",") == pytest.approx([1.5, 2.7])
    assert rows("a;b;c\n1,234;2,567;3\n", decimal=",") == pytest.approx(np.array([[1.234, 2.567, 3]]))
    assert rows("a:b:c\n1:2:3\n", delimiter=":") == [[1, 2, 3]]
    assert rows("a,b,c\n1,2,3\n", "tsv", delimiter=",") == [[1, 2, 3]]
    assert rows("a\tb\tc\n1\t2\t3\n", delimiter="tab") == [[1, 2, 3]]
    assert "there are 1: 'a,b,c'" in refusal("a,b,c\n1,2,3\n", delimiter=";")


@pytest.mark.parametrize(
    "data", ["x\n1,5\n0,25\n", 'x\n"1,5"\n"0,25"\n', "id;x\n1;1,5\n2;0,25\n", "x\tid\n1,5\t1\n0,25\t2\n"]
)
def test_layout_when_only_a_decimal_comma_parses_then_it_is_one(data: str) -> None:
    assert rows(data, model=T1) == [1.5, 0.25]


@pytest.mark.parametrize(
    ("data", "model"),
    [
        ("y,z\n1,2\n", T1), ("1,2\n3,4\n", T1), ("x_0,x_1,foo\n1,2,3\n", T3), ("a,b\n1,2\n", T3), ("1,2\n3,4\n", T3),
        ("0,0.5,1.0,2.0\n1,3.0,4.0,5.25\n", T3), (",a,b\n0,1,2\n", T3), ("hello, world\n", S0), ("a,b\n", S0),
    ],
)  # fmt: skip
def test_layout_when_neither_names_nor_their_number_fit_then_refused(data: str, model) -> None:
    assert "input" in refusal(data, model=model)
    assert "needs" in refusal(data, model=model)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("0;87\n1;-43\n2;5\n", "needs a column"),
        ('"0";""\n"1";"5"\n', "needs a column"),
        ('0;"1,5";"2,5"\n1;"3,5";"4,5"\n', "needs a column"),
    ],
)
def test_layout_when_a_line_of_two_fields_comes_for_one_column_then_it_is_no_header(data: str, said: str) -> None:
    assert said in refusal(data, model=T1)


def test_layout_when_a_text_of_two_fields_comes_first_then_it_is_no_header_of_rows_of_one() -> None:
    assert "--header yes" in refusal("text;y\na cat\ntext;y\n=1+1\ntwo words\n", model=S0)


def test_layout_when_one_row_has_no_delimiter_then_it_fails_alone() -> None:
    (chunk,) = chunks_of("csv", b"text;y\na cat;1\nbroken\na dog;2\n", given(S0))
    assert [fault.position for fault in chunk.faults] == [1]


@pytest.mark.parametrize("options", [{}, {"header": "yes"}])
@pytest.mark.parametrize("header", ["City,Age", " AGE,CITY", "Age,Town"])
def test_layout_when_names_differ_in_case_alone_then_no_column_is_taken_by_its_place(
    header: str, options: dict[str, str]
) -> None:
    said = refusal(f"{header}\n1,2\n3,4\n", model=manifest(inputs=(spec("age"), spec("city"))), **options)
    assert "differ from inputs only in upper and lower case; rename" in said
    assert "to 'age'" in said


def test_layout_when_a_row_of_numbers_has_one_too_many_then_told_of_join() -> None:
    said = refusal("7,0,0,1\n1,2,3,4\n")
    assert "there are 4" in said
    assert "1 column too many: leave out what is no input, or repeat it in the output with --join" in said


def test_layout_when_index_columns_are_joined_by_name_then_they_are_there() -> None:
    (chunk,) = chunks_of("csv", FRAMES["pandas"].encode(), given(join=("Unnamed: 0",)))
    assert chunk.joined["Unnamed: 0"].to_pylist() == ["0", "1"]
    assert "left out" not in notes(FRAMES["pandas"], join=("Unnamed: 0",))


def test_layout_when_all_columns_are_joined_then_the_index_is_not_one() -> None:
    data = ",x_0,x_1,x_2,id\n0,1,2,3,a\n"
    (chunk,) = chunks_of("csv", data.encode(), given(join=("input",)))
    assert list(chunk.joined) == ["id"]


def test_layout_when_inputs_are_several_and_none_is_named_then_by_place_in_their_order() -> None:
    (chunk,) = chunks_of("csv", b"30,berlin\n40,rom\n", given(TWO, header="no"))
    assert [array.tolist() for array in chunk.groups[0].arrays] == [[30, 40], ["berlin", "rom"]]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        ('text\nscreen 5" wide\nnext\nlast\n', ['screen 5" wide', "next", "last"]),
        ('text\na 5" b 6" c\n"d ""e"""\n', ['a 5" b 6" c', 'd "e"']),
        ('text,n\n5" x,1\n"two\nlines, ""so""",2\n6",3\n', ['5" x', 'two\nlines, "so"', '6"']),
        ('text\n"a ""b"""\n"c,d"\n"e\nf"\n""\n\n', ['a "b"', "c,d", "e\nf", "", ""]),  # polars: the last one is null
        ('"text"\r\n"a"\r\n"b\r\nc"\r\n', ["a", "b\r\nc"]),
        ("text\n\n\na\n\n", ["", "", "a", ""]),
        ("text\nhello, world\nb\n", ["hello, world", "b"]),  # a comma that parts nothing, as the header has one name
    ],
)
def test_layout_when_quotes_and_breaks_are_in_texts_then_every_text_is_as_it_was(data: str, texts: list[str]) -> None:
    assert rows(data, model=S0) == texts


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        ('text\n"hello\nnext\nlast\n', 2, "is not closed"),
        ('text\na\n"hello\nnext\n"bye\nlast\n', 3, "closes in a later line"),
        ('text\n"a \\"b",1\n"', 3, "is not closed"),
        ('text\n"ends with \\""\n"b \\"",2\n', 2, "closes in a later line"),  # Spark's escape
    ],
)
def test_layout_when_a_quote_is_left_open_then_its_line_is_named_and_no_limit(data: str, line: int, said: str) -> None:
    (fault,) = indexed(data.encode(), model=S0).faults
    assert (fault.code, fault.line) == ("invalid_quote", line)
    assert said in fault.message
    assert "8388608" not in fault.message


@pytest.mark.parametrize("bad", ['"quoted" word', '"say \\"hi\\""', '"a"b'])
def test_layout_when_text_follows_a_closing_quote_then_that_row_alone_fails(bad: str) -> None:
    chunks = chunks_of("csv", f'text\na\n{bad}\n"b ""c"""\n'.encode(), given(S0))
    (fault,) = faults_of(chunks)
    assert (fault.position, whole(chunks).tolist()) == (1, ["a", 'b "c"'])
    assert "closing quote" in fault.message


@pytest.mark.parametrize("text", ["x_0,x_1,x_2\n1,2,3\n,,\n4,5\n6,7,8,9\nNA,1,2\n1,2,3\n"])
def test_layout_when_rows_are_bad_then_they_alone_fail(text: str) -> None:
    chunks = chunks_of("csv", text.encode(), given())
    assert [fault.position for fault in faults_of(chunks)] == [1, 2, 3, 4]
    assert whole(chunks).tolist() == [[1, 2, 3], [1, 2, 3]]


def test_layout_when_one_column_has_empty_lines_then_each_is_a_row_without_a_value() -> None:
    chunks = chunks_of("csv", b"x\n1.5\n\n2.5\n\n", given(T1))  # as polars and pyarrow write nulls
    assert [fault.position for fault in faults_of(chunks)] == [1, 3]
    assert whole(chunks).tolist() == [1.5, 2.5]


def test_layout_when_a_byte_is_not_utf_8_then_byte_offset_and_line_are_named() -> None:
    data = b"text\nplain\n" * 1 + "Gr\u00fc\u00dfe\n".encode("cp1252")
    (fault,) = indexed(data, model=S0).faults
    assert (fault.code, fault.line) == ("invalid_encoding", 3)
    assert "byte 0xFC at offset 13" in fault.message
    assert "--encoding" in fault.message


@pytest.mark.parametrize("n_rows", [40_000, 300_000])
def test_layout_when_a_late_byte_is_not_utf_8_then_the_file_is_refused_all_the_same(n_rows: int) -> None:
    data = b"text\n" + b"plain\n" * n_rows + b"\xe4\n"
    (fault,) = indexed(data, model=S0).faults
    assert (fault.line, f"offset {5 + 6 * n_rows}" in fault.message) == (n_rows + 2, True)


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"header": "maybe"}, "header"), ({"delimiter": ",,"}, "delimiter"), ({"delimiter": "a"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"), ({"decimal": "x"}, "decimal"),
        ({"decimal": ",", "delimiter": ","}, "decimal"), ({"encoding": "klingon"}, "encoding"),
        ({"encoding": "base64"}, "encoding"), ({"encoding": "idna"}, "encoding"), ({"encoding": "rot13"}, "encoding"),
        ({"encoding": "unicode_escape"}, "encoding"), ({"encoding": "\0"}, "encoding"),
    ],
)  # fmt: skip
def test_read_options_when_a_value_is_none_of_its_option_then_refused(metadata: dict[str, str], pointer: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_options(metadata)
    assert caught.value.faults[0].pointer == f"#/metadata/{pointer}"


@pytest.mark.parametrize(
    ("data", "bad"),
    [
        ("x_0,x_1,x_2\n" + "1,2,3,\n" * 21 + "1,5,2,3\n", 21),
        ("x_0,x_1,x_2\n1,2,3,\n1,2,3,4\n", 1),
        ("x_0,x_1,x_2\n" + "1,2,3,\n" * 1101 + "1,5,2,3\n", 1101),
        ("x_0,x_1,x_2\n1,2,3,4\n1,2,3,\n1,2,3,\n", 0),
    ],
)
def test_layout_when_a_row_goes_on_behind_the_last_delimiter_then_it_alone_fails(data: str, bad: int) -> None:
    chunks = chunks_of("csv", data.encode(), rules(T3, chunk_rows=2000))
    assert [(fault.position, fault.message) for fault in faults_of(chunks)] == [(bad, "4 fields, the header has 3")]
    assert set(map(tuple, whole(chunks).tolist())) == {(1, 2, 3)}


def test_layout_when_the_header_ends_with_a_delimiter_too_then_a_value_behind_it_fails_its_row() -> None:
    data = "a,b,c,\n" + "1,2,3,\n" * 1100 + "1,2,3\n" + "1,2,3,9\n"
    chunks = chunks_of("csv", data.encode(), given())
    ((position, message),) = [(fault.position, fault.message) for fault in chunks[-1].faults]
    assert (position, message[:26]) == (1, "the last field holds '9', ")
    assert whole(chunks).tolist() == [[1, 2, 3]] * 1101


def test_layout_when_a_text_has_a_comma_without_quotes_then_it_is_no_row_name() -> None:
    data = b"text,id\nWell, I like it,1\nNo, thanks,2\n"
    (chunk,) = chunks_of("csv", data, given(S0, join=("id",)))
    assert [fault.message for fault in chunk.faults] == ["3 fields, the header has 2"] * 2


def test_layout_when_a_joined_name_has_a_comma_without_quotes_then_it_is_no_row_name() -> None:
    data = b"name,x_0,x_1,x_2\nDoe, Jo,1,2,3\nRoe, Al,1,2,3\n"
    (chunk,) = chunks_of("csv", data, given(join=("name",)))
    assert len(chunk.faults) == 2


@pytest.mark.parametrize("first", ['"r"', "1"])
def test_layout_when_r_names_the_rows_of_texts_in_quotes_or_by_number_then_they_are_left_out(first: str) -> None:
    data = f'"text","id"\n{first},"a",1\n{first.replace("r", "s").replace("1", "2")},"b, c",2\n'
    assert rows(data, model=S0) == ["a", "b, c"]


def test_layout_when_rows_with_names_have_a_faulty_one_then_it_alone_fails() -> None:
    (chunk,) = chunks_of("csv", b'"x_0","x_1","x_2"\n"1",1,2,3\n"2",1,2\n"3",4,5,6\n', given())
    assert [fault.position for fault in chunk.faults] == [1]
    assert whole([chunk]).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("data", "decimal"),
    [
        ('x_0,x_1,x_2\n"1,234",2,3\n"1,234.50",5,6\n', ","),
        ('x_0,x_1,x_2\n"1,234",2,3\n"$2,000",5,6\n', ","),
        ('x_0,x_1,x_2\n"1,234",2,3\n"12,34,567",5,6\n', ","),
        ("x_0;x_1;x_2\n1.234;2;3\n1.234,5;2;3\n", "."),
        ("x_0;x_1;x_2\n1.234;2.500;3.000\n", "."),
        ('x_0,x_1,x_2\n1.234,2,3\n"1.234,5",2,3\n', "."),
    ],
)
def test_layout_when_a_sign_may_part_thousands_then_the_option_is_named(data: str, decimal: str) -> None:
    assert f"say --decimal {decimal}" in refusal(data)
    found = indexed(data.encode(), decimal=decimal)
    assert (found.faults, found.rows) == ((), data.count("\n") - 1)


@pytest.mark.parametrize(
    "data",
    [
        'x_0,x_1,x_2\n"1,234","1,5",3\n',
        "x_0;x_1;x_2\n1.234;2.5;3\n",
        "x_0,x_1,x_2\n1.234,2.500,3.000\n",
        "x_0;x_1;x_2\n0.123;0.500;1.000\n",
    ],
)
def test_layout_when_one_number_shows_the_decimal_sign_then_it_is_taken(data: str) -> None:
    assert indexed(data.encode()).faults == ()


def test_layout_when_a_column_behind_others_has_no_name_then_it_is_no_index() -> None:
    assert rows("x_0,x_1,x_2,\n1,2,3,9\n") == [[1, 2, 3]]
    assert "column 4 has no name and is left out" in notes("x_0,x_1,x_2,\n1,2,3,9\n")
    assert "column 2 has no name and is left out" in notes("x_0,,x_1,x_2\n1,2,3,9\n")
    assert "there are 4" in refusal("a,b,c,\n1,2,3,9\n")
    assert "end with a delimiter" in notes("a,b,c,\n1,2,3,\n")
    (chunk,) = chunks_of("csv", b"x_0,x_1,x_2,\n1,2,3,9\n", given(join=("input",)))
    assert chunk.joined["Unnamed: 3"].to_pylist() == ["9"]


def test_layout_when_a_joined_column_is_in_front_then_an_index_may_follow_it() -> None:
    assert rows("id,Unnamed: 0,a,b,c\nk,0,1,2,3\n", join=("id",)) == [[1, 2, 3]]


def test_layout_when_two_columns_of_one_name_are_not_used_then_they_do_not_matter() -> None:
    assert rows("x_0,x_1,x_2,note,note\n1,2,3,a,b\n") == [[1, 2, 3]]
    assert rows("x_0,x_1,x_2,note,note\n1,2,3,a,b\n0x1,2,3,a,b\n") == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("header", "join"),
    [
        ("x_0,x_1,x_2,note,note", ("note",)),
        ("x_0,x_1,x_2,note,note", ("input",)),
        ("x_0,x_1,x_2,x_2,note", ()),
        ("a,a,b,id,note", ("id", "note")),
    ],
)
def test_layout_when_two_columns_of_one_name_are_used_then_refused(header: str, join: tuple[str, ...]) -> None:
    assert "two columns have the name" in refusal(f"{header}\n1,2,3,4,5\n", join=join)


def test_layout_when_a_joined_column_is_in_the_first_line_then_that_is_a_header() -> None:
    assert rows("review,label\ngood,1\nbad,0\n", model=S0, join=("label",)) == ["good", "bad"]
    assert "--header yes" in refusal("review\ngood\nbad\n", model=S0, join=("input",))


def test_layout_when_a_delimiter_is_not_in_the_file_then_it_is_not_named_as_one() -> None:
    data = "text\nhello, world\nfoo, bar\n"
    assert rows(data, model=S0) == ["hello, world", "foo, bar"]
    assert "every line is one field: ',' is in it, but is no delimiter" in notes(data, model=S0)
    said = refusal("x\n1,5\n2,7\n", model=T1)
    assert "',' may be the delimiter, or be in the fields of one column" in said
    assert "--delimiter ',' for the first, and --delimiter ';' for the second" in said


def test_layout_when_columns_of_an_input_are_incomplete_then_the_missing_one_is_named() -> None:
    assert "are incomplete: 'x_0' is missing" in refusal("x_1,x_2,x_3\n1,2,3\n")
    assert "are incomplete: 'x.1' and 1 more is missing" in refusal("x.0,y,z\n1,2,3\n")


@pytest.mark.parametrize("data", ['"x_0" "x_1" "x_2"\n"1" 0.5 1 2\n"2" 3 4 5\n', "x_0 x_1 x_2\n1 2 3\n4 5 6\n"])
def test_layout_when_blanks_are_between_the_columns_then_the_option_is_named(data: str) -> None:
    assert '--delimiter " "' in refusal(data)
    assert len(rows(data, delimiter=" ")) == 2
    assert "blanks" not in refusal("a b\n1 2\n")


def test_layout_when_one_column_has_doubled_returns_then_refused_and_of_several_each_line_is_a_row() -> None:
    assert "two breaks" in refusal("x\r\r\n1\r\r\n2\r\r\n", model=T1)
    assert rows("x\r\n1\r\n2\r\n", model=T1) == [1, 2]
    assert rows("x,id\r\r\n1,a\r\r\n2,b\r\r\n", model=T1) == [1, 2]


@pytest.mark.parametrize("n_rows", [1, 5000])
def test_layout_when_a_zero_byte_is_in_a_cell_then_its_row_fails_wherever_it_is(n_rows: int) -> None:
    data = b"x,id\n" + b"1,a\n" * n_rows + b"2\0,b\n3,c\n"
    assert recognise("in.csv", data[:4096]) == "csv"
    chunks = chunks_of("csv", data, rules(T1, chunk_rows=10_000))
    assert [fault.position for fault in faults_of(chunks)] == [n_rows]
    assert whole(chunks).tolist() == [1] * n_rows + [3]


@pytest.mark.parametrize("n_rows", [1, 5000])
def test_layout_when_a_zero_byte_is_in_a_text_then_it_stays_wherever_it_is(n_rows: int) -> None:
    data = b"text,id\n" + b"a,a\n" * n_rows + b"b\0c,b\n"
    assert recognise("in.csv", data[:4096]) == "csv"
    assert whole(chunks_of("csv", data, rules(S0, chunk_rows=10_000))).tolist()[-2:] == ["a", "b\0c"]


@pytest.mark.parametrize("line", ["NA,NA,NA", ",,", "NA,,null"])
def test_layout_when_the_first_line_has_no_values_then_the_refusal_names_the_option(line: str) -> None:
    model = manifest(inputs=(spec("x", "float32", 3, missing="nan"),), outputs=(spec("y"),))
    data = f"{line}\n1,2,3\n"
    assert "--header no" in refusal(data, model=model)
    assert np.isnan(rows(data, model=model, header="no")[0]).all()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ('"text\nhello\nyou\n', 1),
        ('id;"text\nhello\n', 1),
        ('id,"text\nhello\n', 1),
        ('text,n\na,1\n"b,2\nc,3\n', 3),
        ("\ufeff" + '"text\nhello\n', 1),
    ],
)
def test_layout_when_a_quote_of_the_first_lines_is_open_then_the_refusal_is_about_the_quote(
    data: str, line: int
) -> None:
    (fault,) = indexed(data.encode(), model=S0).faults
    assert (fault.code, fault.line) == ("invalid_quote", line)
