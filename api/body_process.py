"""A body reader: the process that parses and checks the large bodies of one API process (`python -m api.body_process`).

Standard input is a socket. One message brings a body, the next the manifest of the model that it names; what goes back
is small, or packed for the queue. It ends with the API process, whose end of the socket closes. Knows no HTTP.
"""

import gc
import logging
import os
import re
import signal
import socket
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from api.body_frames import LENGTHS, error_to_wire, head_of, inputs_to_wire, reference_to_wire
from api.job_bodies import JobBody, Kind
from ferry.errors import ConfigError, FerryError, InvalidInputError
from ferry.manifest import Manifest
from ferry.tensors import Codec, codec_of

# A process that once needed so much does not give all of it back, so another one takes its place.
LARGE_RSS_BYTES = 512 * 2**20
# The event loop that waits for this process goes first.
NICENESS = 5
# Of 1,000; what is higher is ended first.
OOM_SCORE_ADJ = 500

logger = logging.getLogger(__name__)


def main() -> int:
    """Answer until the API process closes its end; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal: the API process ends first
    os.nice(NICENESS)
    # Where memory is short the system ends this process before the API: one body is lost then, not all requests.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
    # JSON has no cycles, and the collector would look at a million lists again and again.
    gc.disable()
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as connection:
        connection.settimeout(None)
        try:
            return _serve(connection)
        except ConnectionError:  # the API process closed its end amid an answer
            return 0
        except Exception:
            _configure_log()
            logger.exception("body_reader_failed: it ends; another one is started")
            return 1


class BodyReader:
    """Answers the messages about one body after another."""

    def __init__(self) -> None:
        self._body: JobBody | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no body is held."""
        return self._body is None

    def answer(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Return the answer to a message, and the bytes that follow it; `data` came with the message."""
        try:
            if "kind" in question:
                return self._open(Kind(question["kind"]), data, question["json_length"]), []
            if "forget" in question:
                self._body = None
                return {}, []
            inputs = self._taken().read(*_model(data))
            return inputs_to_wire(inputs), [job.payload for job in inputs.jobs]
        except FerryError as error:
            found = error
        except MemoryError:
            found = InvalidInputError.at("#", "there is not enough memory for the body; send fewer rows a job")
        except Exception:
            _configure_log()
            logger.exception("body_reader_failed: a body could not be read")
            found = FerryError("an error in Ferry itself; it is in the API's log")
        self._body = None
        return {"error": error_to_wire(found)}, []

    def _taken(self) -> JobBody:
        body, self._body = self._body, None
        if body is None:
            raise TypeError("a manifest came before a body")
        return body

    def _open(self, kind: Kind, raw: bytes, json_length: str | None) -> dict[str, Any]:
        self._body = None  # its memory is free before the next is parsed
        self._body = JobBody(kind, raw, json_length)
        return reference_to_wire(self._body.reference)


def _serve(connection: socket.socket) -> int:
    reader = BodyReader()
    while True:
        try:
            question, data = _receive(connection)
        except EOFError:
            return 0
        answer, payloads = reader.answer(question, data)
        is_last = reader.is_empty and _has_grown()
        connection.sendall(head_of(answer | {"is_last": is_last}, sum(map(len, payloads))))
        for payload in payloads:
            connection.sendall(payload)
        if is_last:
            return 0
        del data, payloads
        gc.collect()


def _receive(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    n_json, n_bytes = LENGTHS.unpack(_exactly(connection, LENGTHS.size))
    return orjson.loads(_exactly(connection, n_json)), _exactly(connection, n_bytes)


def _exactly(connection: socket.socket, n_bytes: int) -> bytes:
    buffer = bytearray(n_bytes)
    view, n_read = memoryview(buffer), 0
    while n_read < n_bytes:
        n_more = connection.recv_into(view[n_read:])
        if not n_more:
            raise EOFError
        n_read += n_more
    return bytes(buffer)


@lru_cache(maxsize=8)
def _model(manifest: bytes) -> tuple[Manifest, Codec]:
    read = Manifest.model_validate_json(manifest)
    return read, codec_of(read.inputs, is_batched=read.is_batched)


def _has_grown() -> bool:
    # getrusage would tell the peak of the process that started this one, where that was larger.
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # not on Linux
        return False
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return found is not None and int(found[1]) * 1024 > LARGE_RSS_BYTES


def _configure_log() -> None:
    """Let a line about an error of ours be as those of the API: without the error's text, which may quote rows."""
    # Imported here, where a process needs them: else they would take a third of the time in which it starts.
    from ferry.logs import configure_logging  # noqa: PLC0415
    from ferry.settings import Settings, load_settings  # noqa: PLC0415

    try:
        settings = load_settings()
    except ConfigError:  # .env was changed since the API started
        settings = Settings.model_construct()
    configure_logging(settings)


if __name__ == "__main__":
    sys.exit(main())
