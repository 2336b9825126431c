"""uvicorn's side of a connection without a socket: a transport that keeps what is written, and a small application."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from api.connections import Connections
from api.protocol import CONNECTIONS, HttpProtocol
from api.stop_bell import STOP_BELL, StopBell


class FakeTransport:
    """Keeps what is done to it."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.closing = False
        self.is_paused = False
        self.unsent = 0

    def write(self, data: bytes) -> None:
        assert "half-closed" not in self.events
        self.events.append(bytes(data))

    def close(self) -> None:
        self.closing = True
        self.events.append("closed")

    def abort(self) -> None:
        self.closing = True
        self.events.append("aborted")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.events.append("half-closed")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> str | None:
        return None if name in ("socket", "sockname", "peername", "sslcontext") else f"the {name}"

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    @property
    def sent(self) -> bytes:
        """All that was written."""
        return b"".join(event for event in self.events if isinstance(event, bytes))

    @property
    def statuses(self) -> list[int]:
        """The status of each answer that was written."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.sent)]

    @property
    def has_ended(self) -> bool:
        """Whether the client sees an end."""
        return "half-closed" in self.events or self.closing


class Server:
    """What uvicorn's server is to its connections; `app` None answers when `may_answer` is set."""

    def __init__(self, app: Callable[..., Any] | None = None, *, max_open: int = 100) -> None:
        self.state = ServerState()
        self.n_rings = 0
        self.reasons: list[str] = []
        self.connections = Connections(max_open=max_open, count=self.reasons.append)
        self.app_state: dict[str, Any] = {STOP_BELL: StopBell(self._ring), CONNECTIONS: self.connections}
        self.may_answer = asyncio.Event()
        self._config = Config(app or self._app, log_config=None, lifespan="off", ws="none", interface="asgi3")

    def _ring(self) -> None:
        self.n_rings += 1

    async def _app(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await self.may_answer.wait()
        await answer(send)

    def connect(self) -> tuple[HttpProtocol, FakeTransport]:
        """Open a connection."""
        protocol, transport = HttpProtocol(self._config, self.state, self.app_state), FakeTransport()
        protocol.connection_made(transport)
        return protocol, transport

    def stop(self) -> None:
        """As uvicorn.Server.shutdown."""
        for connection in list(self.state.connections):
            connection.shutdown()


async def answer(send: Callable[[Any], Any], status: int = 200, body: bytes = b"ok") -> None:
    """Answer with a length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def echo_size(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """An application that reads the whole body and answers how large it is."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            await answer(send, body=b"%d" % size)
            return


async def refuse(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """An application that reads nothing."""
    await answer(send, 401, b"no")


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(8):
        await asyncio.sleep(0)
