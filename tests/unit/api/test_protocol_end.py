"""api.protocol when the server stops: requests under way or on their way are answered, and nothing holds it up."""

import asyncio
from typing import Any

import pytest

from api.protocol import LINGER_S
from api.stop_bell import STOP_BELL
from tests.fakes.http_server import Server, turns
from tests.fakes.skipping_loop import SkippingLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Moments are skipped."""
    return "asyncio", {"loop_factory": SkippingLoop}


REQUEST = b"GET / HTTP/1.1\r\nhost: ferry\r\n\r\n"


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
