"""How the application hears that uvicorn begins to stop. Knows nothing of HTTP."""

from collections.abc import Callable
from typing import Any

# The lifespan's state holds a StopBell under this name.
STOP_BELL = "stop_bell"


class StopBell:
    """Rings once, when the server begins to stop. To uvicorn it is one more open connection.

    uvicorn calls `shutdown` of its open connections. A request whose client has gone has none, and may still wait.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self.has_rung = False
        self._ring = ring
        self._connections: set[Any] = set()

    def hang_among(self, connections: set[Any]) -> None:
        """Join these: `shutdown` is called on each of them."""
        if not self.has_rung:
            self._connections = connections
            connections.add(self)

    def shutdown(self) -> None:
        """Ring, and leave the connections: uvicorn waits until there is none."""
        self.has_rung = True
        self._connections.discard(self)
        self._ring()
