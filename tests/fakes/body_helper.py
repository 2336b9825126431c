"""The body reader without a process: `api.body_helper.BodyHelper` as the tests of requests need it."""

import asyncio
from typing import Any

import orjson

from api.body_frames import LENGTHS, head_of
from api.body_helper import BodyHelper, ReaderEndedError
from api.body_process import BodyReader


class FakeHelper(BodyHelper):
    """Answers in this process, and keeps what it was asked."""

    def __init__(self, ends_at: tuple[int, ...] = ()) -> None:
        """ends_at: numbers of the questions, from 0, at which the process ends."""
        super().__init__()
        self._reader = BodyReader()
        self._ends_at = ends_at
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        place = len(self.asked)
        self.asked.append(next(iter(question), "read"))
        await self.gate.wait()
        if place in self._ends_at:
            self._reader = BodyReader()
            raise ReaderEndedError
        answer, payloads = self._reader.answer(question, data)
        text = head_of(answer, 0)[LENGTHS.size :]  # through JSON, as the real one
        return orjson.loads(text), memoryview(b"".join(payloads))
