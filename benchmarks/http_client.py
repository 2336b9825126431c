"""A small HTTP/1.1 client for asyncio that costs the generator little: ready-made requests, kept connections."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, header lines in lower case, body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> str:
        """Return a header's value, empty when absent. `name` in lower case."""
        _, found, rest = self.head.partition(b"\r\n" + name + b": ")
        return rest.partition(b"\r\n")[0].decode() if found else ""


class _Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = bytes(self._buffer[:end]).lower()
        _, _, rest = head.partition(b"\r\ncontent-length: ")
        size, start = int(rest.partition(b"\r\n")[0] or 0), end + 4
        if len(self._buffer) >= start + size and not self._answer.done():
            body = bytes(self._buffer[start : start + size])
            self._buffer.clear()
            self._answer.set_result(Answer(int(head[9:12]), head + b"\r\n", body))

    async def send(self, request: bytes) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)  # type: ignore[union-attr]
        return await self._answer

    def close(self) -> None:
        if self._transport:
            self._transport.close()


class HttpClient:
    """Sends ready-made requests to one server; opens connections as they are needed, up to MAX_CONNECTIONS."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._idle: list[_Connection] = []
        self._all: list[_Connection] = []
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    def request(self, method: str, path: str, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> bytes:
        """Return a request's bytes."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    async def send(self, request: bytes) -> Answer:
        """Send a request on a free connection.

        Raises:
            OSError: the connection broke.
        """
        async with self._room:
            while self._idle:
                connection = self._idle.pop()
                if connection.is_open:
                    break
            else:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self._host, self._port)
                self._all.append(connection)
            answer = await connection.send(request)
            self._idle.append(connection)
            return answer

    def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            connection.close()
