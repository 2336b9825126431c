"""JSONL: envelopes checked, lines cut, bodies read as the synchronous calls read them, answers in order."""

import io

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.jsonl import Jsonl
from ferry.bulk.formats.lines import iter_lines
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import (
    LABELS,
    TOY,
    chunks_of,
    codes,
    envelopes,
    fake_model,
    faults_of,
    index,
    jsonl,
    rows_of,
    rules,
    run,
    whole,
)

URL = "/v2/models/toy/infer"


def predictions(x: np.ndarray) -> list[dict]:
    return [{"input": {"x": row}} for row in x]


def infers(x: np.ndarray) -> list[dict]:
    return [
        {"inputs": [{"name": "x", "shape": [1, 2, 3], "datatype": "FP32", "data": row.ravel()}]} for row in x
    ]  # fmt: skip


def good(**change) -> dict:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/predictions", "body": {"input": {"x": [[0.0] * 3] * 2}}}
    return {name: value for name, value in (line | change).items() if value is not ...}


@pytest.mark.parametrize("n_rows", [1, 4, 9])
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
@pytest.mark.parametrize("bare", [True, False])
def test_jsonl_when_predictions_go_through_then_answers_in_order(n_rows: int, chunk_rows: int, bare: bool) -> None:
    x = rows_of(n_rows)
    data = jsonl(predictions(x)) if bare else envelopes(predictions(x))
    out, errors = run("jsonl", data, rules(chunk_rows=chunk_rows, batch_id="b1", url="/v1/predictions"))
    lines = [orjson.loads(line) for line in out.splitlines()]
    assert errors == []
    assert [line["custom_id"] for line in lines] == [str(i + 1) if bare else f"r{i}" for i in range(n_rows)]
    bodies = [line["response"]["body"] for line in lines]
    np.testing.assert_allclose([body["output"]["y"] for body in bodies], fake_model(x), rtol=1e-6)
    assert [body["labels"] for body in bodies] == [LABELS[i] for i in fake_model(x).argmax(axis=1)]
    assert lines[0]["id"] == "batch_req_b1_1"
    assert (lines[0]["response"]["status_code"], lines[0]["error"]) == (200, None)


def test_jsonl_when_infer_requests_go_through_then_infer_responses() -> None:
    x = rows_of(6)
    bodies = infers(x)
    bodies[2]["id"] = "42"
    bodies[3]["inputs"][0]["data"] = x[3:4]
    bodies[4]["outputs"] = [{"name": "y"}]
    out, errors = run("jsonl", envelopes(bodies, URL), rules(endpoint="infer", url=URL))
    answers = [orjson.loads(line)["response"]["body"] for line in out.splitlines()]
    assert errors == []
    np.testing.assert_allclose([answer["outputs"][0]["data"] for answer in answers], fake_model(x), rtol=1e-6)
    assert [answer.get("id") for answer in answers] == [None, None, "42", None, None, None]
    assert answers[0]["outputs"][0]["shape"] == [1, 3]


def test_jsonl_when_lines_hold_several_rows_then_each_answers_as_it_asked() -> None:
    x = rows_of(7)
    data = jsonl([{"input": {"x": x[0:3]}}, {"input": {"x": x[3]}}, {"input": {"x": x[4:7]}}])
    out, _ = run("jsonl", data, rules())
    outputs = [orjson.loads(line)["response"]["body"]["output"]["y"] for line in out.splitlines()]
    np.testing.assert_allclose(outputs[0], fake_model(x[:3]), rtol=1e-6)
    np.testing.assert_allclose(outputs[1], fake_model(x[3:4])[0], rtol=1e-6)
    np.testing.assert_allclose(outputs[2], fake_model(x[4:]), rtol=1e-6)


def test_jsonl_when_rows_have_different_shapes_then_a_group_for_each_and_order_is_kept() -> None:
    model = manifest(inputs=(spec("x", "float32", None),), outputs=(spec("y", "float32"),))
    values = [[1.0], [2.0, 3.0], [4.0], [5.0, 6.0], [7.0, 8.0, 9.0]]
    data = jsonl([{"input": {"x": value}} for value in values])
    (chunk,) = chunks_of("jsonl", data, rules(model, chunk_rows=10))
    assert sorted(group.positions for group in chunk.groups) == [(0, 2), (1, 3), (4,)]
    out, _ = run("jsonl", data, rules(model), model=lambda x: x.sum(axis=1))
    outputs = [orjson.loads(line)["response"]["body"]["output"]["y"] for line in out.splitlines()]
    assert outputs == [sum(value) for value in values]


