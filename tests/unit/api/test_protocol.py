"""api.protocol: limits are counted before anything is kept, deadlines in ticks, and answers reach those who sent."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api import http_limits as limits
from api.protocol import HttpProtocol
from tests.fakes.http_server import FakeTransport, Server, answer, echo_size, refuse, turns
from tests.fakes.skipping_loop import SkippingLoop

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: ferry\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: ferry\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
KIB = 2**10


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Moments are skipped."""
    return "asyncio", {"loop_factory": SkippingLoop}


def post(n_bytes: int) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % n_bytes


async def send_until_the_end(protocol: HttpProtocol, transport: FakeTransport, piece: bytes, most: int) -> int:
    """Send a piece again and again until the connection ends; returns how many bytes that took."""
    n_sent = 0
    while not transport.has_ended and n_sent < most:
        protocol.data_received(piece)
        n_sent += len(piece)
        await turns()
    return n_sent


# --- heads

ENDLESS = {
    "header value": (b"GET / HTTP/1.1\r\nHost: ferry\r\nX: ", b"x" * 1000, 431),
    "header name": (b"GET / HTTP/1.1\r\nHost: ferry\r\n", b"x" * 1000, 431),
    "request line": (b"GET /", b"x" * 1000, 431),
    "tiny headers": (b"GET / HTTP/1.1\r\nHost: ferry\r\n", b"a:b\r\n", 431),
    "large headers": (b"GET / HTTP/1.1\r\nHost: ferry\r\n", b"a:" + b"b" * 4000 + b"\r\n", 431),
    "line breaks before the request": (b"", b"\r\n" * 100, 431),
    "chunk extension": (CHUNKED + b"1;", b"x" * 1000, 400),
    "chunk extensions": (CHUNKED, b"1;xxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n", 400),
    "one-byte chunks": (CHUNKED, b"1\r\nx\r\n", 400),
    "trailers": (CHUNKED + b"0\r\n", b"a:b\r\n" * 100, 400),
    "trailer": (CHUNKED + b"0\r\na:", b"x" * 1000, 400),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_endless_part_when_sent_then_it_ends_at_the_limit(name: str) -> None:
    begin, piece, status = ENDLESS[name]
    server = Server(echo_size)
    protocol, transport = server.connect()
    protocol.data_received(begin)
    n_sent = await send_until_the_end(protocol, transport, piece, 10 * limits.MAX_HEAD_BYTES)
    assert (transport.statuses, len(server.reasons)) == ([status], 1)
    assert n_sent < 2 * limits.MAX_HEAD_BYTES


@pytest.mark.parametrize(("excess", "statuses"), [(0, [200]), (1, [431])])
@pytest.mark.parametrize("piece_bytes", [1000, 10**6])
async def test_head_when_at_the_limit_then_answered_and_one_byte_more_is_refused(
    excess: int, statuses: list[int], piece_bytes: int
) -> None:
    begin, end = b"GET / HTTP/1.1\r\nHost: ferry\r\nX: ", b"\r\n\r\n"
    head = begin + b"x" * (limits.MAX_HEAD_BYTES + excess - len(begin) - len(end)) + end
    protocol, transport = Server(echo_size).connect()
    for start in range(0, len(head), piece_bytes):
        protocol.data_received(head[start : start + piece_bytes])
    await turns()
    assert transport.statuses == statuses


@pytest.mark.parametrize(("n_headers", "statuses"), [(limits.MAX_HEADERS, [200]), (limits.MAX_HEADERS + 1, [431])])
async def test_headers_when_one_too_many_then_refused(n_headers: int, statuses: list[int]) -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: ferry\r\n" + b"a:b\r\n" * (n_headers - 1) + b"\r\n")
    await turns()
    assert transport.statuses == statuses


@pytest.mark.parametrize(
    ("n_bytes", "statuses"), [(limits.MAX_TARGET_BYTES, [200]), (limits.MAX_TARGET_BYTES + 1, [414])]
)
async def test_target_when_one_byte_too_long_then_refused(n_bytes: int, statuses: list[int]) -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(GET.replace(b"/", b"/".ljust(n_bytes, b"x"), 1))
    await turns()
    assert transport.statuses == statuses


async def test_head_when_large_ones_follow_each_other_then_each_has_the_whole_limit() -> None:
    head = b"GET / HTTP/1.1\r\nHost: ferry\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"
    protocol, transport = Server(echo_size).connect()
    for _ in range(5):
        protocol.data_received(head)
        await turns()
    assert transport.statuses == [200] * 5


# What may be before the first part of a head, in the same piece.
BEFORE_A_HEAD = {
    "nothing": b"", "get": GET, "two of them": GET + GET, "length": POST + b"Content-Length: 9\r\n\r\nand a: b\n",
    "empty lines in the body": POST + b"Content-Length: 9\r\n\r\na\r\n\r\nb\r\n\r",
    "chunked": CHUNKED + b"5\r\na\r\n\r\n\r\n0\r\n\r\n", "trailer": CHUNKED + b"0\r\na: b\r\n\r\n",
    "upgrade": GET[:-2] + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("before", BEFORE_A_HEAD.values(), ids=BEFORE_A_HEAD)
@pytest.mark.parametrize("cut", [0, 3])
async def test_head_when_its_first_part_comes_with_the_request_before_then_it_is_counted(
    before: bytes, cut: int
) -> None:
    begin, end = b"GET / HTTP/1.1\r\nHost: ferry\r\nX: ", b"\r\n\r\n"
    first_bytes = 40_000
    for excess, status in ((0, 200), (1, 431)):
        head = begin + b"x" * (limits.MAX_HEAD_BYTES + excess - len(begin) - len(end)) + end
        protocol, transport = Server(echo_size).connect()
        protocol.data_received(before[: len(before) - cut])
        protocol.data_received(before[len(before) - cut :] + head[:first_bytes])
        for _ in range(4):
            await turns()
        protocol.data_received(head[first_bytes:])
        await turns()
        assert transport.statuses[-1:] == [status]


async def test_head_when_its_first_part_comes_with_the_request_before_then_it_has_its_deadline() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(GET + b"G")
    await turns()
    protocol.tick(limits.HEAD_S - 0.5)
    assert not transport.has_ended
    protocol.tick(1.0)
    await turns()
    assert transport.statuses == [200, 408]


async def test_framing_when_a_piece_ends_one_chunked_body_and_begins_the_next_then_each_is_counted_by_itself() -> None:
    chunk = b"%x\r\n" % 40_000 + b"x" * 40_000 + b"\r\n"
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(CHUNKED + chunk[:100])
    await turns()
    protocol.data_received(chunk[100:] + b"0\r\n\r\n" + CHUNKED + chunk[:20_000])
    await turns()
    protocol.data_received(chunk[20_000:] + b"0\r\n\r\n")
    await turns()
    assert (transport.statuses, transport.has_ended) == ([200, 200], False)


async def test_parser_when_a_head_is_endless_then_it_is_fed_no_more_than_the_limit() -> None:
    protocol, _ = Server(echo_size).connect()
    fed = []

    class Counting:
        def feed_data(self, data: bytes) -> None:
            fed.append(len(data))

    protocol.parser = Counting()
    for _ in range(100):
        protocol.data_received(b"x" * 256 * KIB)
    assert sum(fed) == limits.MAX_HEAD_BYTES


async def test_pipeline_when_longer_than_the_limit_then_those_before_are_answered() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET * 1000)
    await turns()
    assert (len(protocol.pipeline), transport.is_paused, transport.sent) == (limits.MAX_PIPELINED, True, b"")
    server.may_answer.set()
    for _ in range(limits.MAX_PIPELINED + 2):
        await turns()
    assert transport.statuses == [200] * (limits.MAX_PIPELINED + 1) + [503]
    assert transport.has_ended


# --- deadlines


async def ticks(protocol: HttpProtocol, seconds: float) -> None:
    for _ in range(int(seconds)):
        protocol.tick(1.0)
    await turns()


async def test_new_connection_when_silent_then_closed_without_a_word() -> None:
    protocol, transport = Server(echo_size).connect()
    await ticks(protocol, limits.HEAD_S - 1)
    assert not transport.has_ended
    await ticks(protocol, 1)
    assert transport.events == ["closed"]


async def test_head_when_it_drips_then_408_at_the_deadline() -> None:
    server = Server(echo_size)
    protocol, transport = server.connect()
    for byte in GET[: int(limits.HEAD_S)]:
        assert not transport.has_ended
        protocol.data_received(bytes([byte]))
        await ticks(protocol, 1)
    assert (transport.statuses, server.reasons) == ([408], ["head_timeout"])


async def test_kept_alive_connection_when_silent_then_closed_only_after_what_proxies_keep() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(GET)
    await ticks(protocol, 0)
    await ticks(protocol, limits.IDLE_S - 1)
    assert not transport.has_ended
    protocol.data_received(GET)
    await ticks(protocol, 0)
    await ticks(protocol, limits.IDLE_S - 1)
    assert not transport.has_ended
    await ticks(protocol, 1)
    assert transport.events[-1] == "closed"
    assert transport.statuses == [200, 200]
    assert limits.IDLE_S >= 75


async def test_body_when_it_stops_then_408_and_the_application_hears_of_the_end() -> None:
    heard = []

    async def listen(scope, receive, send) -> None:
        while not heard or heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])
        await answer(send)  # goes nowhere

    server = Server(listen)
    protocol, transport = server.connect()
    protocol.data_received(post(100) + b"x")
    await ticks(protocol, limits.BODY_PAUSE_S - 1)
    assert not transport.has_ended
    await ticks(protocol, 1)
    assert (transport.statuses, server.reasons) == ([408], ["body_timeout"])
    assert heard[-1] == "http.disconnect"


