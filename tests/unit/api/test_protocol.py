"""api.protocol: what is written in one turn of the loop goes out together, in order, and before the end."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from api.protocol import LINGER_S, HttpProtocol
from api.stop_bell import STOP_BELL, StopBell
from api.transport import GatheringTransport
from tests.fakes.skipping_loop import SkippingLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Moments are skipped."""
    return "asyncio", {"loop_factory": SkippingLoop}


class Socket:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.events.append(bytes(data))

    def close(self) -> None:
        self.closing = True
        self.events.append("closed")

    def abort(self) -> None:
        self.closing = True
        self.events.append("aborted")

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.events.append("half-closed")

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def gathering(socket: Socket) -> GatheringTransport:
    return GatheringTransport(socket, asyncio.get_running_loop())


async def test_write_when_in_one_turn_then_one_write_in_order() -> None:
    socket = Socket()
    transport = gathering(socket)
    transport.write(b"head ")
    transport.write(bytearray(b"body"))
    assert socket.events == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert socket.events == [b"head body", b"next"]


async def test_close_when_something_is_left_then_written_first() -> None:
    socket = Socket()
    transport = gathering(socket)
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert socket.events == [b"last", "closed"]


async def test_abort_when_something_is_left_then_it_is_dropped() -> None:
    socket = Socket()
    transport = gathering(socket)
    transport.write(b"last")
    transport.abort()
    await asyncio.sleep(0)
    assert socket.events == ["aborted"]


async def test_write_when_the_client_has_gone_meanwhile_then_dropped() -> None:
    socket = Socket()
    transport = gathering(socket)
    transport.write(b"last")
    socket.closing = True
    await asyncio.sleep(0)
    assert (socket.events, transport.is_closing()) == ([], True)


async def test_getattr_when_asked_for_anything_else_then_the_transports_own() -> None:
    assert gathering(Socket()).get_extra_info("peername") == "the peername"
    assert HttpProtocol.__mro__[1].__module__.startswith("uvicorn.")


# --- the end


class Server:
    """What uvicorn's server is to its connections: an application that answers when it is let, and their end."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.n_rings = 0
        self.app_state: dict[str, Any] = {STOP_BELL: StopBell(self._ring)}
        self.may_answer = asyncio.Event()
        self._config = Config(self._app, log_config=None, lifespan="off", ws="none", interface="asgi3")

    def _ring(self) -> None:
        self.n_rings += 1

    async def _app(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def connect(self) -> tuple[HttpProtocol, "Wire"]:
        protocol, wire = HttpProtocol(self._config, self.state, self.app_state), Wire()
        protocol.connection_made(wire)
        return protocol, wire

    def stop(self) -> None:
        """As uvicorn.Server.shutdown."""
        for connection in list(self.state.connections):
            connection.shutdown()


class Wire(Socket):
    """A transport to nowhere."""

    def get_extra_info(self, name: str) -> None:
        return None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    @property
    def sent(self) -> bytes:
        return b"".join(event for event in self.events if isinstance(event, bytes))


REQUEST = b"GET / HTTP/1.1\r\nhost: ferry\r\n\r\n"


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_shutdown_when_a_request_is_under_way_then_it_is_answered_and_its_connection_closed() -> None:
    server = Server()
    protocol, wire = server.connect()
    protocol.data_received(REQUEST)
    await turns()
    server.stop()
    server.may_answer.set()
    await turns()
    assert b"connection: close" in wire.sent
    assert wire.sent.endswith(b"ok")
    assert wire.events[-1] == "closed"


async def test_shutdown_when_a_request_is_just_arriving_then_it_is_answered_and_its_connection_closed() -> None:
    server = Server()
    server.may_answer.set()
    protocol, wire = server.connect()
    protocol.data_received(REQUEST)
    await turns()
    assert b"connection: close" not in wire.sent
    server.stop()
    assert not wire.closing
    protocol.data_received(REQUEST)
    await turns()
    assert wire.sent.count(b"200 OK") == 2
    assert wire.sent.count(b"connection: close") == 1
    assert wire.closing


@pytest.mark.parametrize("has_served", [True, False])
async def test_shutdown_when_nothing_comes_then_the_connection_is_closed_after_a_moment(has_served: bool) -> None:
    server = Server()
    server.may_answer.set()
    protocol, wire = server.connect()
    if has_served:
        protocol.data_received(REQUEST)
        await turns()
    server.stop()
    assert not wire.closing
    await asyncio.sleep(LINGER_S)
    await turns()
    assert wire.closing


async def test_shutdown_when_a_connection_comes_too_late_to_be_told_then_it_ends_like_the_others() -> None:
    server = Server()
    server.connect()
    server.stop()
    _, wire = server.connect()
    await asyncio.sleep(LINGER_S)
    await turns()
    assert wire.closing
    assert server.n_rings == 1
    assert server.app_state[STOP_BELL] not in server.state.connections


async def test_bell_when_the_server_stops_then_it_rings_once_and_holds_nothing_up() -> None:
    server = Server()
    for _ in range(3):
        protocol, _ = server.connect()
        protocol.connection_lost(None)
    assert server.state.connections == {server.app_state[STOP_BELL]}
    server.stop()
    assert (server.n_rings, server.state.connections) == (1, set())


async def test_protocol_when_the_application_hung_no_bell_then_connections_end_all_the_same() -> None:
    server = Server()
    server.app_state.clear()
    _, wire = server.connect()
    server.stop()
    await asyncio.sleep(LINGER_S)
    await turns()
    assert wire.closing
