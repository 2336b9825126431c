"""Bulk batches on the working side, for threads: what a step needs to know, and what came of it. The worker's half."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.exceptions import NoScriptError

from ferry.bulk.batch_records import (
    BatchRecord,
    Part,
    Place,
    batch_from_fields,
    errors_to_json,
    part_from_text,
    part_to_text,
)
from ferry.bulk.files import UPLOAD_MAX_S, UPLOADING, new_file_id
from ferry.bulk.formats.base import FileFault
from ferry.queue import keys
from ferry.queue.clock import read_clock, steady_us
from ferry.queue.connection import ThreadClient, redis_errors

_FIELDS = list(keys.BATCH_FIELDS)

ModelKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """A step in a worker's hands; `token` proves the holder."""

    token: str
    id: str
    model: str
    version: str
    attempt: int

    @property
    def batch_id(self) -> str:
        """The batch that the step is of."""
        return self.id.partition("/")[0]

    @property
    def step(self) -> str:
        """`index`, `assemble`, or a chunk's number."""
        return self.id.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What happens while a step runs.

    is_held: whether the step is still this worker's. is_ending: whether the batch ends without the rest of its rows.
    waiting: (name, version) of models for which jobs of a higher class wait.
    """

    is_held: bool
    is_ending: bool
    waiting: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MadeFile:
    """An output file whose bytes are in the storage, under a reserved id."""

    id: str
    size_bytes: int
    filename: str
    ttl_s: float


# What became of a step: its name for the script, and that one's arguments.
@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of a step; made by the functions below."""

    name: str
    args: tuple[str | int, ...] = ()


STOPPED = StepOutcome("stopped")
RELEASED = StepOutcome("released")


def indexed(
    *,
    rows: int,
    chunks: int,
    width: int,
    format_name: str,
    output_format: str,
    notes: Sequence[str] = (),
    is_prepared: bool = False,
) -> StepOutcome:
    """Return: the file is what it should be; `width` bytes are one record of its index.

    is_prepared: chunks are read from the copy in the batch's folder, not from the input file.
    """
    args = (rows, chunks, width, format_name, output_format, json.dumps(notes), int(is_prepared))
    return StepOutcome("indexed", args)


def refused(errors: Sequence[FileFault], rows: int) -> StepOutcome:
    """Return: the file is not, and the batch fails for that."""
    return StepOutcome("refused", (errors_to_json(errors), rows))


def worked(number: int, part: Part) -> StepOutcome:
    """Return: a chunk is done, its part is in the storage."""
    return StepOutcome("chunk", (number, part_to_text(part), part.completed, part.failed))


def assembled(*, completed: int, failed: int, output: MadeFile | None, errors: MadeFile | None) -> StepOutcome:
    """Return: the batch's files are made."""
    return StepOutcome("assembled", (completed, failed, *_file_args(output), *_file_args(errors)))


def broken(code: str, message: str) -> StepOutcome:
    """Return: the batch cannot go on."""
    return StepOutcome("broken", (code, message))


def _file_args(file: MadeFile | None) -> tuple[str | int, ...]:
    if file is None:
        return ("", 0, "", "", 0)
    return (file.id, file.size_bytes, file.filename, "", int(file.ttl_s * 1000))


def _question(held: Held, place: Place | None, models: Sequence[ModelKey]) -> list[str]:
    return [held.token, held.id, place.to_text() if place else "", *(keys.model_key(*model) for model in models)]


def _meanwhile(models: Sequence[ModelKey], reply: Any) -> Meanwhile:
    is_held, ending, *waiting = cast(Sequence[Any], reply)
    named = {keys.model_key(*model).encode("utf-8"): model for model in models}
    return Meanwhile(is_held == 1, ending is not None, tuple(named[each] for each in waiting))


class Steps:
    """Reads batches and records their steps. Thread-safe, as its client is."""

    def __init__(self, client: ThreadClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._between = client.script("step_between")
        self._settle = client.script("step_settle")
        self._line: Any = None

    def batch(self, batch_id: str) -> BatchRecord | None:
        """Return what is known of a batch.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        with redis_errors():
            values = cast(Sequence[bytes | None], self._redis.hmget(self._keys.batch + batch_id, _FIELDS))
        return batch_from_fields(batch_id, values)

    def place(self, held: Held) -> Place:
        """Return where the last holder of a step stood."""
        with redis_errors():
            raw = cast(bytes | None, self._redis.hget(self._keys.batch_open + held.batch_id, held.step))
        return Place.from_text((raw or b"").decode("ascii"))

    def between(self, held: Held, place: Place, served: Iterable[ModelKey]) -> Meanwhile:
        """Say where a step stands from now on, and hear what happens meanwhile.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        models = list(served)
        with redis_errors():
            return _meanwhile(models, self._between(args=_question(held, place, models)))

    def look(self, held: Held, served: Iterable[ModelKey]) -> Meanwhile:
        """Hear what happens, and leave what is said of where the step stands.

        Raises:
            QueueUnavailableError: Redis did not answer.
        """
        models = list(served)
        with redis_errors():
            return _meanwhile(models, self._between(args=_question(held, None, models)))

    def ask(self, held: Held, place: Place, served: Iterable[ModelKey]) -> Callable[[], Meanwhile]:
        """As `between`, but do not wait: what is returned reads the answer. One question at a time.

        Where the cores are busy an answer takes a millisecond, which the step needs not stand still for. What was sent
        reaches Redis even if this process dies.

        Raises:
            QueueUnavailableError: Redis is away; the answer may raise it too.
        """
        models = list(served)
        with redis_errors():
            line = self._line or self._redis.connection_pool.get_connection()
            self._line = None  # it is lost unless the answer is read
            try:
                line.send_command("EVALSHA", *self._between.by_sha(_question(held, place, models)))
            except BaseException:
                self._hang_up(line)
                raise

        def answer() -> Meanwhile:
            with redis_errors():
                try:
                    reply = line.read_response()
                except NoScriptError:
                    self._line = line
                    return self.between(held, place, models)
                except BaseException:
                    self._hang_up(line)
                    raise
                self._line = line
                return _meanwhile(models, reply)

        return answer

    def _hang_up(self, line: Any) -> None:
        line.disconnect()
        self._redis.connection_pool.release(line)

    def settle(self, held: Held, outcome: StepOutcome) -> bool:
        """Record what became of a step; False: it was not this holder's any more, or was recorded before.

        Raises:
            QueueUnavailableError: Redis did not answer; repeat, or let the lease lapse.
        """
        model = keys.model_key(held.model, held.version)
        with redis_errors():
            reply = self._settle(args=[held.token, model, held.id, uuid.uuid4().hex, outcome.name, *outcome.args])
        return int(cast(int, reply)) == 1

    def parts(self, batch_id: str) -> dict[int, Part]:
        """Return what the settled chunks left, by number."""
        with redis_errors():
            found = cast(Mapping[bytes, bytes], self._redis.hgetall(self._keys.batch_parts + batch_id))
        return {int(number): part_from_text(text.decode("ascii")) for number, text in found.items()}

    def reserve_file(self) -> str:
        """Return the id of a file to be written; where it comes to nothing a sweep removes it after a day."""
        file_id = new_file_id()
        with redis_errors():
            now_ms = steady_us(*read_clock(self._redis, self._keys)) // 1000
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.zadd(self._keys.file_ends, {file_id: now_ms + UPLOAD_MAX_S * 1000})
                pipe.hset(self._keys.file + file_id, "status", UPLOADING)
                pipe.execute()
        return file_id
