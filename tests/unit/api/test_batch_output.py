import random
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from api.batch_output import FOLLOW_S, PATIENCE_S, FollowEndedError, OutputReader, kind_of
from ferry.bulk.batch_records import BatchRecord, BatchStatus, Part, part_key
from ferry.bulk.files import key_of, new_file_id
from ferry.bulk.formats.text_rows import TEXT_KINDS, RowSplitter
from ferry.bulk.storage import Storage
from ferry.errors import ConflictError, InvalidInputError, QueueUnavailableError

pytestmark = pytest.mark.anyio

BATCH_ID = "batch_" + "a" * 24
HEADER = b'"id","text"\n'


@dataclass
class Run:
    """A batch on its way: each sleep of a reader lets one event happen."""

    storage: Storage
    format: str
    chunks: list[list[bytes]]  # rows of each
    events: list[Callable[[], None]] = field(default_factory=list)
    parts: dict[int, Part] = field(default_factory=dict)
    is_down: bool = False
    now: float = 0.0
    record: BatchRecord = field(init=False)

    def __post_init__(self) -> None:
        self.record = BatchRecord(
            BATCH_ID, BatchStatus.IN_PROGRESS, "toy", "1", "/v1/predictions", "file-in", "in.csv", 1, "24h", {}, 0, 0,
            output_format=self.format, chunks=len(self.chunks),
        )  # fmt: skip

    @property
    def header(self) -> bytes:
        return HEADER if TEXT_KINDS[self.format].has_header else b""

    @property
    def final(self) -> bytes:
        """What the whole output is: no file where no row succeeded."""
        rows = b"".join(row for chunk in self.chunks for row in chunk)
        return self.header + rows if rows else b""

    async def progress(self, _: str, first: int, n_chunks: int) -> tuple[BatchRecord | None, list[Part | None]]:
        if self.is_down:
            raise QueueUnavailableError("down")
        return self.record, [self.parts.get(number) for number in range(first, first + n_chunks)]

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.events:
            self.events.pop(0)()

    def finish(self, number: int, *, size: int | None = None) -> None:
        """Store a part; `size`: a crash left only so many bytes of it."""
        data = self.header + b"".join(self.chunks[number])
        with self.storage.create(part_key(BATCH_ID, number, "t", "out")) as upload:
            upload.write(data[:size])
        self.parts[number] = Part("t", len(self.chunks[number]), 0, len(data), 0, len(self.chunks[number]))

    def end(self) -> None:
        """Make the final file and delete the parts."""
        self.parts.clear()
        self.storage.delete_folder(f"batches/{BATCH_ID}")
        file_id = None
        if self.final:
            file_id = new_file_id()
            with self.storage.create(key_of(file_id)) as upload:
                upload.write(self.final)
        self.record = replace(self.record, status=BatchStatus.COMPLETED, output_file_id=file_id)

    def reader(self, from_row: int = 0, *, is_stopping: Callable[[], bool] = lambda: False) -> OutputReader:
        return OutputReader(
            self, self.storage, self.record, TEXT_KINDS[self.format], from_row, is_stopping=is_stopping,
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


async def read(reader: OutputReader) -> bytes:
    return b"".join([piece async for piece in reader.pieces()])


async def read_up_to(reader: OutputReader, n_bytes: int) -> tuple[bytes, bool]:
    """Return so many bytes, and whether that is all; the reader is closed after them."""
    came = b""
    async with aclosing(reader.pieces()) as pieces:
        async for piece in pieces:
            came += piece
            if len(came) >= n_bytes:
                return came[:n_bytes], False
    return came, True


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def rows_of(name: str, chance: random.Random) -> list[list[bytes]]:
    """Return the rows of some chunks, a few of them without any."""

    def row(number: int) -> bytes:
        if name == "jsonl":
            return b'{"n":%d,"t":"%s"}\n' % (number, b'\\"x' * chance.randrange(3))
        return b'"%d","%s"\n' % (number, chance.choice([b"a", b'""', b"b\nc", b"x" * 50]))

    return [[row(n) for n in range(chance.choice([0, 1, 3, 9]))] for _ in range(chance.randrange(1, 7))]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", TEXT_KINDS)
async def test_read_when_parts_come_in_any_order_then_the_final_file(storage: Storage, name: str, seed: int) -> None:
    chance = random.Random(seed)
    run = Run(storage, name, rows_of(name, chance))
    order = list(range(len(run.chunks)))
    chance.shuffle(order)
    n_early = chance.randrange(len(order) + 1)
    for number in order[:n_early]:
        run.finish(number)
    # Some chunks are given up or lost: only the final file has their rows.
    for number in order[n_early:]:
        kind = chance.randrange(5)
        if kind == 0:
            run.events.append(lambda n=number: run.parts.update({n: Part("", 0, 0)}))
        elif kind == 1:
            run.events.append(lambda n=number: run.finish(n, size=chance.randrange(30)))
        else:
            run.events.append(lambda n=number: run.finish(n))
    run.events.append(run.end)
    assert await read(run.reader()) == run.final


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", TEXT_KINDS)
async def test_read_when_cut_anywhere_then_goes_on_from_the_rows_that_came(
    storage: Storage, name: str, seed: int
) -> None:
    chance = random.Random(seed)
    run = Run(storage, name, rows_of(name, chance))
    run.events = [lambda n=n: run.finish(n) for n in range(len(run.chunks))] + [run.end]
    kind, got, n_rows, n_cuts = TEXT_KINDS[name], b"", 0, 0
    while True:
        # The connection breaks after some bytes, and at last no more.
        came, is_whole = await read_up_to(run.reader(n_rows), chance.randrange(1, 40) if n_cuts < 20 else 10**6)
        if is_whole:
            assert got + came == run.final
            return
        n_cuts += 1
        whole = list(RowSplitter(kind).feed(came))
        if n_rows == 0 and kind.has_header and len(whole) <= 1:
            continue  # nothing but the header came
        n_rows += len(whole) - int(n_rows == 0 and kind.has_header)
        got += b"".join(whole)


@pytest.mark.parametrize("name", TEXT_KINDS)
@pytest.mark.parametrize("is_over", [False, True])
async def test_read_when_from_a_row_then_the_rest_without_a_header(storage: Storage, name: str, is_over: bool) -> None:
    chunks = [[b'"1","a"\n', b'"2","b\nc"\n'], [], [b'"3",""""\n', b'"4","d"\n']]
    if name == "jsonl":
        chunks = [[b"1\n", b"2\n"], [], [b"3\n", b"4\n"]]
    rows = [row for chunk in chunks for row in chunk]
    for from_row in range(1, 7):
        run = Run(storage, name, chunks)
        if is_over:
            run.end()
        else:
            run.events = [lambda n=n, run=run: run.finish(n) for n in range(3)] + [run.end]
        assert await read(run.reader(from_row)) == b"".join(rows[from_row:])


async def test_read_when_redis_is_away_for_a_moment_then_goes_on(storage: Storage) -> None:
    run = Run(storage, "jsonl", [[b"1\n"]], is_down=True)
    run.events = [lambda: None, lambda: setattr(run, "is_down", False), lambda: run.finish(0), run.end]
    assert await read(run.reader()) == b"1\n"


async def test_read_when_redis_stays_away_then_says_so(storage: Storage) -> None:
    run = Run(storage, "jsonl", [[b"1\n"]], is_down=True)
    with pytest.raises(QueueUnavailableError):
        await read(run.reader())
    assert PATIENCE_S <= run.now < PATIENCE_S + 1


async def test_read_when_the_process_stops_then_ends_early(storage: Storage) -> None:
    run, is_stopping = Run(storage, "jsonl", [[b"1\n"], [b"2\n"]]), False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True

    run.events = [lambda: run.finish(0), stop]
    pieces = run.reader(is_stopping=lambda: is_stopping).pieces()
    assert await anext(pieces) == b"1\n"
    with pytest.raises(FollowEndedError, match="this API process stops"):
        await anext(pieces)


async def test_read_when_the_batch_takes_too_long_then_ends_early(storage: Storage) -> None:
    run = Run(storage, "jsonl", [[b"1\n"]])
    with pytest.raises(FollowEndedError, match="lasts 600 s at most"):
        await read(run.reader())
    assert run.now >= FOLLOW_S


@pytest.mark.parametrize("has_file", [False, True])
async def test_read_when_there_is_no_final_file_for_rows_that_came_then_no_clean_end(
    storage: Storage, has_file: bool
) -> None:
    run = Run(storage, "jsonl", [[b"1\n"], [b"2\n"]])

    def fail() -> None:
        file_id = new_file_id() if has_file else None
        run.record = replace(run.record, status=BatchStatus.FAILED, output_file_id=file_id)

    run.events = [lambda: run.finish(0), fail]
    with pytest.raises(FollowEndedError):
        await read(run.reader())


async def test_read_when_it_is_a_retry_then_the_merged_file_alone(storage: Storage) -> None:
    run = Run(storage, "jsonl", [[b"1\n"]])
    run.record = replace(run.record, metadata={"retry_of": BATCH_ID})
    run.finish(0)
    run.events = [lambda: setattr(run, "chunks", [[b"0\n", b"1\n"]]), run.end]
    assert await read(run.reader()) == b"0\n1\n"


def test_kind_when_the_output_is_one_whole_file_then_refused_with_the_remedy(storage: Storage) -> None:
    record = replace(Run(storage, "jsonl", []).record, output_format="parquet")
    with pytest.raises(InvalidInputError, match=r"or ask for output_format jsonl, csv, tsv"):
        kind_of(record)


def test_kind_when_the_file_is_not_checked_then_unknown_unless_it_was_asked_for(storage: Storage) -> None:
    record = replace(Run(storage, "jsonl", []).record, output_format=None, status=BatchStatus.VALIDATING)
    assert kind_of(record) is None
    assert kind_of(replace(record, metadata={"output_format": "tsv"})) == TEXT_KINDS["tsv"]
    with pytest.raises(ConflictError, match="its `errors` say why"):
        kind_of(replace(record, status=BatchStatus.FAILED))