@pytest.mark.parametrize("endpoint", ["infer", "predictions"])
def test_jsonl_when_some_rows_do_not_fit_then_they_alone_fail(endpoint: str) -> None:
    model = manifest(inputs=(spec("x", "float32", 2, 3, range=(0.0, 1.0)),), outputs=(spec("y", "float32", 3),))
    x = rows_of(9)
    x[1] = 2.0
    bodies = predictions(x) if endpoint == "predictions" else infers(x)
    bodies[5] = {"input": {"x": "no"}, "inputs": 3}
    bodies[7] = {}
    out, errors = run("jsonl", envelopes(bodies), rules(model, endpoint=endpoint))
    assert [orjson.loads(line)["custom_id"] for line in out.splitlines()] == ["r0", "r2", "r3", "r4", "r6", "r8"]
    assert [(e["custom_id"], e["line"]) for e in errors] == [("r1", 2), ("r5", 6), ("r7", 8)]
    assert {e["response"]["status_code"] for e in errors} == {400 if endpoint == "infer" else 422}
    assert "2 is above 1" in errors[0]["response"]["body"]["error"]["message"]


def test_jsonl_when_raw_outputs_are_asked_then_the_row_fails() -> None:
    (body,) = infers(rows_of(1))
    body["parameters"] = {"binary_data_output": True}
    (fault,) = faults_of(chunks_of("jsonl", jsonl([body]), rules(endpoint="infer")))
    assert "no room for raw bytes" in fault.message


def test_jsonl_when_a_line_has_more_rows_than_a_job_may_then_it_fails() -> None:
    model = manifest(inputs=(spec("x"),), outputs=(spec("y"),), max_job_rows=2)
    data = jsonl([{"input": {"x": [1.0, 2.0]}}, {"input": {"x": [1.0, 2.0, 3.0]}}])
    (fault,) = faults_of(chunks_of("jsonl", data, rules(model)))
    assert (fault.position, "the limit of toy:1 is 2" in fault.message) == (1, True)


def test_jsonl_when_an_input_has_another_name_then_the_row_fails() -> None:
    model = manifest(inputs=(spec("x"),), outputs=(spec("y"),))
    (fault,) = faults_of(chunks_of("jsonl", jsonl([{"input": {"x": 1.0}}, {"input": {"z": 1.0}}]), rules(model)))
    assert (fault.position, "no input 'z'" in fault.message) == (1, True)


def test_jsonl_when_columns_are_joined_then_they_stand_beside_outputs_and_errors() -> None:
    bodies = [body | {"truth": i} for i, body in enumerate(predictions(rows_of(2)))]
    bodies[1]["input"] = {}
    out, errors = run("jsonl", jsonl(bodies), rules(join=("truth",)))
    assert orjson.loads(out)["joined"] == {"truth": 0}
    assert errors[0]["joined"] == {"truth": 1}