async def test_body_when_it_drips_then_408_and_when_slow_but_steady_not() -> None:
    server = Server(echo_size)
    (dripping, dripped), (steady, kept) = server.connect(), server.connect()
    for protocol in (dripping, steady):
        protocol.data_received(post(10**6))
    for _ in range(120):
        if not dripped.has_ended:
            dripping.data_received(b"x")
        steady.data_received(b"x" * limits.BODY_BYTES_PER_S)
        await ticks(dripping, 1)
        await ticks(steady, 1)
    assert dripped.statuses == [408]
    assert not kept.has_ended


async def test_body_when_it_drips_after_a_fast_begin_then_408_as_if_it_had_dripped_from_the_start() -> None:
    server = Server(echo_size)
    protocol, transport = server.connect()
    protocol.data_received(post(10**6))
    for _ in range(99):
        protocol.data_received(b"x" * 10_000)
        await ticks(protocol, 0)
    n_seconds = 0
    while not transport.has_ended and n_seconds < 1000:
        if n_seconds % 14 == 0:
            protocol.data_received(b"x")
        await ticks(protocol, 1)
        n_seconds += 1
    assert (transport.statuses, server.reasons) == ([408], ["body_timeout"])
    assert n_seconds <= limits.BODY_PAUSE_S + 1


