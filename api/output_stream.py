"""A response that follows a batch: chunks as they come, and an end that its client can tell from a cut.

The end of the output is the end of the chunked body. Where the stream ends early the connection is cut instead, so no
client takes a part for the whole.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.batch_output import FollowEndedError
from ferry.errors import FerryError

# A client that takes nothing for this long is let go.
SEND_TIMEOUT_S = 60.0

logger = logging.getLogger(__name__)


class OutputStream(Response):
    """Sends pieces until they end, the client leaves, or one of them cannot be had."""

    def __init__(
        self, pieces: AsyncGenerator[bytes], media_type: str, headers: dict[str, str], *, on_end: Callable[[], None]
    ) -> None:
        """`on_end` is called once, however the response ends."""
        self._pieces = pieces
        self._on_end = on_end
        # Starlette would add a charset to text/csv that the file may not have.
        super().__init__(None, headers=headers | {"Content-Type": media_type})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_await_leave, receive, group.cancel_scope)
                await self._send(scope, send)
                group.cancel_scope.cancel()
        finally:
            self._on_end()

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    with anyio.fail_after(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (FollowEndedError, FerryError, TimeoutError) as error:
            # The server closes the connection of a response that was not ended.
            reason = "its client takes nothing" if isinstance(error, TimeoutError) else str(error)
            logger.warning("%s ends early: %s", scope["path"], reason)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _await_leave(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