def test_jsonl_when_lines_are_blank_or_end_in_cr_or_begin_with_a_bom_then_rows_are_found() -> None:
    first, second = jsonl(predictions(rows_of(2))).splitlines()
    data = b"\xef\xbb\xbf" + first + b"\r\n\r\n  \n" + second
    (chunk,) = chunks_of("jsonl", data, rules())
    assert (chunk.ids, chunk.numbers) == (["1", "4"], [1, 4])
    np.testing.assert_allclose(whole([chunk]), rows_of(2))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [("empty_file", None)]),
        ([good(), b"{", good(custom_id="b")], [("invalid_json_line", 2)]),
        ([b"[1]", b"3"], [("invalid_json_line", 1), ("invalid_json_line", 2)]),
        ([good(), good(custom_id=...), good(custom_id="")], [("missing_custom_id", 2), ("missing_custom_id", 3)]),
        ([good(method="GET")], [("invalid_method", 1)]),
        ([good(url="/v2/x")], [("url_mismatch", 1)]),
        ([good(body=...)], [("invalid_body", 1)]),
        ([good(), good(custom_id="b"), good(), good()], [("duplicate_custom_id", 3), ("duplicate_custom_id", 4)]),
        ([good(custom_id=str(n)) for n in range(7)], [("too_many_lines", None)]),
        ([good(), b'{"custom_id": "' + b"x" * 999 + b'"}', b"x" * 2000], [("line_too_long", 2), ("line_too_long", 3)]),
    ],
    ids=["empty", "json", "not-object", "no-id", "method", "url", "body", "double", "many", "long"],
)  # fmt: skip
def test_jsonl_when_a_line_is_bad_then_the_file_fails_naming_it(lines: list, expected: list) -> None:
    data = b"".join(line + b"\n" if isinstance(line, bytes) else jsonl([line]) for line in lines)
    limits = Limits(max_row_bytes=500, max_rows=6)
    assert codes(index("jsonl", data, rules(url="/v1/predictions", limits=limits))) == expected


def test_jsonl_when_everything_is_bad_then_at_most_so_many_faults() -> None:
    assert len(index("jsonl", b"{\n" * 1000, rules(max_faults=7)).faults) == 7


def test_jsonl_when_the_file_is_over_the_limit_then_it_fails() -> None:
    assert codes(index("jsonl", b"{}\n" * 10, rules(limits=Limits(max_bytes=20)))) == [("too_large", None)]


class Endless(io.RawIOBase):
    """A line of 100 MB that is never held: it counts the largest piece asked for."""

    def __init__(self) -> None:
        self.left, self.largest = 100_000_000, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.left if whence == 2 else 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        self.largest = max(self.largest, size)
        piece = b"x" * min(size, self.left)
        self.left -= len(piece)
        return piece


def test_jsonl_when_a_line_has_100_mb_then_it_is_refused_without_holding_it() -> None:
    file = Endless()
    found = Jsonl().index(file, rules(limits=Limits(max_row_bytes=1000)))
    assert codes(found) == [("line_too_long", 1)]
    assert file.largest <= 1 << 20


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=12)), st.integers(1, 30), st.integers(0, 12))
def test_iter_lines_when_blocks_are_of_any_size_then_the_same_lines(parts, block: int, limit: int) -> None:
    data = b"\n".join(parts)
    expected = data.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    found = list(iter_lines(io.BytesIO(data), limit, block))
    assert [line for _, _, line in found] == [line if len(line) <= limit else None for line in expected]
    assert [data[start:end].removesuffix(b"\n") for start, end, _ in found] == expected


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(1, 25), st.integers(1, 600))
def test_jsonl_when_cut_anyhow_then_the_same_rows(blanks, chunk_rows: int, chunk_bytes: int) -> None:
    x = rows_of(len(blanks))
    lines = jsonl(predictions(x)).splitlines()
    data = b"".join((b"\n" if blank else b"") + line + b"\n" for blank, line in zip(blanks, lines, strict=True))
    chunks = chunks_of("jsonl", data, rules(TOY, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes))
    np.testing.assert_allclose(whole(chunks), x)
    numbers = np.cumsum([2 if blank else 1 for blank in blanks]).tolist()
    assert [number for rows in chunks for number in rows.numbers] == numbers


