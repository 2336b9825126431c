import asyncio
from collections.abc import AsyncGenerator

import anyio
import pytest
from starlette.types import Message

from api import output_stream
from api.output_stream import OutputStream
from ferry.errors import StorageError

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "path": "/v1/batches/b/output"}


class Client:
    """What the server passes on to a client; it leaves when told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.has_left = anyio.Event()
        self.is_stuck = False
        self.n_ends = 0
        self.is_closed = False

    async def receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.is_stuck and message["type"] == "http.response.body":
            await anyio.sleep_forever()
        self.messages.append(message)

    def stream(self, pieces: AsyncGenerator[bytes]) -> OutputStream:
        async def closing() -> AsyncGenerator[bytes]:
            try:
                async for piece in pieces:
                    yield piece
            finally:
                self.is_closed = True

        def end() -> None:
            self.n_ends += 1

        return OutputStream(closing(), "text/csv", {"X-Test": "1"}, on_end=end)

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(each["body"], each["more_body"]) for each in self.messages[1:]]


async def pieces_then(error: Exception | None = None, *, waits: bool = False) -> AsyncGenerator[bytes]:
    yield b"1\n"
    if error:
        raise error
    if waits:
        await anyio.sleep_forever()
    yield b"2\n"


async def test_stream_when_the_output_ends_then_the_body_does() -> None:
    client = Client()
    await client.stream(pieces_then())(SCOPE, client.receive, client.send)
    assert client.messages[0]["status"] == 200
    assert dict(client.messages[0]["headers"]) == {b"x-test": b"1", b"content-type": b"text/csv"}
    assert client.bodies == [(b"1\n", True), (b"2\n", True), (b"", False)]
    assert (client.n_ends, client.is_closed) == (1, True)


async def test_stream_when_it_ends_early_then_the_body_never_ends() -> None:
    client = Client()
    await client.stream(pieces_then(StorageError("away")))(SCOPE, client.receive, client.send)
    assert client.bodies == [(b"1\n", True)]
    assert client.n_ends == 1


async def test_stream_when_its_client_leaves_while_nothing_comes_then_all_is_freed() -> None:
    client = Client()
    sending = asyncio.ensure_future(client.stream(pieces_then(waits=True))(SCOPE, client.receive, client.send))
    while not client.bodies:  # noqa: ASYNC110 - the stream says nothing
        await asyncio.sleep(0)
    client.has_left.set()
    await sending
    assert client.bodies == [(b"1\n", True)]
    assert (client.n_ends, client.is_closed) == (1, True)


async def test_stream_when_its_client_takes_nothing_then_it_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_stream, "SEND_TIMEOUT_S", 0.0)
    client = Client()
    client.is_stuck = True
    await client.stream(pieces_then())(SCOPE, client.receive, client.send)
    assert client.bodies == []
    assert (client.n_ends, client.is_closed) == (1, True)