async def test_body_when_it_pauses_again_and_again_but_catches_up_then_it_goes_on() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(post(10**9))
    pause_s = int(limits.BODY_PAUSE_S) - 1
    for _ in range(20):
        await ticks(protocol, pause_s)
        protocol.data_received(b"x" * pause_s * limits.BODY_BYTES_PER_S)
        await ticks(protocol, 0)
    assert not transport.has_ended


async def test_deadline_when_a_head_was_slow_then_its_body_has_its_own() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(POST)
    await ticks(protocol, limits.HEAD_S - 1)
    protocol.data_received(b"Content-Length: 100\r\n\r\n")
    await ticks(protocol, limits.BODY_PAUSE_S - 1)
    assert not transport.has_ended
    await ticks(protocol, 1)
    assert transport.statuses == [408]


async def test_deadline_when_a_rest_was_slow_then_the_next_head_has_its_own() -> None:
    protocol, transport = Server(refuse).connect()
    protocol.data_received(post(100))
    await turns()
    await ticks(protocol, limits.BODY_PAUSE_S - 1)
    protocol.data_received(b"x" * 100)
    await ticks(protocol, limits.IDLE_S - 1)
    assert (transport.statuses, transport.has_ended) == ([401], False)


async def test_deadline_when_the_server_is_what_is_slow_then_none() -> None:
    server = Server()
    (waiting, for_an_answer), (paused, for_room) = server.connect(), server.connect()
    waiting.data_received(GET)
    paused.data_received(post(10**6) + b"x" * 200_000)  # the application reads nothing
    await turns()
    assert for_room.is_paused
    await ticks(waiting, 1000)
    await ticks(paused, 1000)
    assert not for_an_answer.has_ended
    assert not for_room.has_ended


async def test_answer_when_its_client_takes_nothing_then_cut() -> None:
    server = Server(echo_size)
    protocol, transport = server.connect()
    protocol.data_received(GET)
    await turns()
    transport.unsent = 1000
    await ticks(protocol, limits.STALL_S)
    transport.unsent = 999
    await ticks(protocol, 1)
    assert not transport.has_ended
    await ticks(protocol, limits.STALL_S)
    assert (transport.events[-1], server.reasons) == ("aborted", ["stalled_answer"])


# --- answers before the end of a body


