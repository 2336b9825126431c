import json
import math
from collections.abc import Iterable

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from api import json_parsing
from api.bodies import check_media_type, read_body, read_json_object
from api.headers import headers_of
from api.json_parsing import parse_json
from api.problems import BodyTooLargeError, UnsupportedMediaTypeError
from ferry.errors import InvalidInputError, MalformedRequestError


def request(pieces: Iterable[bytes], **headers: str) -> Request:
    """Return a POST whose body comes in pieces."""
    left = list(pieces)

    async def receive() -> dict[str, object]:
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": named}, receive)


async def _read(sent: Request, max_bytes: int) -> bytes:
    return await read_body(sent, headers_of(sent), max_bytes=max_bytes)


async def _read_object(sent: Request, max_bytes: int) -> dict:
    return await read_json_object(sent, headers_of(sent), max_bytes=max_bytes)


# --- parse_json


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_parse_json_when_python_wrote_it_then_the_same_value(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[Infinity, -Infinity, 1e999]", [math.inf, -math.inf, math.inf]),
        (b'[NaN, "\\ud83d\\ude00"]', ["\U0001f600"]),
        (b'[NaN, "\\\\ud83d"]', ["\\ud83d"]),
        ('[NaN, "ü"]'.encode(), ["ü"]),
        (b"\xef\xbb\xbf[7]", [7]),
    ],
)
def test_parse_json_when_orjson_would_not_take_it_but_javascript_or_windows_write_it_then_read(
    body: bytes, value: list
) -> None:
    got = parse_json(body)
    assert [item for item in got if item == item] == value  # NaN is not equal to itself


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[1,]", b"nan", b"'a'", b"[1] 2", b"\x00", b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"',
        b'["\\udc00\\ud800"]', b'{"\\udfff": NaN}', "[]".encode("utf-16"), "[]".encode("utf-32"), b"[" * 100_000,
        b"9" * 5000,
    ],
)  # fmt: skip
def test_parse_json_when_it_is_not_json_then_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="the body is not JSON: "):
        parse_json(body)


def test_parse_json_when_it_stops_being_json_then_said_where() -> None:
    with pytest.raises(MalformedRequestError, match=r"line 2 column 4"):
        parse_json(b'{"a": 1,\n   x}')


@given(st.binary())
def test_parse_json_when_the_bytes_are_anything_then_a_value_that_is_json_again_or_malformed(body: bytes) -> None:
    try:
        value = parse_json(body)
    except MalformedRequestError:
        return
    json.dumps(value, ensure_ascii=False).encode()


# --- read_body


@pytest.mark.anyio
async def test_read_body_when_in_pieces_then_joined() -> None:
    assert await _read(request([b"ab", b"", b"c"]), max_bytes=3) == b"abc"
    assert await _read(request([b""]), max_bytes=3) == b""


@pytest.mark.anyio
async def test_read_body_when_the_length_is_declared_too_large_then_refused_unread() -> None:
    pieces = request([b"x"], content_length="4")
    with pytest.raises(BodyTooLargeError, match=r"the body has 4 bytes, the limit is 3 bytes \(FERRY_MAX_BODY_BYTES\)"):
        await _read(pieces, max_bytes=3)
    assert await _read(pieces, max_bytes=4) == b"x"


@pytest.mark.anyio
@pytest.mark.parametrize("declared", ["2", "x", "-1", ""])
async def test_read_body_when_more_comes_than_declared_then_refused(declared: str) -> None:
    with pytest.raises(BodyTooLargeError, match="more than 3 bytes"):
        await _read(request([b"ab", b"cd"], content_length=declared), max_bytes=3)


@pytest.mark.anyio
async def test_read_body_when_the_client_goes_away_in_the_middle_then_said_so() -> None:
    messages = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    with pytest.raises(ClientDisconnect):
        await _read(Request({"type": "http", "headers": []}, receive), max_bytes=3)


def test_headers_of_when_a_name_comes_twice_or_in_capitals_then_one_line_in_lower_case() -> None:
    raw = [(b"prefer", b"wait"), (b"Prefer", b"respond-async"), (b"host", b"h")]
    assert headers_of(Request({"type": "http", "headers": raw})) == {"prefer": "wait, respond-async", "host": "h"}


# --- media types


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "Application/JSON ; charset=UTF-8",
        "application/problem+json",
        "application/vnd.api+json",
    ],
)
def test_check_media_type_when_json_or_nothing_then_accepted(content_type: str) -> None:
    check_media_type(content_type)


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonl", "json", "application/json-seq", "*/*"])
def test_check_media_type_when_anything_else_then_refused_with_what_to_send(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="send application/json"):
        check_media_type(content_type)


# --- the whole


@pytest.mark.anyio
async def test_read_json_object_when_it_is_one_then_returned() -> None:
    assert await _read_object(request([b'{"a"', b": 1}"]), max_bytes=100) == {"a": 1}


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"a"', b"true"])
async def test_read_json_object_when_it_is_json_but_no_object_then_invalid(body: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await _read_object(request([body]), max_bytes=100)
    assert [fault.pointer for fault in caught.value.faults] == ["#"]


@pytest.mark.anyio
async def test_read_json_object_when_the_type_is_wrong_then_refused_unread() -> None:
    sent = request([b"{}"], content_type="text/plain")
    with pytest.raises(UnsupportedMediaTypeError):
        await _read_object(sent, max_bytes=100)
    assert await _read(sent, max_bytes=100) == b"{}"


@pytest.mark.anyio
async def test_read_body_when_compressed_then_refused_by_name() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="'gzip' is not read here"):
        await _read(request([b"{}"], content_encoding="GZIP"), max_bytes=100)
    assert await _read(request([b"{}"], content_encoding="identity"), max_bytes=100) == b"{}"


@pytest.mark.anyio
async def test_read_json_object_when_it_is_larger_than_one_without_tensors_may_be_then_refused() -> None:
    with pytest.raises(BodyTooLargeError, match="the limit of a body without tensors is 65536 bytes"):
        await _read_object(request([b"{}" + b" " * 70_000]), max_bytes=10**6)


@pytest.mark.parametrize("item", ["[]", "{}"])
def test_parse_json_when_there_are_more_values_than_memory_is_for_then_invalid(
    item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_parsing, "MAX_VALUES", 1000)
    assert len(parse_json(f"[{','.join([item] * 400)}]".encode())) == 400
    with pytest.raises(InvalidInputError, match="the limit is 1000"):
        parse_json(f"[{','.join([item] * 1001)}]".encode())
    assert parse_json(f"[{','.join(['1'] * 5000)}]".encode()).shape == (5000,)
