"""U+FEFF in text files: the first one of a file is the byte order mark, every other one is text."""

import gzip
import io
from collections.abc import Iterable

import orjson
import pytest

from ferry.bulk.formats.packing import unpacked_blocks
from ferry.bulk.formats.reading import ReadOptions
from ferry.bulk.formats.text_encoding import transcoded
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, index, jsonl, rules, whole

MARK = "\ufeff"
TEXT = manifest(inputs=(spec("text", "string"),), outputs=(spec("y"),))
NUMBER = manifest(inputs=(spec("n"),), outputs=(spec("y"),))
WORDS = [f"{MARK}a", f"{MARK}b", f"{MARK}{MARK}c", "d", f'{MARK}"e', f"{MARK}f"]


def written(words: Iterable[str], delimiter: str) -> str:
    return f"text{delimiter}n\n" + "".join(f"{word}{delimiter}{n}\n" for n, word in enumerate(words))


def texts(data: bytes, name: str = "csv", chunk_rows: int = 1) -> list[str]:
    return list(whole(chunks_of(name, data, rules(TEXT, chunk_rows=chunk_rows))))


@pytest.mark.parametrize("chunk_rows", [1, 2, 4])
@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("begin", ["", MARK])
def test_mark_when_a_row_of_any_chunk_begins_with_it_then_it_is_text(
    chunk_rows: int, name: str, delimiter: str, begin: str
) -> None:
    data = (begin + written(WORDS, delimiter)).encode()
    assert texts(data, name, chunk_rows) == WORDS


@pytest.mark.parametrize("chunk_rows", [1, 4])
@pytest.mark.parametrize("number", ["1", "odd"])
def test_mark_when_a_joined_field_begins_with_it_then_it_is_text(chunk_rows: int, number: str) -> None:
    data = written(WORDS, ",").replace(",3\n", f",{number}\n").encode()  # odd: the chunk is read cell by cell
    given = rules(NUMBER, join=("text",), chunk_rows=chunk_rows)
    assert [text for rows in chunks_of("csv", data, given) for text in rows.joined["text"].to_pylist()] == WORDS


@pytest.mark.parametrize("chunk_rows", [1, 4])
def test_mark_when_a_quote_follows_it_then_the_quote_is_text(chunk_rows: int) -> None:
    assert texts(written([f'{MARK}"a"', "b", f'{MARK}"c"'], ",").encode(), "csv", chunk_rows) == [
        f'{MARK}"a"',
        "b",
        f'{MARK}"c"',
    ]


@pytest.mark.parametrize("chunk_rows", [1, 4])
def test_mark_when_a_number_follows_it_then_its_row_fails_in_every_chunk(chunk_rows: int) -> None:
    data = f"n,m\n1,0\n{MARK}2,0\n{MARK}3,0\n".encode()
    chunks = chunks_of("csv", data, rules(NUMBER, chunk_rows=chunk_rows))
    assert (whole(chunks).tolist(), len(faults_of(chunks))) == ([1.0], 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_mark_when_the_encoding_is_another_then_only_the_first_is_no_text(encoding: str) -> None:
    own = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else MARK  # the others write one by themselves
    raw = (own + f"{MARK}a\n{MARK}b\n").encode(encoding)
    copy = b"".join(transcoded([raw[:3], raw[3:]], encoding))
    given = rules(TEXT, chunk_rows=1, reading=ReadOptions(header="no"))
    assert list(whole(chunks_of("csv", copy, given))) == [f"{MARK}a", f"{MARK}b"]


def test_mark_when_the_file_is_packed_then_it_is_text() -> None:
    packed = io.BytesIO(gzip.compress(written(WORDS, ",").encode()))
    assert texts(b"".join(unpacked_blocks(packed, "gzip"))) == WORDS


def test_mark_when_texts_of_json_lines_begin_with_it_then_it_is_text() -> None:
    lines = jsonl([{"text": word} for word in WORDS])
    assert texts(MARK.encode() + lines, "jsonl") == WORDS
    (fault,) = index("jsonl", lines + MARK.encode() + orjson.dumps({"text": "a"}), rules(TEXT)).faults
    assert (fault.code, fault.line) == ("invalid_json_line", len(WORDS) + 1)
