import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from ferry.errors import QueueUnavailableError
from ferry.jobs import State, Submission
from ferry.manifest import ExecutionMode
from ferry.profile import Tuning
from tests.fakes.memory_queue import MemoryQueue
from tests.fakes.sessions import FakeSession
from tests.manifests import LIMITS, manifest, submission
from worker.models import Model
from worker.neighbour_check import Batch
from worker.tickets import LINGER_S, SETTLE_RETRY_S, TICKET_S, TicketRunner
from worker.watch import Watch

GIVE_UP_S = 300.0
STARTED_AT = 1000.0


def sums(x: np.ndarray) -> list[np.ndarray]:
    if (x < 0).any():
        raise ValueError("below zero")
    return [np.stack([x.sum(axis=1), x[:, 0]], axis=1)]


class Checks:
    """Counts what a neighbour check sees."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.checks = 0

    def batch_ran(self, batch: Batch) -> None:
        self.batches.append(batch)

    def check(self) -> None:
        self.checks += 1


class Bench:
    """A ticket runner on the queue in memory; sleeping turns the clock and may do something else."""

    def __init__(self, **batching: object) -> None:
        self.queue = MemoryQueue(LIMITS)
        self.manifest = manifest(**({"max_rows": 8} | batching))
        asyncio.run(self.queue.register(self.manifest))
        self.session = FakeSession(sums)
        self.model: Model | None = Model(self.manifest, self.session)
        self.held: list[str] = []
        self.was_held: list[str] = []
        self.now = STARTED_AT
        self.sleeps: list[float] = []
        self.while_asleep = lambda: None
        self.checks = Checks()
        self.runner = TicketRunner(
            self.queue, self, lambda name, version: self.model if (name, version) == ("toy", "1") else None,
            give_up_s=GIVE_UP_S, neighbours=self.checks, watch=Watch(clock=lambda: self.now), sleep=self.sleep,
            clock=lambda: self.now,
        )  # fmt: skip

    @contextmanager
    def holding(self, token: str) -> Iterator[None]:
        self.held.append(token)
        self.was_held.append(token)
        try:
            yield
        finally:
            self.held.remove(token)

    def sleep(self, seconds: float) -> None:
        assert self.held, "slept without renewing the lease"
        self.sleeps.append(seconds)
        self.now += seconds
        assert len(self.sleeps) < 10_000
        self.while_asleep()

    def submit(self, *jobs: Submission) -> list[str]:
        asyncio.run(self.queue.submit(jobs))
        return [job.id for job in jobs]

    def job(self, *rows: list[float]) -> Submission:
        payload = Model(self.manifest, None).inputs.pack([np.array(rows, np.float32)])
        return submission(rows=len(rows), payload=payload)

    def state(self, job_id: str) -> State:
        return self.queue.jobs[job_id].record.state

    def serve(self, ticket: str = "t1") -> dict[str, object]:
        return self.runner.serve(ticket, "toy", "1")


GOOD, BAD = [1.0, 2.0, 3.0], [-1.0, 2.0, 3.0]


# --- one ticket


def test_serve_when_jobs_wait_then_run_settled_and_summed_up() -> None:
    bench = Bench()
    first, second = bench.submit(bench.job(GOOD), bench.job(GOOD, GOOD))
    summary = bench.serve()
    record = bench.queue.jobs[first].record
    assert summary == {
        "model": "toy", "version": "1", "jobs": 2, "rows": 3, "batches": 1, "run_ms": round(record.run_us / 1000, 3),
    }  # fmt: skip
    assert (record.state, record.batch_id, record.batch_rows, record.batch_jobs) == (State.SUCCEEDED, "t1.1", 3, 2)
    assert bench.model.outputs.unpack(record.output)[0].tolist() == [[6, 1]]
    assert bench.state(second) is State.SUCCEEDED
    assert bench.queue.leases == bench.queue.claims == {}


def test_serve_when_nothing_waits_any_more_then_neighbours_are_checked_once() -> None:
    bench = Bench()
    bench.submit(bench.job(GOOD), bench.job(GOOD, GOOD))
    bench.serve()
    (batch,) = bench.checks.batches
    assert (batch.key, list(batch.counts), len(batch.arrays[0]), batch.model) == (("toy", "1"), [1, 2], 3, bench.model)
    assert bench.checks.checks == 1


def test_serve_when_its_time_is_up_and_jobs_wait_then_neighbours_are_not_checked() -> None:
    bench = Bench(max_rows=1)
    bench.submit(*(bench.job(GOOD) for _ in range(3)))
    compute = bench.session._compute

    def slow(x: np.ndarray) -> list[np.ndarray]:
        bench.now += TICKET_S
        return compute(x)

    bench.session._compute = slow
    assert bench.serve()["jobs"] == 1
    assert bench.checks.checks == 0


def test_serve_when_jobs_run_whole_then_each_has_its_own_run_and_answer() -> None:
    bench = Bench(mode=ExecutionMode.WHOLE_JOB)
    arrays = [np.full((n, 3), n, np.float32) for n in (1, 2, 3)]
    ids = bench.submit(*(submission(payload=bench.model.inputs.pack([array])) for array in arrays))
    summary = bench.serve()
    assert (summary["jobs"], summary["rows"], summary["batches"]) == (3, 3, 3)
    assert bench.session.rows_a_run == [1, 2, 3]
    for job_id, array in zip(ids, arrays, strict=True):
        output = bench.queue.jobs[job_id].record.output
        assert bench.model.outputs.unpack(output)[0].tolist() == sums(array)[0].tolist()


def test_serve_when_a_claim_of_whole_jobs_takes_too_long_then_the_rest_waits_without_an_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.whole_jobs.CLAIM_LIMIT_S", -1.0)
    monkeypatch.setattr(Model, "claim_rows", 3)
    bench = Bench(mode=ExecutionMode.WHOLE_JOB)
    payload = bench.model.inputs.pack([np.zeros((1, 3), np.float32)])
    ids = bench.submit(*(submission(payload=payload) for _ in range(3)))
    summary = bench.serve()
    assert (summary["jobs"], summary["batches"], summary.get("dropped")) == (3, 3, None)
    records = [bench.queue.jobs[job_id].record for job_id in ids]
    assert [(record.state, record.attempts) for record in records] == [(State.SUCCEEDED, 1)] * 3


def test_serve_when_nothing_waits_then_no_run_and_no_lease() -> None:
    bench = Bench()
    assert bench.serve() == {"model": "toy", "version": "1", "jobs": 0}
    assert (bench.session.feeds, bench.was_held) == ([], [])


def test_serve_when_the_model_is_not_loaded_here_then_nothing_is_claimed() -> None:
    bench = Bench()
    (job,) = bench.submit(bench.job(GOOD))
    bench.model = None
    assert bench.serve() == {"model": "toy", "version": "1", "jobs": 0, "note": "not loaded here"}
    assert bench.state(job) is State.QUEUED


def test_serve_when_more_waits_than_a_batch_holds_then_batch_after_batch() -> None:
    bench = Bench(max_rows=4)
    ids = bench.submit(*(bench.job(GOOD) for _ in range(6)))
    summary = bench.serve()
    assert (summary["rows"], summary["batches"], bench.session.rows_a_run) == (6, 2, [4, 2])
    assert {bench.queue.jobs[job].record.batch_id for job in ids} == {"t1.1", "t1.2"}
    assert len(set(bench.was_held)) == 2
    assert bench.queue.leases == bench.queue.claims == {}


def test_serve_when_its_time_is_up_then_the_rest_is_left_to_the_next_ticket() -> None:
    bench = Bench(max_rows=4)
    bench.submit(*(bench.job(GOOD) for _ in range(14)))
    compute = bench.session._compute

    def compute_for_a_while(x: np.ndarray) -> list[np.ndarray]:
        bench.now += TICKET_S / 2
        return compute(x)

    bench.session._compute = compute_for_a_while
    assert bench.serve()["rows"] == 8
    assert len(bench.queue.lanes["toy", "1"].tickets) == 1
    assert bench.serve()["rows"] == 6
    assert bench.queue.leases == bench.queue.claims == {}


def test_serve_when_the_model_is_retuned_between_batches_then_the_next_one_follows() -> None:
    bench = Bench(max_rows=4)
    bench.submit(*(bench.job(GOOD) for _ in range(6)))
    compute = bench.session._compute
    bench.session._compute = lambda x: (bench.model.retune(Tuning(max_rows=1)), compute(x))[1]
    assert bench.serve()["jobs"] == 6
    assert bench.session.rows_a_run == [4, 1, 1]


def test_serve_when_a_job_is_bad_then_the_summary_counts_it_and_the_others_are_done() -> None:
    bench = Bench()
    good, bad, last = bench.submit(bench.job(GOOD), bench.job(BAD), bench.job(GOOD))
    summary = bench.serve()
    assert (summary["jobs"], summary["failed"], summary["batches"]) == (3, 1, 3)
    assert [bench.state(job) for job in (good, bad, last)] == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]
    assert bench.queue.jobs[bad].record.error == "ValueError: below zero"


def test_serve_when_a_job_is_canceled_while_it_runs_then_its_result_is_dropped() -> None:
    bench = Bench()
    canceled, other = bench.submit(bench.job(GOOD), bench.job(GOOD))
    compute = bench.session._compute
    bench.session._compute = lambda x: (asyncio.run(bench.queue.cancel(canceled)), compute(x))[1]
    summary = bench.serve()
    assert (summary["jobs"], summary["dropped"]) == (2, 1)
    assert [bench.state(job) for job in (canceled, other)] == [State.CANCELED, State.SUCCEEDED]


def test_serve_when_it_runs_then_its_lease_is_held_from_the_claim_to_the_end() -> None:
    bench, held = Bench(), []
    bench.submit(bench.job(GOOD))
    compute = bench.session._compute
    bench.session._compute = lambda x: (held.extend(bench.held), compute(x))[1]
    bench.serve()
    assert held == bench.was_held
    assert len(held) == 1
    assert bench.held == []


def test_serve_when_the_queue_is_down_at_the_claim_then_the_ticket_comes_to_nothing_and_says_so() -> None:
    bench = Bench()
    bench.queue.is_down = True
    summary = bench.serve()
    assert (summary["jobs"], summary["note"]) == (0, "Redis is away")


# --- what a claim costs


def costs_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that takes in the costs of claims; the bench's clock stands still beside its sleeps."""
    seen: list[float] = []
    monkeypatch.setattr(bench.model, "claim_settled", lambda _rows, host_s: seen.append(host_s))
    return seen


