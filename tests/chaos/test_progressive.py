"""Results that are read while everything is killed: what a reader got is the final file, byte for byte."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeVar

import numpy as np
import pytest

from ferry.client import ApiError, ApiUnreachableError, Batch, Client
from tests.chaos import model
from tests.chaos.faults import Breaker
from tests.chaos.parts import Parts
from tests.chaos.plan import FaultPlan, Kind
from tests.chaos.redis_part import COMES_UP_S
from tests.processes import eventually

KILLS = (
    Kind.WORKER_KILL, Kind.API_KILL, Kind.TWO_WORKERS_KILL, Kind.REDIS_KILL, Kind.API_KILL, Kind.WORKER_KILL,
    Kind.REDIS_KILL, Kind.TWO_WORKERS_KILL, Kind.API_KILL, Kind.WORKER_KILL,
)  # fmt: skip
N_ROWS = 60_000
# Every row of which the number is a multiple of this makes the model raise.
BAD_EVERY = 9_973
# The least there may be, so that a batch has many parts.
CHUNK_BYTES = "65536"
MAX_BATCHES = 100

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """Return what a call gives, however often the API is killed."""
    found: list[T] = []

    def has_answered() -> bool:
        try:
            found.append(call())
        except (ApiUnreachableError, ApiError) as error:
            if not error.retryable:
                raise
            return False
        return True

    eventually(has_answered, "the API answers", give_up_s=COMES_UP_S)
    return found[0]


def kills(dice: Random) -> Iterator[FaultPlan]:
    for kind in KILLS:
        yield FaultPlan(kind, dice.uniform(0.1, 1.0), Random(dice.random()))


def break_all(breaker: Breaker, stop: threading.Event) -> None:
    """Do every kill, one after the other, unless the test is over."""
    for plan in kills(Random(7)):
        if not stop.wait(plan.gap_s):
            breaker._do(plan)


def lines() -> bytes:
    """Return rows as CSV, a few of which fail."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, model.LARGEST, (N_ROWS, model.WIDTH))
    k = rng.integers(0, model.N_OFFSETS, N_ROWS)
    k[::BAD_EVERY] = model.BAD_OFFSET
    header = ",".join([*(f"x_{place}" for place in range(model.WIDTH)), "k"])
    return "\n".join([header, *(",".join(map(str, row)) for row in np.column_stack([x, k]).tolist())]).encode()


def read_all(client: Client, batch_id: str, got: list[bytes]) -> None:
    got.extend(client.batch_output(batch_id, patience_s=2 * COMES_UP_S))


def check(client: Client, batch: Batch, got: list[bytes], n_rows: int, folder: Path) -> None:
    assert batch.status == "completed"
    assert (batch.counts.total, batch.counts.completed) == (N_ROWS, n_rows)
    whole = folder / "whole"
    patiently(lambda: client.download_file(str(batch.output_file_id), whole))
    assert b"".join(got) == whole.read_bytes()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_output_when_ten_times_something_is_killed_then_what_was_read_is_the_final_file(
    tmp_path: Path, output_format: str
) -> None:
    parts = Parts(tmp_path)
    parts._env["FERRY_CHUNK_BYTES"] = CHUNK_BYTES
    (tmp_path / "in.csv").write_bytes(lines())
    n_good = N_ROWS - len(range(0, N_ROWS, BAD_EVERY))
    breaker, stop = Breaker(parts, iter(())), threading.Event()
    try:
        parts.start()
        breaking = threading.Thread(target=break_all, args=(breaker, stop), daemon=True)
        with Client(parts.api_url) as client:
            number = 0
            stored = patiently(lambda: client.upload_file(tmp_path / "in.csv"))
            breaking.start()
            for number in range(MAX_BATCHES):
                if number and not breaking.is_alive():
                    break
                batch = patiently(
                    lambda key=f"k{number}": client.create_batch(
                        stored.id, model=model.NAME, metadata={"output_format": output_format}, idempotency_key=key
                    )
                )
                got: list[bytes] = []
                read_all(client, batch.id, got)
                check(client, patiently(lambda batch_id=batch.id: client.wait_batch(batch_id)), got, n_good, tmp_path)
        breaking.join()
        assert len(breaker.faults) == len(KILLS)
        assert breaker.complaints == []
    finally:
        stop.set()
        parts.end()