# --- bodies of the other protocol, and numbers that JSON has not


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("is_bare", [True, False])
def test_jsonl_when_a_batch_of_the_infer_protocol_has_v1_bodies_then_they_are_read_beside_its_own(
    is_plain: bool, is_bare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_plain:
        monkeypatch.setattr("ferry.bulk.formats.json_plain.simdjson", None)
    x = rows_of(4)
    own = {"name": "x", "shape": [1, 2, 3], "datatype": "FP32", "data": x[0].ravel()}
    bodies = [{"inputs": [own]}, {"input": {"x": x[1]}}, {"input": {"x": x[2:4]}}, {"input": {"z": 1}}]
    given = rules(endpoint="infer", url="/u")
    out, errors = run("jsonl", jsonl(bodies) if is_bare else envelopes(bodies, "/u"), given)
    answers = [orjson.loads(line)["response"]["body"]["outputs"][0] for line in out.splitlines()]
    assert [answer["shape"] for answer in answers] == [[1, 3], [1, 3], [2, 3]]
    found = np.concatenate([np.reshape(answer["data"], answer["shape"]) for answer in answers])
    np.testing.assert_allclose(found, fake_model(x), rtol=1e-6)
    assert [error["line"] for error in errors] == [4]
    assert "no input 'z'" in errors[0]["response"]["body"]["error"]["message"]


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("is_bare", [True, False])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_jsonl_when_a_line_holds_what_json_has_no_number_for_then_it_fails_alone_with_its_number(
    odd: str, is_plain: bool, is_bare: bool, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_plain:
        monkeypatch.setattr("ferry.bulk.formats.json_plain.simdjson", None)
    x = rows_of(3)
    bodies = predictions(x)
    lines = (jsonl(bodies) if is_bare else envelopes(bodies)).splitlines()
    body = b'{"input":{"x":[[%b,0,0],[0,0,0]]}}' % odd.encode()
    lines[at] = (
        body if is_bare else b'{"custom_id":"r%d","method":"POST","url":"/v1/predictions","body":%b}' % (at, body)
    )
    out, errors = run("jsonl", b"\n".join(lines), rules(url="/v1/predictions"))
    assert len(out.splitlines()) == 2
    (error,) = errors
    assert (error["line"], error["custom_id"]) == (at + 1, str(at + 1) if is_bare else f"r{at}")
    said = error["response"]["body"]["error"]["message"]
    assert ("has a missing value" if odd == "NaN" else "inf is not a finite number") in said


def test_jsonl_when_a_line_that_holds_nan_runs_then_its_other_members_are_joined_as_they_are() -> None:
    lines = [
        b'{"a": 2.50, "b": NaN, "c": 7, "d": [1, "x"], "e": [NaN], "input": {"x": [[1, NaN, 3], [4, 5, 6]]}}',
        b'{"a": 1, "b": 0.5, "c": 8, "d": {"k": 2.50}, "e": [1], "input": {"x": [[1, 2, 3], [4, 5, 6]]}}',
    ]
    model = manifest(inputs=(spec("x", "float32", 2, 3, missing=0),), outputs=(spec("y", "float32", 3),))
    given = rules(model, join=("a", "b", "c", "d", "e"))
    (rows,) = chunks_of("jsonl", b"\n".join(lines), given)
    assert rows.faults == ()
    joined = {name: column.to_pylist() for name, column in rows.joined.items()}
    assert joined == {
        "a": [2.5, 1.0],
        "b": [None, 0.5],
        "c": [7, 8],
        "d": ['[1, "x"]', '{"k": 2.50}'],
        "e": [None, "[1]"],
    }


def test_jsonl_when_a_line_that_holds_nan_is_at_fault_otherwise_then_the_file_fails() -> None:
    lines = [orjson.dumps(good()), b'{"custom_id":"a","method":"POST","url":"/v1/predictions","body":{"x":NaN}}']
    assert codes(index("jsonl", b"\n".join(lines), rules(url="/v1/predictions"))) == [("duplicate_custom_id", 2)]
    for bad in (b"NaN", b'{"x":NaN', b'{"x":NaN,"y":"\\ud800"}', b'{"x":NaN}' + b"[" * 100_000):
        assert codes(index("jsonl", bad, rules())) == [("invalid_json_line", 1)]


@pytest.mark.parametrize("before", [b"", b'{"x": [[1, 2, 3], [4, 5, 6]]}\r\n\n', b"\xef\xbb\xbf"])
def test_jsonl_when_it_is_in_another_encoding_then_the_byte_its_offset_and_the_option(before: bytes) -> None:
    line = '{"x": [[1, 2, 3], [4, 5, 6]], "name": "café"}\n'.encode("cp1252")
    found = index("jsonl", before + line * 200, rules())
    (fault,) = found.faults
    assert (fault.code, fault.line, fault.param) == ("invalid_encoding", 1 + before.count(b"\n"), "encoding")
    said = f"byte 0xE9 at offset {len(before) + line.index(0xE9)} is not utf-8; name the encoding with --encoding"
    assert fault.message.startswith(said)
