"""api.protocol: hostile framings, each with the status that answers it. None hangs, none is a 500."""

import pytest

from api import http_limits as limits
from tests.fakes.http_server import Server, answer, echo_size, turns

pytestmark = pytest.mark.anyio

HOST = b"Host: ferry\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
OK = [200]

# Bytes, and the statuses of what is answered.
FRAMINGS = {
    "two hosts": (GET + HOST + b"\r\n", [400]),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", [400]),
    "two hosts in 1.0": (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", [400]),
    "no host in 1.0": (b"GET / HTTP/1.0\r\n\r\n", OK),
    "host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", [400]),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", [400]),
    "host with a port": (b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", OK),
    "length and chunked": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "chunked and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", [400]),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", [400]),
    "the same length twice": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", [400]),
    "list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", [400]),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", [400]),
    "length with a plus": (POST + b"Content-Length: +5\r\n\r\nabcde", [400]),
    "length of many digits": (POST + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nabcde", [400]),
    "length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", [400]),
    "length of no digits": (POST + b"Content-Length: \r\n\r\n", [400]),
    "length between spaces": (POST + b"Content-Length: \t 3 \t\r\n\r\nabc", OK),
    "length with a space in it": (POST + b"Content-Length: 3 3\r\n\r\nabc", [400]),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", OK),
    "target with a broken port": (b"GET http://ferry:x/ HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "target with an empty host": (b"GET http:/// HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "target with two schemes": (b"GET //http:// HTTP/1.1\r\n" + HOST + b"\r\n", OK),
    "target without a slash": (b"GET x HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
    "gzip, then chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [501]),
    "two lines of codings": (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "chunked is not last": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", [400]),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : ferry\r\n\r\n", [400]),
    "header without a name": (GET + b": x\r\n\r\n", [400]),
    "folded header": (GET + b"X: a\r\n b\r\n\r\n", [400]),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: ferry\n\n", [400]),
    "bare line feed in the head": (GET + b"X: a\nY: b\r\n\r\n", [400]),
    "bare carriage return": (GET + b"X: a\rb\r\n\r\n", [400]),
    "NUL in a header": (GET + b"X: a\x00b\r\n\r\n", [400]),
    "NUL in the target": (b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "chunk size overflows": (CHUNKED + b"f" * 17 + b"\r\n", [400]),
    "chunk size with a sign": (CHUNKED + b"-1\r\nx\r\n0\r\n\r\n", [400]),
    "chunk longer than said": (CHUNKED + b"1\r\nxy\r\n0\r\n\r\n", [400]),
    "chunk line ends in a line feed": (CHUNKED + b"1\nx\r\n0\r\n\r\n", [400]),
    "chunk extension": (CHUNKED + b'1;a="b"\r\nx\r\n0\r\n\r\n', OK),
    "trailer": (CHUNKED + b"1\r\nx\r\n0\r\nHost: other\r\n\r\n", OK),
    "absolute form": (b"GET http://ferry/v1 HTTP/1.1\r\n" + HOST + b"\r\n", OK),
    "absolute form without a path": (b"GET http://ferry HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "target is a query": (b"GET ?x HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "target beyond ASCII": ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(), [400]),
    "CONNECT": (b"CONNECT ferry:443 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "unknown method": (b"FROB / HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
    "HTTP/0.9": (b"GET /\r\n\r\n", [505]),
    "HTTP/2.0 in words": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", [505]),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", [400]),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    "garbage": (b"\xff" * 500, [400]),
    "websocket": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", OK),
    "h2c": (GET + H2C + b"\r\n" + GET + b"\r\n", [200, 200]),
    "h2c, then close": (GET + H2C + b"Connection: close\r\n\r\n" + GET + b"\r\n", OK),
    "h2c in 1.0": (b"GET / HTTP/1.0\r\n" + H2C + b"\r\n", OK),
    "h2c without a host": (b"GET / HTTP/1.1\r\n" + H2C + b"\r\n", [400]),
    "h2c with two hosts": (GET + HOST + H2C + b"\r\n", [400]),
    "h2c with length and chunked": (
        POST + H2C + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "h2c, then garbage": (GET + H2C + b"\r\n\xff", [200, 400]),
    "line breaks before the request": (b"\r\n\r\n" + GET + b"\r\n", OK),
    "a good request, then garbage": (GET + b"\r\n" + b"\xff", [200, 400]),
    "two requests": (GET + b"\r\n" + GET + b"\r\n", [200, 200]),
}
# What is answered but kept open: all else ends the connection.
STAY_OPEN = {
    "host with a port", "chunk extension", "trailer", "absolute form", "line breaks before the request", "two requests",
    "length between spaces", "asterisk", "target with two schemes",
    "websocket", "h2c",
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
async def test_framing_when_sent_then_answered_with_its_status(name: str, piece_bytes: int) -> None:
    sent, statuses = FRAMINGS[name]
    server = Server(echo_size)
    protocol, transport = server.connect()
    for start in range(0, len(sent), piece_bytes):
        if not transport.is_paused:
            protocol.data_received(sent[start : start + piece_bytes])
        await turns()
    await turns()
    assert transport.statuses == statuses
    assert transport.has_ended == (name not in STAY_OPEN)
    if statuses[-1] != 200:
        assert b"\r\ncontent-type: application/problem+json\r\n" in transport.sent
        assert b"\r\nconnection: close\r\n" in transport.sent
        assert len(server.reasons) == 1
    _, other = await ask_well(server)
    assert other == [200]


async def ask_well(server: Server) -> tuple[bytes, list[int]]:
    protocol, transport = server.connect()
    protocol.data_received(GET + b"\r\n")
    await turns()
    return transport.sent, transport.statuses


async def test_trailer_when_sent_then_the_application_never_sees_it() -> None:
    scopes = []

    async def look(scope, receive, send) -> None:
        scopes.append(scope)
        await echo_size(scope, receive, send)

    protocol, _ = Server(look).connect()
    protocol.data_received(CHUNKED + b"1\r\nx\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n")
    await turns()
    assert [name for name, _ in scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_expect_when_the_body_is_wanted_then_it_is_asked_for_once() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    await turns()
    assert transport.statuses == [100]
    protocol.data_received(b"ab")
    await turns()
    assert (transport.statuses, transport.has_ended) == ([100, 200], False)


BODIES = {
    "length": b"Content-Length: 5\r\n\r\nhello",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("piece_bytes", [1, 7, 10_000])
async def test_upgrade_when_it_comes_with_a_body_then_the_body_is_read_and_the_connection_goes_on(
    body: bytes, piece_bytes: int
) -> None:
    scopes, bodies = [], []

    async def keep(scope, receive, send) -> None:
        message = await receive()
        whole = message["body"]
        while message["more_body"]:
            message = await receive()
            whole += message["body"]
        scopes.append(scope)
        bodies.append(whole)
        await answer(send)

    protocol, transport = Server(keep).connect()
    sent = (POST + H2C + body) * 3 + POST + body
    for start in range(0, len(sent), piece_bytes):
        protocol.data_received(sent[start : start + piece_bytes])
        await turns()
    await turns()
    assert (bodies, transport.statuses, transport.has_ended) == ([b"hello"] * 4, [200] * 4, False)
    assert not {b"connection", b"upgrade"} & dict(scopes[0]["headers"]).keys()


async def test_upgrade_when_its_head_is_too_large_then_refused_as_any_other() -> None:
    sent = POST + H2C + b"a:b\r\n" * (limits.MAX_HEADERS - 4)
    for more, statuses in ((b"\r\n", [200]), (b"a:b\r\n\r\n", [431])):
        protocol, transport = Server(echo_size).connect()
        protocol.data_received(sent + more)
        await turns()
        assert transport.statuses == statuses
