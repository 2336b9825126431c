"""One run from beginning to end: start the parts, send and break, wait for the last job, check, and end everything."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ferry.jobs import JobRecord
from tests.chaos.checks import Checks
from tests.chaos.faults import Breaker
from tests.chaos.figures import recoveries, worst_lateness_ms
from tests.chaos.load import Load
from tests.chaos.load_thread import LoadThread
from tests.chaos.news import News
from tests.chaos.parts import Parts
from tests.chaos.plan import plan_faults, plan_jobs, send_s
from tests.chaos.records import age, leftovers, read_records, state_of_queue
from tests.chaos.redis_part import PartError, wait_for
from tests.chaos.report import Report
from tests.chaos.watch import Watch

# Once nothing is broken any more and all is sent, every job ends within this.
SETTLE_S = 60.0
# A run gives up after twice the time of its sending and this: the first round of faults, on a slow machine.
PATIENCE_S = 180.0
# Of so many unfinished jobs all that Redis knows is kept for whoever looks into it.
MOST_EXAMINED = 20
STATE_FILE = "redis-state.txt"

logger = logging.getLogger(__name__)


def run(n_jobs: int, seed: int, folder: Path) -> Report:
    """Do a run in an empty folder, where its logs and data stay. Call it from the main thread.

    Whatever it started is ended when it returns or raises.

    Raises:
        PartError: the parts do not start.
    """
    chaos = _Run(n_jobs, seed, folder)
    try:
        chaos.start()
        chaos.break_things()
        chaos.await_end()
        records = chaos.check()
    finally:
        chaos.end()
    return chaos.report(records)


class _Run:
    def __init__(self, n_jobs: int, seed: int, folder: Path) -> None:
        self._began_s = time.monotonic()
        self._seed = seed
        self._longest_s = 2 * send_s(n_jobs) + PATIENCE_S
        self._parts = Parts(folder)
        self._breaker = Breaker(self._parts, plan_faults(seed))
        self._load = Load(self._parts.api_url, plan_jobs(n_jobs, seed), seed)
        self._clients: LoadThread | None = None
        self._news = News(self._parts.client)
        self._watch = Watch(self._parts.client, self._watched)
        self._checks = Checks(seed, self._parts.manifest)

    def _watched(self) -> Iterator[tuple[int, str]]:
        for worker in list(self._parts.workers):
            if worker.is_running() and worker.pid not in self._breaker.paused:
                yield worker.pid, worker.log.stem

    def start(self) -> None:
        self._parts.start()
        self._news.start()
        self._watch.start()
        self._clients = LoadThread(self._load)

    def break_things(self) -> None:
        is_late = threading.Event()
        timer = threading.Timer(self._longest_s, is_late.set)
        timer.start()
        try:
            self._breaker.run(lambda: self._load.is_sent or self._has_load_ended(), is_late)
        finally:
            timer.cancel()
        if is_late.is_set():
            self._checks.complain(
                "other", f"gave up after {self._longest_s:.0f} s: {self._load.n_sent:,} jobs were sent"
            )

    def _has_load_ended(self) -> bool:
        return self._clients is None or self._clients.result.done()

    def await_end(self) -> None:
        """Wait until all jobs are terminal; those that are not by then are lost."""
        try:
            wait_for(self._has_load_ended, SETTLE_S, "every job is terminal")
        except PartError as error:
            unfinished = [job.id for job in self._load.jobs if job.id and not job.state]
            self._checks.complain("other", f"gave up, {len(unfinished):,} jobs are unfinished: {error}")
            with self._parts.client() as client:
                state = state_of_queue(client, unfinished[:MOST_EXAMINED])
            (self._parts.folder / STATE_FILE).write_text(state)
        if self._clients:
            self._clients.stop()

    def check(self) -> dict[str, JobRecord | None]:
        """Check everything; returns the jobs' records."""
        checks, jobs = self._checks, self._load.jobs
        for what in self._parts.fallen():
            checks.complain("other", f"{what} ended by itself")
        for complaint in (*self._breaker.complaints, *self._watch.complaints):
            checks.complain("other", complaint)
        if not self._breaker.has_done_all():
            checks.complain("other", "not every kind of fault occurred")
        self._watch.stop()
        with self._parts.client() as client:
            records = read_records(client, [job.id for job in jobs if job.id])
            checks.check_jobs(jobs, records)
            age(client)
            checks.check_leftovers(leftovers(client))
        self._news.stop()
        checks.check_news(jobs, self._news.counts)
        for complaint in self._parts.stop():
            checks.complain("other", complaint)
        checks.check_logs(self._parts.folder)
        return records

    def end(self) -> None:
        if self._clients:
            self._clients.stop(is_quiet=True)
        for thread in (self._news, self._watch):
            if thread.is_alive():
                thread.stop()
        self._parts.end()

    def report(self, records: dict[str, JobRecord | None]) -> Report:
        faults = self._breaker.faults
        return Report(
            seed=self._seed,
            wall_s=time.monotonic() - self._began_s,
            jobs=self._load.jobs,
            records=records,
            said=self._load.said,
            recoveries=recoveries(faults, records.values()),
            lateness_ms=worst_lateness_ms(records.values(), faults),
            longest_without_ticket_s=self._watch.longest_s,
            found=self._checks.found,
            violations=self._checks.violations,
            folder=self._parts.folder,
        )
