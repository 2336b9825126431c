"""uvicorn's HTTP protocol with head and body of a response in one write, and an end at which nobody waits.

A second write is a second system call, here and for the client: without it a third more small requests are served.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# The lifespan's state holds a StopBell under this name.
STOP_BELL = "stop_bell"
# A kept-alive connection stays open this long when the server stops, for a request that was already on its way to it.
# It lies within the 100 ms that uvicorn takes anyway.
LINGER_S = 0.05


class GatheringTransport:
    """Passes on together what is written within one turn of the event loop; all else goes straight through."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes | bytearray | memoryview] = []
        # Asked for every piece that is read; the rest goes by __getattr__.
        self.is_closing = transport.is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write before the loop waits again."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Write what is left, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._pieces.clear()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if not self._transport.is_closing():
                self._transport.write(data)


class StopBell:
    """Rings once, when the server begins to stop. To uvicorn it is one more open connection.

    Open connections are what uvicorn tells that it stops. A request whose client has gone has none, and may wait on.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self.has_rung = False
        self._ring = ring
        self._connections: set[Any] = set()

    def hang_among(self, connections: set[Any]) -> None:
        """Be told when these are."""
        if not self.has_rung:
            self._connections = connections
            connections.add(self)

    def shutdown(self) -> None:
        """Ring, and be no connection any more: uvicorn waits until there is none."""
        self.has_rung = True
        self._connections.discard(self)
        self._ring()


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that gathers."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._is_stopping = False
        self._bell: StopBell | None = app_state.get(STOP_BELL)
        if self._bell:
            self._bell.hang_among(server_state.connections)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection."""
        super().connection_made(cast(asyncio.Transport, GatheringTransport(transport, self.loop)))
        if self._bell and self._bell.has_rung:  # accepted a moment before, so it was not told
            self.shutdown()

    def on_headers_complete(self) -> None:
        """Begin a request; while the server stops it is its connection's last."""
        super().on_headers_complete()
        if self._is_stopping:
            super().shutdown()

    def shutdown(self) -> None:
        """End the connection: after the request that it serves, or after one that is just arriving."""
        self._is_stopping = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER_S, super().shutdown)
        else:
            super().shutdown()
