"""api.protocol: what is written in one turn of the loop goes out together, in order, and before the end."""

import asyncio

import pytest

from api.protocol import GatheringProtocol, GatheringTransport

pytestmark = pytest.mark.anyio


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
    assert GatheringProtocol.__mro__[1].__module__.startswith("uvicorn.")
