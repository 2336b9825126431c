"""Shares of the event loop's passes: a hundred bodies of one moment do not hold it together. Knows no bodies."""

import asyncio
from collections import deque


class LoopPasses:
    """Shares the passes of the event loop: in each, so many bytes of bodies have their turn, and at least one piece.

    Without it a hundred bodies that come in one moment would be parsed before anybody else has a turn.
    """

    def __init__(self, bytes_per_pass: int) -> None:
        self._bytes_per_pass = bytes_per_pass
        self._spent = 0
        self._is_counting = False
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def enters(self, n_bytes: int) -> bool:
        """Say whether so many bytes have their turn at once, and count them; else they must wait for `turn`."""
        if self._waiting or not self._has_room(n_bytes):
            return False
        self._spent += n_bytes
        self._count()
        return True

    def turn(self, n_bytes: int) -> asyncio.Future[None]:
        """Return what is done in a later pass, when so many bytes have their turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((n_bytes, turn))
        self._count()
        return turn

    def _count(self) -> None:
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._next_pass)

    def _has_room(self, n_bytes: int) -> bool:
        return self._spent == 0 or self._spent + n_bytes <= self._bytes_per_pass

    def _next_pass(self) -> None:
        self._spent = 0
        while self._waiting and self._has_room(self._waiting[0][0]):
            n_bytes, turn = self._waiting.popleft()
            if not turn.done():  # it is when its request was canceled
                self._spent += n_bytes
                turn.set_result(None)
        self._is_counting = bool(self._spent)
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._next_pass)
