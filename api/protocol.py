"""uvicorn's HTTP protocol with limits in front of it, whole answers, and an end at which no request is lost.

Raw bytes are counted before the parser keeps them. Owns one connection; api/connections.py knows them all. It uses
parts of uvicorn that are not documented: pyproject.toml bounds its version, a test names each part.
"""

import asyncio
from typing import Any, NoReturn, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api import http_limits as limits
from api.connections import Connections
from api.context import ANSWERED_STATUS
from api.http_limits import Violation
from api.parser_errors import violation_of
from api.request_heads import begun_head_bytes, head_without_upgrade
from api.stop_bell import STOP_BELL, StopBell
from api.transport import GatheringTransport

# The lifespan's state holds the process's Connections under this name.
CONNECTIONS = "connections"
# A kept-alive connection stays open this long when the server stops, for a request that was already on its way to it.
# It lies within the 100 ms that uvicorn takes anyway.
LINGER_S = 0.05
_CHUNKED = -1
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class _ViolationError(Exception):
    """Stops the parser in a callback; `HttpProtocol._violation` says why."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.has_served = False
        # Seconds of a head since its first byte, or by which a body is behind: fast bytes earn no time for slow ones.
        self.silent_s = 0.0
        self._all = app_state.get(CONNECTIONS) or Connections()
        self._bell: StopBell | None = app_state.get(STOP_BELL)
        if self._bell:
            self._bell.hang_among(server_state.connections)
        self._is_stopping = False
        # The request that is served now; uvicorn's `cycle` is the one that was read last.
        self._serving: RequestResponseCycle | None = None
        # Once set, bytes are discarded, and this is answered when the requests before it are.
        self._violation: Violation | None = None
        self._is_deaf = False
        self._n_discarded, self._max_discarded = 0, limits.MAX_DISCARDED_BYTES
        # The head or the body that is being read.
        self._is_in_body = False
        # The head that ends here asks for an upgrade: it is read again without it.
        self._asks_upgrade = False
        self._head_bytes = 0
        self._n_hosts = 0
        self._good_host = b""
        self._declared = 0
        self._body_bytes = 0
        self._framing_bytes = 0
        # The part of a body with a length that came last.
        self._last_body = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection."""
        self._wire = GatheringTransport(transport, self.loop, keep_reading=self._begin_to_discard)
        super().connection_made(cast(asyncio.Transport, self._wire))
        if not self._all.admit(self) and not transport.is_closing():
            self._end(limits.TOO_MANY_CONNECTIONS)
        if self._bell and self._bell.has_rung:  # accepted a moment before, so it was not told
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is served, too: uvicorn tells the one that was read last."""
        self._all.remove(self)
        self._is_in_body = False
        if self._serving:
            self._disconnect(self._serving)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns nothing
        """Stay open where a client has sent all of its requests and waits for answers.

        A client that has gone looks the same. Where an answer without a known end is under way it is taken for gone.
        """
        serving = self._serving
        if self._is_in_body or self._violation or serving is None or serving.response_complete:
            self._wire.finish()  # the last answer may be waiting for the end of this turn
            return False
        if serving.response_started and serving.chunked_encoding:
            return False
        self._is_deaf = True
        self.cycle.keep_alive = False
        return True

    # --- bytes from the client

    def data_received(self, data: bytes) -> None:
        """Count bytes, then parse them in pieces that the limits allow."""
        if self._is_deaf:
            self._discard(len(data))
            return
        if not self._is_in_body and not self._head_bytes:
            self.silent_s = 0.0
        if len(data) <= limits.MAX_FRAMING_BYTES - self._head_bytes:  # nearly always
            self._take(data)
            return
        rest = memoryview(data)
        while rest and not self._is_deaf:
            is_chunked = self._is_in_body and self._declared == _CHUNKED
            room = limits.MAX_FRAMING_BYTES if is_chunked else limits.MAX_HEAD_BYTES - self._head_bytes
            if not room:
                self._end(limits.HEAD_TOO_LARGE)
                return
            self._take(rest[:room])
            rest = rest[room:]

    def _take(self, data: Any) -> None:
        """Parse some bytes: no more than a head may still have."""
        rest: Any = data
        while rest is not None:
            if not self._is_in_body:
                self._head_bytes += len(rest)
            rest = self._feed(rest)

    def _feed(self, data: Any) -> Any:
        """Parse some bytes; returns those after a head that asked for an upgrade, else None."""
        cycle, was_in_body, n_body = self.cycle, self._is_in_body, self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._asks_upgrade:
                return self._ignore_upgrade(data, upgrade.args[0])
            self._is_deaf = True  # CONNECT
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._end(self._violation or violation_of(error, self.url))
        is_same = self.cycle is cycle
        if not self._is_in_body and (was_in_body or not is_same):
            self._count_begun_head(data)
        if was_in_body and self._is_in_body and is_same and self._declared == _CHUNKED and not self._is_deaf:
            self._framing_bytes += len(data) - (self._body_bytes - n_body)
            if self._framing_bytes > limits.MAX_FRAMING_BYTES + self._body_bytes:
                self._end(limits.FRAMING_TOO_LARGE)
        return None

    def _count_begun_head(self, data: Any) -> None:
        """Count what the piece that ended a message has of the next head."""
        if self.scope is not self.cycle.scope:
            self._head_bytes = begun_head_bytes(bytes(data), self._last_body)
        self._last_body = b""

    def _ignore_upgrade(self, data: Any, offset: int) -> Any:
        """Read a head again as if it asked for no upgrade, since its parser skips the body; returns the bytes after it.

        offset: of those bytes in `data`.
        """
        self._asks_upgrade = False
        self._declared = self._n_hosts = 0
        head = head_without_upgrade(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.scope["headers"]
        )
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(head)
        return None if self._is_deaf else memoryview(data)[offset:]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come after the request was handed on, are dropped."""
        if self._is_in_body:
            return
        name = name.lower()
        if name == b"host":
            self._n_hosts += 1
            if value != self._good_host:
                if not limits.is_host(value):
                    self._break_off(limits.BAD_HOST)
                self._good_host = value
        elif name in _FRAMING:
            self._declared = self._declared_by(name, value)
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers = self.headers
        headers.append((name, value))
        if len(headers) > limits.MAX_HEADERS:
            self._break_off(limits.TOO_MANY_HEADERS)

    def _declared_by(self, name: bytes, value: bytes) -> int:
        """Return how long a header says that the body is."""
        if name == b"content-length":
            if len(value) > limits.MAX_LENGTH_DIGITS:
                self._break_off(limits.LENGTH_TOO_LONG)
            return int(value)
        codings = [coding.strip() for coding in value.lower().split(b",")]
        if codings != [b"chunked"]:
            self._break_off(limits.UNKNOWN_CODING if codings[-1] == b"chunked" else limits.NOT_CHUNKED)
        return _CHUNKED

    def on_headers_complete(self) -> None:
        """Begin a request; while the server stops it is its connection's last."""
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._asks_upgrade = True
            return
        version, is_chunked = self.parser.get_http_version(), self._declared == _CHUNKED
        violation = limits.violation_of_head(version, len(self.url), n_hosts=self._n_hosts, is_chunked=is_chunked)
        if violation or len(self.pipeline) >= limits.MAX_PIPELINED:
            self._break_off(violation or limits.TOO_MANY_PIPELINED)
        super().on_headers_complete()
        self._is_in_body, self.silent_s = True, 0.0
        self._body_bytes = self._framing_bytes = self._head_bytes = 0
        self._last_body = b""
        if is_chunked or self._declared > limits.MAX_REST_BYTES or self.expect_100_continue:
            # An answer before the body's end says `connection: close`; `on_message_complete` takes it back.
            self.cycle.keep_alive = False
        if self._is_stopping:
            super().shutdown()

    def on_body(self, body: bytes) -> None:
        """Take bytes of a body."""
        self._body_bytes += len(body)
        self._last_body = body if self._declared != _CHUNKED else b""
        self.silent_s = max(0.0, self.silent_s - len(body) / limits.BODY_BYTES_PER_S)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body: whatever its size, the connection may stay open."""
        if self._asks_upgrade:
            return
        cycle = self.cycle
        if not cycle.keep_alive and not cycle.response_started and not self._is_stopping:
            cycle.keep_alive = self.parser.should_keep_alive() and cycle.scope["http_version"] == "1.1"
        self._is_in_body, self.silent_s = False, 0.0
        self._declared = self._n_hosts = self._head_bytes = 0
        super().on_message_complete()

    def _break_off(self, violation: Violation) -> NoReturn:
        """Stop the parser from within one of its callbacks; `_take` goes on."""
        self._violation = violation
        raise _ViolationError(violation.reason)

    # --- requests and answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._serving = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request of the connection, or wait for one."""
        self.server_state.total_requests += 1
        self.has_served = True
        self.silent_s = 0.0
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._violation:
            self._answer_violation()

    def shutdown(self) -> None:
        """End the connection: after the request that it serves, or after one that is just arriving."""
        self._is_stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_S, super().shutdown)
        else:
            super().shutdown()

    # --- the end

    def _end(self, violation: Violation) -> None:
        """Read no more; answer once the requests that came before are answered."""
        self._all.note(violation.reason)
        self._violation = violation
        self._is_deaf = True
        serving = self._serving
        is_of_serving = self._is_in_body and serving is self.cycle
        if serving and is_of_serving and (serving.response_started or serving.response_complete):
            self._disconnect(serving)  # its answer is out already
            self.transport.close()
        elif serving and is_of_serving:  # it waits for the rest of its body
            cast(dict[str, Any], serving.scope)[ANSWERED_STATUS] = int(violation.status)
            self._disconnect(serving)
            self._answer_violation()
        elif serving is None or serving.response_complete:
            self._answer_violation()
        elif self._is_in_body:  # the request that ends here waits behind others
            self.pipeline.popleft()

    def _answer_violation(self) -> None:
        if self._violation and not self.transport.is_closing():
            self.transport.write(self._violation.answer(self.server_state.default_headers))
            self.transport.close()

    @staticmethod
    def _disconnect(cycle: RequestResponseCycle) -> None:
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _begin_to_discard(self) -> bool:
        """Say whether the client may still be sending, so that closing at once would destroy its answer."""
        if not self._is_in_body and not self._violation:
            return False
        if self._violation:
            self._max_discarded = limits.MAX_DISCARDED_HEAD_BYTES
        self._is_deaf = True
        self.flow.resume_reading()
        self.loop.call_later(limits.DISCARD_S, self._wire.finish)
        return True

    def _discard(self, n_bytes: int) -> None:
        self._n_discarded += n_bytes
        if self._n_discarded > self._max_discarded:
            self._wire.finish()

    def cut(self) -> None:
        """Close at once."""
        self.transport.abort()

    # --- time

    def is_idle(self) -> bool:
        """Whether no request is served and no answer waits to be sent, or a head has not come on for a tick.

        The rest of a body whose answer is sent already counts for nothing.
        """
        is_serving = self._serving is not None and not self._serving.response_complete
        is_reading = not self._is_in_body and self._head_bytes > 0 and not self.silent_s
        return not (is_serving or is_reading or self._wire.unsent_bytes() or self.transport.is_closing())

    def tick(self, seconds: float) -> None:
        """Count time that the client takes; time that the server takes is not counted."""
        if self._wire.stalled_s(seconds) >= limits.STALL_S:
            self._all.note("stalled_answer")
            self.cut()
        if self.transport.is_closing() or self.flow.read_paused or self._is_deaf:
            return
        if self._is_in_body:
            self.silent_s += seconds
            if self.silent_s >= limits.BODY_PAUSE_S:
                self._end(limits.BODY_TIMEOUT)
        elif self._serving is None or self._serving.response_complete:
            self.silent_s += seconds
            if self._head_bytes and self.silent_s >= limits.HEAD_S:
                self._end(limits.HEAD_TIMEOUT)
            elif self.silent_s >= (limits.IDLE_S if self.has_served else limits.HEAD_S):
                self.transport.close()
