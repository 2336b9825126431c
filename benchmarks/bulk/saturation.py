"""Batches without end, from a process of its own, so that keeping a server busy costs the measuring process nothing."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.bulk.batch_client import ENDED, POLL_S, BatchClient

N_OPEN = 2  # batches under way at once: while one is put together the next has rows
BUSY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 120.0

Sample = tuple[float, int]  # seconds of the monotonic clock, rows done so far by all batches


@dataclass(frozen=True, slots=True)
class Feed:
    """What is run again and again."""

    api_url: str
    file_id: str
    model: str
    output_format: str


class Saturation:
    """The process that feeds; its samples once it has stopped."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def between(self, start_s: float, end_s: float) -> list[Sample]:
        """Return the samples taken in a window."""
        return [sample for sample in self.samples if start_s <= sample[0] <= end_s]


@contextmanager
def saturated(feed: Feed) -> Iterator[Saturation]:
    """Keep batches going while the context lasts, from when the first rows are done; at the end cancel what is left.

    Raises:
        RuntimeError: the feeding process failed, or no row was done in time.
    """
    context = multiprocessing.get_context("spawn")
    is_busy, stop, samples = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_keep_busy, args=(feed, is_busy, stop, samples), daemon=True)
    process.start()
    found = Saturation()
    try:
        give_up_s = time.monotonic() + BUSY_TIMEOUT_S
        while not is_busy.wait(POLL_S):
            if process.exitcode is not None or time.monotonic() > give_up_s:
                raise RuntimeError("bulk did not come under way; see above")
        yield found
        stop.set()
        found.samples = samples.get(timeout=STOP_TIMEOUT_S)
    finally:
        stop.set()
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()


def _keep_busy(feed: Feed, is_busy: Any, stop: Any, samples: Any) -> None:
    taken: list[Sample] = []
    done: dict[str, int] = {}
    is_open: dict[str, bool] = {}
    with BatchClient(feed.api_url) as client:
        while not stop.is_set():
            while sum(is_open.values()) < N_OPEN:
                batch_id = client.create(feed.file_id, model=feed.model, output_format=feed.output_format)
                is_open[batch_id], done[batch_id] = True, 0
            for batch_id in [each for each, opened in is_open.items() if opened]:
                batch = client.get(batch_id)
                done[batch_id] = int(batch["progress"]["rows_done"])
                is_open[batch_id] = batch["status"] not in ENDED
                if batch["status"] == "failed":
                    raise RuntimeError(str(batch)[:1000])
            taken.append((time.monotonic(), sum(done.values())))
            if taken[-1][1]:
                is_busy.set()
            time.sleep(POLL_S)
        samples.put(taken)
        for batch_id in done:
            client.cancel(batch_id)
            ended = client.get(batch_id)
            for file_id in (ended.get("output_file_id"), ended.get("error_file_id")):
                if file_id:
                    client.delete(file_id)


def rows_per_s(samples: Sequence[Sample]) -> float:
    """Return the rate from the first to the last change of a count, so that half a chunk at either end is not in it.

    Raises:
        ValueError: it changed less than twice.
    """
    changes = [now for before, now in pairwise(samples) if now[1] != before[1]]
    if len(changes) < 2:
        raise ValueError(f"the rows done changed {len(changes)} times in {len(samples)} looks; take a longer window")
    (first_s, first), (last_s, last) = changes[0], changes[-1]
    return round((last - first) / (last_s - first_s), 1)
