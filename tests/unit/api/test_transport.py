"""api.transport: what is written in one turn of the loop goes out together, in order, and before the end."""

import asyncio

import pytest

from api.transport import GatheringTransport
from tests.fakes.http_server import FakeTransport

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def gathering(transport_below: FakeTransport) -> GatheringTransport:
    return GatheringTransport(transport_below, asyncio.get_running_loop())


async def test_write_when_in_one_turn_then_one_write_in_order() -> None:
    transport_below = FakeTransport()
    transport = gathering(transport_below)
    transport.write(b"head ")
    transport.write(bytearray(b"body"))
    assert transport_below.events == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert transport_below.events == [b"head body", b"next"]


async def test_close_when_something_is_left_then_written_first() -> None:
    transport_below = FakeTransport()
    transport = gathering(transport_below)
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert transport_below.events == [b"last", "closed"]


async def test_abort_when_something_is_left_then_it_is_dropped() -> None:
    transport_below = FakeTransport()
    transport = gathering(transport_below)
    transport.write(b"last")
    transport.abort()
    await asyncio.sleep(0)
    assert transport_below.events == ["aborted"]


async def test_write_when_the_client_has_gone_meanwhile_then_dropped() -> None:
    transport_below = FakeTransport()
    transport = gathering(transport_below)
    transport.write(b"last")
    transport_below.closing = True
    await asyncio.sleep(0)
    assert (transport_below.events, transport.is_closing()) == ([], True)


async def test_getattr_when_asked_for_anything_else_then_the_transports_own() -> None:
    assert gathering(FakeTransport()).get_extra_info("cipher") == "the cipher"


async def test_close_when_the_owner_reads_on_then_only_the_writing_half_ends() -> None:
    below = FakeTransport()
    transport = GatheringTransport(below, asyncio.get_running_loop(), keep_reading=lambda: True)
    transport.write(b"last")
    transport.close()
    transport.write(b"too late")
    await asyncio.sleep(0)
    assert (below.events, transport.is_closing()) == ([b"last", "half-closed"], True)
    transport.finish()
    assert below.events[-1] == "closed"


async def test_stalled_s_when_the_client_takes_something_then_counted_anew() -> None:
    below = FakeTransport()
    transport = gathering(below)
    below.unsent = 500
    assert [transport.stalled_s(1), transport.stalled_s(1), transport.stalled_s(1)] == [0, 1, 2]
    below.unsent = 400
    assert [transport.stalled_s(1), transport.stalled_s(1)] == [0, 1]
    below.unsent = 0
    assert [transport.stalled_s(1), transport.stalled_s(1)] == [0, 0]
