"""The write half of a connection: one write per turn of the loop, and an end that the client can see.

Knows nothing of HTTP.
"""

import asyncio
from collections.abc import Callable
from typing import Any

Bytes = bytes | bytearray | memoryview


class GatheringTransport:
    """Writes together what is written within one turn of the event loop; passes on all else.

    A second write is a second system call, here and for the client: without it a third more small requests are served.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_reading: Callable[[], bool] = lambda: False,
    ) -> None:
        """`keep_reading` is asked at `close`: True half-closes, and the owner reads on and calls `finish`."""
        self._transport = transport
        self._loop = loop
        self._keep_reading = keep_reading
        self._pieces: list[Bytes] = []
        # Asked for every piece that is read; the rest goes by __getattr__.
        self.is_closing = transport.is_closing
        self._unsent = 0
        self._stalled_s = 0.0

    def write(self, data: Bytes) -> None:
        """Write before the loop waits again."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Write what is left, then close, or half-close while the client still sends."""
        self._flush()
        if not self.is_closing() and self._transport.can_write_eof() and self._keep_reading():
            self._transport.write_eof()
            self.is_closing = lambda: True
        else:
            self._transport.close()

    def finish(self) -> None:
        """Write what is left, then close, whether half-closed or not."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._pieces.clear()
        self._transport.abort()

    def stalled_s(self, seconds: float) -> float:
        """Count `seconds` more; returns for how long the client has taken nothing of what waits to be sent."""
        unsent = self._transport.get_write_buffer_size()
        self._stalled_s = self._stalled_s + seconds if unsent and unsent == self._unsent else 0.0
        self._unsent = unsent
        return self._stalled_s

    def unsent_bytes(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if not self.is_closing():
                self._transport.write(data)
