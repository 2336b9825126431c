"""The queue's invariants (docs/design.md) under any order of steps, a worker's death between any two of them included.

The same machine drives the queue in memory and on real Redis, 6.2 and 7. Beside it stands a small model of what must
be true; after each step every job is compared with it. Three bugs planted by hand show that the machine sees them.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ferry.jobs import Claim, JobClass, JobRecord, State, Submission, Verdict
from ferry.local.redis_server import RedisServer
from ferry.queue import keeper, scripts
from ferry.queue.connection import connect, connect_async
from ferry.queue.scripts import script
from ferry.settings import NAMESPACE
from tests.contract.conftest import MAX_ATTEMPTS, MemoryBench, RedisBench
from tests.manifests import LIMITS, manifest, submission
from tests.namespaces import KEYS

PICK = st.integers(min_value=0, max_value=10**6)
MAX_ROWS = 8
Answer = TypeVar("Answer")


@dataclass
class Expected:
    """What must be true of one job."""

    job: Submission
    state: State = State.QUEUED
    token: str = ""
    attempts: int = 0
    is_alone: bool = False
    is_overdue: bool = False
    final: JobRecord | None = None

    @property
    def is_open(self) -> bool:
        return not self.state.is_terminal


class QueueMachine(RuleBasedStateMachine):
    """Submits, claims, dies, settles late, cancels, expires, pauses: in any order."""

    def __init__(self, open_bench: Callable[[], MemoryBench | RedisBench]) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = self.run(_opened(open_bench))
        self.jobs: dict[str, Expected] = {}
        self.claims: list[Claim] = []
        self.spared: set[str] = set()
        self.is_paused = False

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(work)

    def pick_job(self, pick: int) -> Expected:
        return list(self.jobs.values())[pick % len(self.jobs)]

    def pick_claim(self, pick: int) -> Claim:
        """One of the last few: what became of older ones is settled long since."""
        return self.claims[-1 - pick % min(len(self.claims), 4)]

    # ---- steps of a client

    @precondition(lambda self: len(self.jobs) < 40)  # below the limits of what may wait
    @rule(rows=st.lists(st.integers(1, 11), min_size=1, max_size=6), job_class=st.sampled_from(JobClass))
    def submit(self, rows: list[int], job_class: JobClass) -> None:
        jobs = [submission(each, b"in", job_class=job_class) for each in rows]
        receipts = self.run(self.bench.submit(*jobs))
        assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED] * len(jobs)
        self.jobs |= {job.id: Expected(job) for job in jobs}

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def submit_again_after_a_lost_reply(self, pick: int) -> None:
        (receipt,) = self.run(self.bench.submit(self.pick_job(pick).job))
        assert receipt.verdict is Verdict.EXISTS

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK, is_deleted=st.sampled_from([False, False, True]))
    def cancel_or_delete(self, pick: int, is_deleted: bool) -> None:
        expected = self.pick_job(pick)
        if is_deleted:
            assert self.run(self.bench.producer.delete(expected.job.id))
            del self.jobs[expected.job.id]
        else:
            assert self.run(self.bench.producer.cancel(expected.job.id))
            self.ends(expected, State.CANCELED)

    @precondition(lambda self: any(each.is_open for each in self.jobs.values()))
    @rule(pick=PICK)
    def let_the_deadline_pass(self, pick: int) -> None:
        still_open = [each for each in self.jobs.values() if each.is_open]
        expected = still_open[pick % len(still_open)]
        self.bench.pass_deadline(expected.job.id)
        expected.is_overdue = True

    # ---- steps of a worker; a worker that dies simply takes no further step

    @rule(n_claims=st.integers(1, 3))
    def claim(self, n_claims: int) -> None:
        for _ in range(n_claims):
            self.take(self.bench.claim(MAX_ROWS), is_fresh=True)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, is_reply_lost=st.booleans())
    def add_to_a_claim(self, pick: int, is_reply_lost: bool) -> None:
        claim = self.pick_claim(pick)
        if (room := MAX_ROWS - claim.rows) > 0:
            more = self.bench.claim(room, claim.token)
            self.take(more, is_fresh=False)
            if not is_reply_lost:
                both = replace(claim, jobs=claim.jobs + more.jobs)
                self.claims = [both if each is claim else each for each in self.claims]

    def take(self, claim: Claim, *, is_fresh: bool) -> None:
        """Check what was handed out, and note it."""
        ready = [each for each in self.jobs.values() if each.state is State.QUEUED and not each.is_overdue]
        alone = [each for each in ready if each.is_alone]
        taken = [self.jobs[job.id] for job in claim.jobs]
        assert len({job.id for job in claim.jobs}) == len(claim.jobs)
        assert not (self.is_paused and taken), "handed out while paused"
        assert all(each in ready for each in taken), "handed out though done, held, canceled or overdue"
        if is_fresh and alone and not self.is_paused:
            assert len(taken) == 1, "a job whose claim lapsed is run alone"
            assert taken[0].is_alone
        elif is_fresh and ready and not self.is_paused:
            assert taken, "work waits and none was handed out"
        assert len(taken) <= 1 or claim.rows <= MAX_ROWS
        for job in claim.jobs:
            expected = self.jobs[job.id]
            expected.attempts += 1
            assert job.attempt == expected.attempts <= MAX_ATTEMPTS
            assert job.payload == expected.job.payload
            expected.state, expected.token, expected.is_alone = State.RUNNING, claim.token, False
        if claim.jobs and is_fresh:
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, error=st.sampled_from(["", "model_error"]), is_last=st.booleans())
    def settle(self, pick: int, error: str, is_last: bool) -> None:
        """Settle a claim, perhaps long after it lapsed or was settled; not `is_last`: the worker dies right then."""
        claim = self.pick_claim(pick)
        mine = [self.jobs[job.id] for job in claim.jobs if job.id in self.jobs]
        held = [each for each in mine if each.state is State.RUNNING and each.token == claim.token]
        recorded = self.bench.settle(claim, None if error else b"out", is_last=is_last, error=error)
        assert recorded == len(held), "only the holder's outcomes count"
        for expected in held:
            self.ends(expected, State.FAILED if error else State.SUCCEEDED)
        for expected in self.jobs.values() if is_last else ():
            # Its holder never heard of it.
            if expected.token == claim.token and expected.state is State.RUNNING:
                expected.state, expected.is_alone, expected.token = State.QUEUED, True, ""
                expected.attempts -= 1

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        token = self.pick_claim(pick).token
        is_held = token in self.bench.worker.renew([token])
        running = any(each.token == token and each.state is State.RUNNING for each in self.jobs.values())
        assert is_held or not running, "a claim with running jobs can be renewed until it lapses"
        self.spared.discard(token)

    # ---- steps of the keeper

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def let_a_lease_run_out(self, pick: int) -> None:
        token = self.pick_claim(pick).token
        self.bench.age_leases(token)
        assert self.bench.keeper.lapse() is not None
        for expected in self.jobs.values():
            if expected.token == token and expected.state is State.RUNNING:
                expected.token = ""
                if token in self.spared:
                    expected.attempts -= 1
                    expected.state, expected.is_alone = State.QUEUED, True
                elif expected.attempts >= MAX_ATTEMPTS:
                    self.ends(expected, State.FAILED)
                else:
                    expected.state, expected.is_alone = State.QUEUED, True

    @rule(what=st.sampled_from(["lapse_after_an_outage", "expire", "lose_every_ticket_then_keep_house"]))
    def keep_house(self, what: str) -> None:
        getattr(self, what)()

    def lapse_after_an_outage(self) -> None:
        self.bench.keeper.lapse(after_outage=True)
        self.spared |= {each.token for each in self.jobs.values() if each.state is State.RUNNING}

    def expire(self) -> None:
        self.bench.keeper.expire()
        for expected in self.jobs.values():
            if expected.is_overdue:
                self.ends(expected, State.CANCELED)

    def lose_every_ticket_then_keep_house(self) -> None:
        self.bench.lose_tickets()
        self.bench.keeper.lapse()
        waiting = sum(each.job.rows for each in self.jobs.values() if each.state is State.QUEUED)
        is_due = waiting > 0 and not self.is_paused
        assert (self.bench.tickets() == 1) is is_due, "work waits, a worker lives, and there is no ticket"

    # ---- steps of an operator

    @rule(what=st.sampled_from(["pause_or_resume", "purge", "replay_the_dead"]))
    def operate(self, what: str) -> None:
        getattr(self, what)()

    def pause_or_resume(self) -> None:
        (self.bench.admin.resume if self.is_paused else self.bench.admin.pause)("toy", "1")
        self.is_paused = not self.is_paused

    def purge(self) -> None:
        waiting = [each for each in self.jobs.values() if each.state is State.QUEUED]
        assert self.bench.admin.purge("toy", "1") == len(waiting)
        for expected in waiting:
            self.ends(expected, State.CANCELED)

    def replay_the_dead(self) -> None:
        letters, _ = self.run(self.bench.dead.list_dead(limit=100))
        for letter in letters:
            job = self.run(self.bench.dead.replay_of(letter.record.id))
            assert job is not None
            assert (job.payload, job.rows) == (b"in", self.jobs[letter.record.id].job.rows)
            self.run(self.bench.submit(job))
            assert self.run(self.bench.dead.retire(letter.record.id))
            self.jobs[job.id] = Expected(job)

    # ---- what must be true after each step

    def ends(self, expected: Expected, state: State) -> None:
        if expected.is_open:
            expected.state = state

    @invariant()
    def every_job_is_as_expected_and_terminal_ones_never_change(self) -> None:
        records = self.run(self.bench.producer.read_many(list(self.jobs))) if self.jobs else []
        for expected, record in zip(self.jobs.values(), records, strict=True):
            assert record is not None, "an accepted job is lost"
            assert record.state is expected.state
            assert record.attempts == expected.attempts
            if expected.final is not None:
                assert record == expected.final, "a terminal job has changed"
            if record.state.is_terminal:
                expected.final = record

    @invariant()
    def what_waits_is_counted_right(self) -> None:
        waiting = [each for each in self.jobs.values() if each.state is State.QUEUED]
        (status,) = self.run(self.bench.producer.models())
        assert status.waiting_rows == sum(each.job.rows for each in waiting)
        assert self.bench.admin.waiting_jobs("toy", "1") == len(waiting)

    @invariant()
    def who_was_given_up_is_a_dead_letter(self) -> None:
        letters, total = self.run(self.bench.dead.list_dead(limit=100))
        assert total == len(letters)
        assert {letter.record.error_code for letter in letters} <= {"worker_lost"}
        assert {letter.record.attempts for letter in letters} <= {MAX_ATTEMPTS}

    def teardown(self) -> None:
        """Let a healthy worker go on: every job ends, and once all have expired the queue is as empty as at first."""
        try:
            if self.is_paused:
                self.pause_or_resume()
            for claim in list(self.claims):
                self.bench.age_leases(claim.token)
            self.bench.keeper.expire()
            for _ in range(3 * len(self.jobs) + 3):
                self.bench.keeper.lapse()
                claim = self.bench.claim(MAX_ROWS)
                self.bench.settle(claim)
            self.bench.keeper.lapse()
            records = self.run(self.bench.producer.read_many(list(self.jobs))) if self.jobs else []
            assert all(record and record.state.is_terminal for record in records), "a job never ends"
            self.bench.forget_finished()
            assert self.bench.leftovers() == []
        finally:
            self.run(_closed(self.bench))
            self.loop.close()


async def _opened(open_bench: Callable[[], MemoryBench | RedisBench]) -> MemoryBench | RedisBench:
    bench = open_bench()
    await bench.producer.register(manifest(max_rows=MAX_ROWS))
    bench.worker.beat({("toy", "1"): ""})
    return bench


async def _closed(bench: MemoryBench | RedisBench) -> None:
    if isinstance(bench, RedisBench):
        bench.redis.close()
        await bench.async_redis.aclose(close_connection_pool=True)


def on_redis(url: str) -> Callable[[], RedisBench]:
    """Return what opens the queue on an emptied Redis."""

    def open_bench() -> RedisBench:
        client = connect(url, NAMESPACE).redis
        client.flushall()
        return RedisBench(client, connect_async(url, NAMESPACE).redis, LIMITS)

    return open_bench


@pytest.fixture(scope="session")
def redis_7_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis 7 or newer of this machine, beside the embedded 6.2."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH")
    folder = tmp_path_factory.mktemp("redis-7")
    server = RedisServer(folder / "data", folder / "redis.log", binary=binary)
    server.start()
    try:
        version = connect(server.url, NAMESPACE).redis.info("server")["redis_version"]
        if int(version.split(".")[0]) < 7:
            pytest.skip(f"the redis-server on PATH is {version}, not 7 or newer")
        yield server.url
    finally:
        server.stop()


# More of them: INVARIANT_EXAMPLES=5000 make test-invariants
EXAMPLES, STEPS = int(os.environ.get("INVARIANT_EXAMPLES", "100")), 40
CHECKS = settings(
    # A failure is shrunk only on request: that can take minutes.
    phases=[Phase.generate, Phase.shrink] if "INVARIANT_EXAMPLES" in os.environ else [Phase.generate],
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_invariants_when_any_steps_are_taken_in_memory_then_they_hold() -> None:
    run_state_machine_as_test(
        lambda: QueueMachine(lambda: MemoryBench(LIMITS)), settings=settings(CHECKS, max_examples=4 * EXAMPLES)
    )


def test_invariants_when_any_steps_are_taken_on_the_embedded_redis_then_they_hold(redis_url: str) -> None:
    run_state_machine_as_test(lambda: QueueMachine(on_redis(redis_url)), settings=CHECKS)


def test_invariants_when_any_steps_are_taken_on_redis_7_then_they_hold(redis_7_url: str) -> None:
    run_state_machine_as_test(lambda: QueueMachine(on_redis(redis_7_url)), settings=CHECKS)


def _no_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper.Keeper, "lapse", lambda _, *, after_outage=False: (0, 0))


def _replace_in(monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str) -> None:
    text = script(name, KEYS)
    assert right in text
    monkeypatch.setattr(
        scripts, "script", lambda asked, keys: text.replace(right, wrong) if asked == name else script(asked, keys)
    )


def _no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_in(monkeypatch, "settle", "if job[1] == token then", "if job[2] then")


def _ack_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_in(monkeypatch, "claim", "redis.call('ZADD', LEASES, now_ms + lease_ms, token)", "")


@pytest.mark.parametrize(
    "plant", [_no_keeper, _no_fence, _ack_first], ids=["no keeper", "settle without the fence", "ack before the result"]
)
def test_invariants_when_a_bug_is_planted_then_it_is_caught(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    find_only = settings(CHECKS, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(lambda: QueueMachine(on_redis(redis_url)), settings=find_only)