@pytest.mark.parametrize("framing", [b"Content-Length: 50000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_refused_upload_when_more_comes_then_half_closed_and_the_rest_is_discarded(framing: bytes) -> None:
    server = Server(refuse)
    protocol, transport = server.connect()
    protocol.data_received(POST + framing)
    await turns()
    assert transport.statuses == [401]
    assert b"connection: close" in transport.sent
    assert transport.events[-1] == "half-closed"
    protocol.data_received(b"x" * limits.MAX_DISCARDED_BYTES)
    assert transport.events[-1] == "half-closed"
    protocol.data_received(b"x")
    assert transport.events[-1] == "closed"
    assert server.reasons == []


async def test_refused_upload_when_the_client_goes_on_slowly_then_closed_after_a_second() -> None:
    protocol, transport = Server(refuse).connect()
    protocol.data_received(post(10**9))
    await turns()
    await asyncio.sleep(limits.DISCARD_S - 0.01)
    assert transport.events[-1] == "half-closed"
    await asyncio.sleep(0.02)
    assert transport.events[-1] == "closed"


async def test_refused_request_when_its_rest_is_small_then_the_connection_goes_on() -> None:
    protocol, transport = Server(refuse).connect()
    for _ in range(3):
        protocol.data_received(post(limits.MAX_REST_BYTES))
        await turns()
        protocol.data_received(b"x" * limits.MAX_REST_BYTES)
        await turns()
    assert (transport.statuses, transport.has_ended) == ([401, 401, 401], False)
    assert b"connection: close" not in transport.sent


async def test_refused_request_when_its_small_rest_never_comes_then_closed_without_a_second_answer() -> None:
    protocol, transport = Server(refuse).connect()
    protocol.data_received(post(100))
    await turns()
    await ticks(protocol, limits.BODY_PAUSE_S)
    assert (transport.statuses, transport.has_ended) == ([401], True)


async def test_refused_request_when_it_expects_100_continue_then_none_is_sent_and_it_ends() -> None:
    protocol, transport = Server(refuse).connect()
    protocol.data_received(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    await turns()
    assert (transport.statuses, transport.has_ended) == ([401], True)


@pytest.mark.parametrize("framing", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"])
async def test_large_body_when_read_whole_then_the_connection_goes_on(framing: bytes) -> None:
    protocol, transport = Server(echo_size).connect()
    for _ in range(2):
        protocol.data_received(POST + framing)
        await turns()
        for _ in range(10):
            protocol.data_received(b"x" * 10_000)
            await turns()
        if b"chunked" in framing:
            protocol.data_received(b"\r\n0\r\n\r\n")
        await turns()
    assert (transport.statuses, transport.has_ended) == ([200, 200], False)
    assert transport.sent.count(b"100000") == 2
    assert b"connection: close" not in transport.sent


# --- clients that close their half


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_half_close_when_after_the_request_then_it_is_answered_and_closed(version: bytes) -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET.replace(b"1.1", version))
    assert protocol.eof_received()
    await turns()
    server.may_answer.set()
    await turns()
    assert transport.statuses == [200]
    assert transport.events[-1] == "closed"


async def test_half_close_when_after_several_requests_then_all_are_answered() -> None:
    server = Server()
    protocol, transport = server.connect()
    protocol.data_received(GET * 3)
    assert protocol.eof_received()
    server.may_answer.set()
    for _ in range(4):
        await turns()
    assert transport.statuses == [200, 200, 200]
    assert transport.events[-1] == "closed"


async def test_half_close_when_a_request_is_cut_or_none_waits_then_the_connection_ends() -> None:
    server = Server(echo_size)
    (cut, _), (idle, _), (served, transport) = server.connect(), server.connect(), server.connect()
    cut.data_received(post(5) + b"x")
    served.data_received(GET)
    await turns()
    assert transport.statuses == [200]
    assert not any(protocol.eof_received() for protocol in (cut, idle, served))


async def test_half_close_when_the_answer_is_not_written_yet_then_it_is_written_first() -> None:
    protocol, transport = Server(echo_size).connect()
    protocol.data_received(GET)
    await asyncio.sleep(0)
    assert transport.events == []
    assert not protocol.eof_received()
    assert (transport.statuses, transport.events[-1]) == ([200], "closed")


async def test_half_close_when_a_stream_is_under_way_then_its_client_has_gone() -> None:
    async def stream(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"piece", "more_body": True})
        await receive()
        await receive()

    protocol, _ = Server(stream).connect()
    protocol.data_received(GET)
    await turns()
    assert not protocol.eof_received()


async def test_lost_connection_when_requests_are_pipelined_then_the_one_that_is_served_hears_of_it() -> None:
    heard = []

    async def listen(scope, receive, send) -> None:
        while (message := await receive())["type"] == "http.request":
            pass
        heard.append(message["type"])

    protocol, _ = Server(listen).connect()
    protocol.data_received(GET * 2)
    await turns()
    protocol.connection_lost(None)
    await turns()
    assert heard == ["http.disconnect"]


# --- the number of connections


async def test_connection_when_over_the_limit_and_all_are_busy_then_503() -> None:
    server = Server(max_open=2)
    busy = [server.connect() for _ in range(2)]
    for protocol, _ in busy:
        protocol.data_received(GET)
    _, transport = server.connect()
    await turns()
    assert (transport.statuses, server.reasons) == ([503], ["too_many_connections"])
    assert b"retry-after: 1" in transport.sent
    assert transport.events[-1] == "half-closed"
    server.may_answer.set()
    await turns()
    assert [transport.statuses for _, transport in busy] == [[200], [200]]


async def test_connection_when_over_the_limit_and_one_is_idle_then_that_one_makes_room() -> None:
    server = Server(echo_size, max_open=2)
    (kept, kept_transport), (_, silent) = server.connect(), server.connect()
    kept.data_received(GET)
    await turns()
    newest, transport = server.connect()
    newest.data_received(GET)
    await turns()
    assert (silent.events, kept_transport.has_ended, transport.statuses) == (["aborted"], False, [200])
    assert server.reasons == ["made_room"]


async def test_connection_when_it_was_refused_and_sends_no_more_of_its_body_then_it_makes_room() -> None:
    server = Server(refuse, max_open=1)
    held, held_transport = server.connect()
    held.data_received(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx")
    await turns()
    newest, transport = server.connect()
    newest.data_received(GET)
    await turns()
    assert (held_transport.statuses, "aborted" in held_transport.events, transport.statuses) == ([401], True, [401])


async def test_connection_when_its_answer_is_not_taken_yet_then_it_makes_no_room() -> None:
    server = Server(echo_size, max_open=2)
    (written, written_wire), (taking, taking_wire) = server.connect(), server.connect()
    for protocol in (written, taking):
        protocol.data_received(GET)
    await turns()
    taking_wire.unsent = 1
    written.data_received(GET)
    await asyncio.sleep(0)  # it is answered, and written at the end of this turn
    assert written_wire.statuses == [200]
    _, refused = server.connect()
    await turns()
    assert (written_wire.statuses, taking_wire.has_ended, refused.statuses) == ([200, 200], False, [503])
    taking_wire.unsent = 0
    await server.connections.tick(1)
    server.connect()
    assert "aborted" in [*written_wire.events, *taking_wire.events]


# --- our own errors


@pytest.mark.parametrize("broken", ["on_header", "on_headers_complete", "on_body", "on_message_complete"])
async def test_parser_when_our_callback_fails_then_500_with_its_traceback_and_no_other_is_touched(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(echo_size)

    def fail(*_: object) -> None:
        raise KeyError("a bug of ours")

    with monkeypatch.context() as patched:
        patched.setattr(HttpProtocol, broken, fail)
        protocol, transport = server.connect()
        protocol.data_received(post(2) + b"ab")
        await turns()
    assert (transport.statuses, transport.has_ended, server.reasons) == ([500], True, ["internal"])
    assert b"a bug of ours" not in transport.sent
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, KeyError)
    other, answered = server.connect()
    other.data_received(GET)
    await turns()
    assert answered.statuses == [200]


# --- uvicorn


async def test_uvicorn_when_a_release_changes_what_is_used_then_it_is_named_here() -> None:
    protocol, _ = Server().connect()
    protocol.data_received(GET)
    used = ("app_state", "connections", "cycle", "expect_100_continue", "flow", "headers", "loop", "parser", "pipeline",
            "scope", "server_state", "transport", "url")  # fmt: skip
    assert [name for name in used if not hasattr(protocol, name)] == []
    methods = ("_start_asgi_task", "on_body", "on_header", "on_headers_complete", "on_message_complete",
               "on_response_complete", "connection_lost", "connection_made", "data_received", "eof_received",
               "shutdown")  # fmt: skip
    assert [name for name in methods if name not in vars(HttpToolsProtocol)] == []
    of_a_cycle = ("chunked_encoding", "disconnected", "keep_alive", "message_event", "response_complete",
                  "response_started", "scope")  # fmt: skip
    assert [name for name in of_a_cycle if not hasattr(protocol.cycle, name)] == []
    assert isinstance(protocol.cycle, RequestResponseCycle)
    assert protocol.flow.read_paused is False
