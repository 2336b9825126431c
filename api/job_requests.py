"""From a request to its jobs' inputs: the body is read, and small or large it costs the event loop a few milliseconds.

Small bodies are parsed here, about SMALL_BYTES of them between two turns of everybody else. Larger ones go to the body
reader, one at a time in the order in which they came; so many wait, and no more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, Self

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.bodies import read_body
from api.body_frames import error_from_wire, inputs_from_wire, reference_from_wire
from api.body_helper import BodyHelper, ReaderEndedError
from api.catalog import Entry
from api.job_bodies import JobBody, JobInputs, Kind, Reference, json_bytes_of
from api.loop_passes import LoopPasses
from api.problems import BodyTooSlowError
from ferry.errors import ServerBusyError

# The worst JSON of so many bytes takes 3 ms to parse and 5 ms to check (docs/decisions/0008); 784 numbers have 6,000.
SMALL_BYTES = 64 * 2**10
# Bodies up to this size, as most are, do not wait behind larger small ones.
TINY_BYTES = 16 * 2**10
# Large bodies of one process that wait for their turn.
MAX_WAITING = 128
# Large bodies of one process that are in memory, as so many of the largest size.
MAX_LARGEST_BODIES = 4
# Of all large bodies together so much is received in one pass of the event loop, which takes about 0.3 ms.
RECEIVED_BYTES = 512 * 2**10
# A large body is in memory while the rest of it comes, in the place of others: from the moment when it is large, it may
# take so long and as long again as this rate needs for what has come.
LARGE_PATIENCE_S = 60.0
LARGE_BYTES_PER_S = 32 * 2**10
RETRY_AFTER_S = 2


class Finder(Protocol):
    """What a body needs of the catalog (api.catalog.Catalog)."""

    def peek(self, name: str, version: str | None = None) -> Entry | None:
        """Return what is known right now."""

    async def find(self, name: str, version: str | None = None) -> Entry:
        """Return a version of a model, after another look where it is not known."""


class JobRequests:
    """Reads the bodies of one process."""

    def __init__(
        self, max_body_bytes: int, helper: BodyHelper | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.max_body_bytes = max_body_bytes
        self._max_held_bytes = MAX_LARGEST_BODIES * max_body_bytes
        self.helper = helper or BodyHelper()
        self._turn = asyncio.Lock()
        self.parsing = LoopPasses(SMALL_BYTES)
        self.tiny = LoopPasses(SMALL_BYTES)
        self._receiving = LoopPasses(RECEIVED_BYTES)
        self._n_waiting = 0
        self._held_bytes = 0

    def opened(
        self,
        request: Request,
        headers: Mapping[str, str],
        kind: Kind,
        *,
        json_length: str | None = None,
        has_text: bool = False,
    ) -> "_Opening":
        """Return what reads a body on entering (`async with`), and holds it until its inputs were read.

        json_length: as in `JobBody`. has_text: what follows the JSON may be text, which costs as JSON does.

        Raises:
            UnsupportedMediaTypeError, BodyTooLargeError, MalformedRequestError, InvalidInputError: as named.
            BodyTooSlowError: a large body came too slowly.
            ServerBusyError: too many large bodies wait, or the body reader ended twice.
            ClientDisconnect: the client went away before it had sent everything.
        """
        return _Opening(self, request, headers, kind, json_length, has_text)

    def close(self) -> None:
        """End the body reader."""
        self.helper.close()

    async def enter(self, request: Request) -> None:
        """Wait for the turn of a large body at the body reader; `leave` ends it.

        Raises:
            ServerBusyError: too many wait.
            ClientDisconnect: the client went away before its turn.
        """
        if self._n_waiting >= MAX_WAITING:
            detail = f"{self._n_waiting} large bodies wait to be read, the limit of an API process is {MAX_WAITING}"
            raise ServerBusyError(f"{detail}; send it again later", retry_after_s=RETRY_AFTER_S)
        self._n_waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._n_waiting -= 1
        is_gone = True
        try:
            is_gone = await request.is_disconnected()
        finally:
            if is_gone:
                self._turn.release()
        if is_gone:
            raise ClientDisconnect

    def leave(self) -> None:
        """End a turn: the next body has its turn."""
        self._turn.release()

    def hold(self, n_bytes: int) -> asyncio.Future[None]:
        """Count bytes of a large body that are in memory from now on; returns when more may be received.

        Raises:
            ServerBusyError: there are too many.
        """
        if self._held_bytes + n_bytes > self._max_held_bytes:
            detail = (
                f"large bodies take {self._held_bytes} bytes, the limit of an API process is {self._max_held_bytes}"
            )
            raise ServerBusyError(f"{detail}; send it again later, or fewer rows a job", retry_after_s=RETRY_AFTER_S)
        self._held_bytes += n_bytes
        return self._receiving.turn(n_bytes)

    def release(self, n_bytes: int) -> None:
        """Take back what `hold` counted."""
        self._held_bytes -= n_bytes


class _Opening:
    """Reads one body, and counts what of it is in memory; a small one is not counted.

    A class, since a generator as the context manager costs a small request 9 us more.
    """

    __slots__ = (
        "_has_text", "_headers", "_json_length", "_kind", "_large", "_large_at", "_n_bytes", "_n_held", "_request",
        "_requests",
    )  # fmt: skip

    def __init__(
        self,
        requests: JobRequests,
        request: Request,
        headers: Mapping[str, str],
        kind: Kind,
        json_length: str | None,
        has_text: bool,  # noqa: FBT001  keywords cost time, and `opened` has them
    ) -> None:
        self._requests = requests
        self._request = request
        self._headers = headers
        self._kind = kind
        self._json_length = json_length
        self._has_text = has_text
        self._n_bytes = self._n_held = 0
        self._large_at = 0.0
        self._large: LargeBody | None = None

    async def __aenter__(self) -> "SmallBody | LargeBody":
        try:
            raw = await read_body(
                self._request, self._headers, max_bytes=self._requests.max_body_bytes, on_piece=self._add
            )
            n_costly = len(raw) if self._has_text else json_bytes_of(self._json_length, len(raw))
            if n_costly <= SMALL_BYTES:
                passes = self._requests.tiny if n_costly <= TINY_BYTES else self._requests.parsing
                if not passes.enters(n_costly):
                    await passes.turn(n_costly)
                return SmallBody(JobBody(self._kind, raw, self._json_length))
            self._large = LargeBody(self._requests, self._request, self._kind, raw, self._json_length)
            return await self._large.open()
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *error: Any) -> None:
        try:
            if self._large is not None:
                await self._large.close()
        finally:
            self._release()

    def _release(self) -> None:
        if self._n_held:
            self._requests.release(self._n_held)

    def _add(self, n_bytes: int) -> Awaitable[None] | None:
        self._n_bytes += n_bytes
        if self._n_bytes <= SMALL_BYTES:
            return None
        now = self._requests.clock()
        if not self._n_held:
            self._large_at = now
        elif now - self._large_at > LARGE_PATIENCE_S + self._n_bytes / LARGE_BYTES_PER_S:
            detail = f"{self._n_bytes} bytes of the body took {now - self._large_at:.0f} s; a body of more than"
            limit = f"{SMALL_BYTES} bytes must come at {LARGE_BYTES_PER_S} bytes/s, {LARGE_PATIENCE_S:.0f} s aside"
            raise BodyTooSlowError(f"{detail} {limit}; send fewer rows a job, or a file (POST /v1/files)")
        turn = self._requests.hold(self._n_bytes - self._n_held)
        self._n_held = self._n_bytes
        return turn


class SmallBody:
    """A body that was parsed in this process."""

    def __init__(self, body: JobBody) -> None:
        self._body = body
        self.reference = body.reference

    async def find(self, catalog: Finder, name: str, version: str | None) -> Entry:
        """Return a model, as `Catalog.find`."""
        return await catalog.find(name, version)

    async def read(self, entry: Entry) -> JobInputs:
        """Return the inputs of its jobs, for the queue.

        Raises:
            InvalidInputError: with a pointer to the field at fault.
        """
        return self._body.read(entry.manifest, entry.inputs)


class LargeBody:
    """A body that the body reader has parsed. When that ends, another one starts from the beginning, once."""

    def __init__(
        self, requests: JobRequests, request: Request, kind: Kind, raw: bytes, json_length: str | None
    ) -> None:
        self._requests = requests
        self._request = request
        self._raw = raw
        self._question = {"kind": kind, "json_length": json_length}
        self._has_turn = self._is_open = self._has_ended = False
        self.reference = Reference()

    async def open(self) -> Self:
        """Have it parsed when it is its turn, and take in which model it names; others wait until `close`.

        Raises:
            MalformedRequestError, InvalidInputError: as `JobBody`.
            ServerBusyError, ClientDisconnect: as `JobRequests.enter`; the body reader ended twice.
        """
        await self._requests.enter(self._request)
        self._has_turn = True
        try:
            await self._parse()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Leave the turn; frees the memory of a body that was not read."""
        try:
            if self._is_open:
                self._is_open = False
                with suppress(ReaderEndedError):
                    await self._requests.helper.ask({"forget": True}, b"")
        finally:
            if self._has_turn:
                self._has_turn = False
                self._requests.leave()

    async def find(self, catalog: Finder, name: str, version: str | None) -> Entry:
        """Return a model, as `Catalog.find`; the turn is left while the catalog looks for one that it does not know.

        Raises:
            NotFoundError: there is no such model.
            ServerBusyError, ClientDisconnect: as `open`.
        """
        entry = catalog.peek(name, version)
        if entry is None:
            await self.close()
            entry = await catalog.find(name, version)
            await self.open()
        return entry

    async def read(self, entry: Entry) -> JobInputs:
        """Return the inputs of its jobs, as `SmallBody.read`."""
        answer, payloads = await self._ask({}, entry.manifest_json)
        self._is_open = False
        return inputs_from_wire(answer, payloads)

    async def _parse(self) -> None:
        answer, _ = await self._ask(self._question, self._raw)
        self.reference = reference_from_wire(answer)
        self._is_open = True

    async def _ask(self, question: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
        if question is self._question:
            self._requests.helper.clear_ended()
        while True:
            try:
                answer, payload = await self._requests.helper.ask(question, data)
                break
            except ReaderEndedError as error:
                self._is_open = False
                if self._has_ended:
                    detail = "the process that reads large bodies ended twice on this one; send fewer rows a job"
                    raise ServerBusyError(detail, retry_after_s=RETRY_AFTER_S) from error
                self._has_ended = True
                if question is not self._question:
                    await self._parse()
            except BaseException:  # the process that had it is ended
                self._is_open = False
                raise
        if "error" in answer:
            self._is_open = False
            raise error_from_wire(answer["error"])
        return answer, payload