def test_serve_when_it_lingers_for_the_next_ticket_then_that_is_no_cost_of_the_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    costs = costs_of(bench, monkeypatch)
    plain = bench.queue.settle_and_claim

    def linger(*args: object, **more: object) -> object:
        bench.now += LINGER_S + 100.0
        return plain(*args, **more)._replace(waited_s=LINGER_S + 100.0)

    monkeypatch.setattr(bench.queue, "settle_and_claim", linger)
    bench.submit(bench.job(GOOD))
    bench.serve()
    assert len(costs) == 1
    assert costs[0] == pytest.approx(0, abs=50)


@pytest.mark.parametrize("late_s", [0.0, TICKET_S])  # settled with the next claim, and by itself
def test_serve_when_the_settle_was_retried_then_the_claim_tells_nothing_of_costs(
    monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    bench = Bench()
    costs = costs_of(bench, monkeypatch)

    def lose_redis(x: np.ndarray) -> list[np.ndarray]:
        bench.queue.is_down = True
        bench.now += late_s
        return sums(x)

    def come_back() -> None:
        bench.queue.is_down = bench.now < STARTED_AT + 5

    bench.session._compute, bench.while_asleep = lose_redis, come_back
    (job,) = bench.submit(bench.job(GOOD))
    bench.serve()
    assert bench.state(job) is State.SUCCEEDED
    assert costs == []


# --- waiting for company


def test_serve_when_the_manifest_says_so_then_it_waits_once_for_company() -> None:
    bench = Bench(max_wait_ms=20)
    first = bench.submit(bench.job(GOOD))
    later: list[str] = []
    bench.while_asleep = lambda: later.extend(bench.submit(bench.job(GOOD), bench.job(GOOD)))
    summary = bench.serve()
    assert bench.sleeps == [0.02]
    assert (summary["jobs"], bench.session.rows_a_run) == (3, [3])
    assert [bench.state(job) for job in first + later] == [State.SUCCEEDED] * 3


def test_serve_when_company_is_more_than_there_is_room_then_the_rest_waits() -> None:
    bench = Bench(max_wait_ms=20, max_rows=4)
    bench.submit(bench.job(GOOD, GOOD))
    bench.while_asleep = lambda: bench.submit(bench.job(GOOD), bench.job(GOOD, GOOD))
    bench.while_asleep, later = lambda: None, bench.while_asleep
    bench.while_asleep = lambda: (later(), setattr(bench, "while_asleep", lambda: None))
    assert bench.serve()["rows"] == 5
    assert bench.session.rows_a_run == [3, 2]


@pytest.mark.parametrize(("max_wait_ms", "n_rows"), [(0.5, 1), (20, 7)])
def test_serve_when_there_is_the_least_time_or_room_then_it_waits(max_wait_ms: float, n_rows: int) -> None:
    bench = Bench(max_wait_ms=max_wait_ms)
    bench.submit(bench.job(*[GOOD] * n_rows))
    bench.serve()
    assert bench.sleeps == [max_wait_ms / 1000]


@pytest.mark.parametrize(("batching", "n_rows"), [({"max_wait_ms": 0}, 1), ({"max_wait_ms": 20}, 8)])
def test_serve_when_waiting_would_not_pay_then_it_does_not(batching: dict[str, object], n_rows: int) -> None:
    bench = Bench(**batching)
    bench.submit(bench.job(*[GOOD] * n_rows))
    bench.serve()
    assert bench.sleeps == []


def test_serve_when_a_job_is_tried_again_then_it_stays_alone() -> None:
    bench = Bench(max_wait_ms=20)
    bench.submit(bench.job(GOOD))
    claim = bench.queue.claim("toy", "1", max_rows=8)
    bench.queue.leases[claim.token] = 0
    bench.queue.lapse()
    bench.submit(bench.job(GOOD))
    assert bench.serve()["jobs"] == 2
    assert bench.session.rows_a_run == [1, 1]
    assert bench.sleeps == [0.02]  # for the second, which is new


def test_serve_when_the_queue_goes_down_while_it_waits_then_it_runs_what_it_has() -> None:
    bench = Bench(max_wait_ms=20)
    bench.submit(bench.job(GOOD))

    def fail() -> None:
        bench.queue.is_down = len(bench.sleeps) < 3

    bench.while_asleep = fail
    assert bench.serve()["jobs"] == 1
    assert bench.sleeps == [0.02, SETTLE_RETRY_S, SETTLE_RETRY_S]


# --- an outage when the work is done


def test_serve_when_the_queue_is_down_at_the_end_then_settled_as_soon_as_it_is_back() -> None:
    bench = Bench()
    (job,) = bench.submit(bench.job(GOOD))
    compute = bench.session._compute

    def compute_and_fail(x: np.ndarray) -> list[np.ndarray]:
        bench.queue.is_down = True
        return compute(x)

    def come_back_after_a_minute() -> None:
        bench.queue.is_down = bench.now < STARTED_AT + 60

    bench.session._compute = compute_and_fail
    bench.while_asleep = come_back_after_a_minute
    summary = bench.serve()
    assert (summary["jobs"], "dropped" in summary) == (1, False)
    assert bench.state(job) is State.SUCCEEDED
    assert len(bench.session.feeds) == 1
    assert len(bench.sleeps) == pytest.approx(60 / SETTLE_RETRY_S, abs=1)


def test_serve_when_the_queue_stays_down_then_it_gives_up_after_its_bound() -> None:
    bench = Bench()
    bench.submit(bench.job(GOOD))
    compute = bench.session._compute

    def compute_and_fail(x: np.ndarray) -> list[np.ndarray]:
        bench.queue.is_down = True
        return compute(x)

    bench.session._compute = compute_and_fail
    with pytest.raises(QueueUnavailableError):
        bench.serve()
    assert bench.now - STARTED_AT == pytest.approx(GIVE_UP_S, abs=2 * SETTLE_RETRY_S)
    assert bench.held == []


def test_serve_when_the_claim_lapsed_meanwhile_then_its_results_are_dropped() -> None:
    bench = Bench()
    (job,) = bench.submit(bench.job(GOOD))
    compute = bench.session._compute

    def compute_too_long(x: np.ndarray) -> list[np.ndarray]:
        bench.queue.leases = dict.fromkeys(bench.queue.leases, 0)
        bench.queue.lapse()
        return compute(x)

    bench.session._compute = compute_too_long
    summary = bench.serve()  # it takes the job again, until that has been claimed too often
    assert (summary["jobs"], summary["dropped"]) == (3, 3)
    assert bench.queue.jobs[job].record.error_code == "worker_lost"
