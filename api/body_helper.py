"""The body reader of this API process: started when it is first needed, asked one question at a time.

After it ended another one is started. Knows the messages, nothing of requests.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import orjson

from api.body_frames import LENGTHS, head_of

# The largest body takes some 5 s; one that takes this long is given up.
ANSWER_LIMIT_S = 60.0
# A process that closed its end of the socket has this long to exit by itself, for the log: then it is killed.
EXIT_S = 1.0
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
        self._ending: set[subprocess.Popen[bytes]] = set()

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
            self._discard(error)
            raise ReaderEndedError from error
        except BaseException:  # the caller is gone: what comes now would be taken for the answer to the next question
            self._discard()
            raise
        if answer.pop("is_last"):
            self._discard()
        return answer, payload

    def clear_ended(self) -> None:
        """Forget a process that ended while nothing was asked: no body is to blame for that end."""
        if self._process and self._process.poll() is not None:
            logger.warning("body_reader_ended: exit status %d; another one is started", self._process.returncode)
            self._let_go()

    def close(self) -> None:
        """End the process, and wait until it and those before it have ended. Only for the end of this process."""
        process = self._let_go()
        for each in [*self._ending, *([process] if process else [])]:
            _end(each, wait_s=0)

    def _start(self) -> socket.socket:
        mine, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(self._command, stdin=other.fileno(), env=os.environ | _ENVIRONMENT)
        mine.settimeout(0)
        self._socket = mine
        return mine

    def _let_go(self) -> subprocess.Popen[bytes] | None:
        process, connection = self._process, self._socket
        self._process = self._socket = None
        if connection:
            connection.close()
        return process

    def _discard(self, error: BaseException | None = None) -> None:
        """Have a thread wait for the end of the process: the system takes 90 ms to free 1 GB."""
        process = self._let_go()
        if process is None:
            return
        wait_s = EXIT_S
        if error is None or isinstance(error, TimeoutError):
            process.kill()
            wait_s = 0
        self._ending.add(process)
        threading.Thread(target=self._reap, args=(process, error, wait_s), daemon=True).start()

    def _reap(self, process: subprocess.Popen[bytes], error: BaseException | None, wait_s: float) -> None:
        how = _end(process, wait_s=wait_s)
        if isinstance(error, TimeoutError):
            how = f"no answer in {self._limit_s:g} s"
        if error:
            logger.warning("body_reader_ended: %s; another one is started", how)
        self._ending.discard(process)


def _end(process: subprocess.Popen[bytes], *, wait_s: float) -> str:
    """Wait for the end of a process, and kill it when it does not come; returns how it ended, in words."""
    try:
        status = process.wait(wait_s)
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
