"""The body reader of this API process: started when it is first needed, asked one question at a time.

After it ended another one is started. Knows the messages, nothing of requests.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from typing import Any

import orjson

from api.body_frames import LENGTHS, head_of

# The largest body takes some 5 s; one that takes this long is given up.
ANSWER_LIMIT_S = 60.0
COMMAND = (sys.executable, "-m", "api.body_process")
# It parses and copies: threads of numpy's libraries would only take memory.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

logger = logging.getLogger(__name__)


class ReaderEndedError(Exception):
    """The process ended, or did not answer; the next question goes to a new one."""


class BodyHelper:
    """A process and the socket to it."""

    def __init__(self, command: tuple[str, ...] = COMMAND, limit_s: float = ANSWER_LIMIT_S) -> None:
        self._command = command
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process else None

    async def ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        """Return the answer and the bytes that came with it.

        Raises:
            ReaderEndedError: the process ended amid the question; ask another one, from the start.
        """
        connection = self._socket or self._start()
        try:
            async with asyncio.timeout(self._limit_s):
                answer, payload = await _exchange(connection, question, data)
        except (OSError, EOFError, TimeoutError) as error:
            logger.warning("body_reader_ended: %s; another one is started", self._stop(error))
            raise ReaderEndedError from error
        except BaseException:  # the caller is gone: what comes now would be taken for the answer to the next question
            self.close()
            raise
        if answer.pop("is_last"):
            self.close()
        return answer, payload

    def clear_ended(self) -> None:
        """Forget a process that ended while nothing was asked: no body is to blame for that end."""
        if self._process and self._process.poll() is not None:
            logger.warning("body_reader_ended: %s; another one is started", self._stop(None))

    def close(self) -> None:
        """End the process."""
        self._stop(None)

    def _start(self) -> socket.socket:
        mine, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(self._command, stdin=other.fileno(), env=os.environ | _ENVIRONMENT)
        mine.settimeout(0)
        self._socket = mine
        return mine

    def _stop(self, error: BaseException | None) -> str:
        """End the process; returns how it ended, in words."""
        process, connection = self._process, self._socket
        self._process = self._socket = None
        if connection:
            connection.close()
        if process is None:
            return ""
        if isinstance(error, TimeoutError):
            process.kill()
            process.wait()
            return f"no answer in {self._limit_s:g} s"
        try:
            status = process.wait(0.01 if error else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        return f"exit status {status}"


async def _exchange(
    connection: socket.socket, question: dict[str, Any], data: bytes
) -> tuple[dict[str, Any], memoryview]:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, head_of(question, len(data)))
    await loop.sock_sendall(connection, data)
    n_json, n_bytes = LENGTHS.unpack(await _exactly(connection, LENGTHS.size))
    answer = orjson.loads(await _exactly(connection, n_json))
    return answer, await _exactly(connection, n_bytes)


async def _exactly(connection: socket.socket, n_bytes: int) -> memoryview:
    loop = asyncio.get_running_loop()
    view, n_read = memoryview(bytearray(n_bytes)), 0
    while n_read < n_bytes:
        n_more = await loop.sock_recv_into(connection, view[n_read:])
        if not n_more:
            raise EOFError
        n_read += n_more
    return view
