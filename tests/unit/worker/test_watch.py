from itertools import count

import pytest

from ferry import metrics
from ferry.jobs import Claim, ClaimedJob, Outcome
from ferry.metrics import Labels, Name
from worker.watch import MOST_LOGGED, Watch

TOY = ("toy", "1")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def claim_of(n_jobs: int = 2, *, origin: str = "") -> Claim:
    jobs = (ClaimedJob(f"job-{n}", 1, b"", 1, 1_000_500_000, origin, 1_000_000) for n in range(n_jobs))
    return Claim("token", tuple(jobs))


def outcomes_of(claim: Claim, *, run_us: int = 7, error: str = "") -> list[Outcome]:
    return [Outcome(job.id, "t.1", claim.rows, len(claim.jobs), run_us, 1, 1, error_code=error) for job in claim.jobs]


def tell(watch: Watch, claim: Claim, outcomes: list[Outcome] | None = None, *, waited_s: float = 0.0) -> None:
    watch.ran(
        TOY, claim, outcomes_of(claim) if outcomes is None else outcomes, room=8, reason="idle", waited_s=waited_s,
        spent_s={"infer": 0.002, "split": 0.001}, since_claim_s=0.25,
    )  # fmt: skip


def told(watch: Watch) -> dict[tuple[Name, Labels], object]:
    return {(name, labels): value for name, values in watch.readings() for labels, value in values.items()}


def test_ran_when_a_claim_was_run_then_sizes_shares_stages_and_times_of_its_jobs() -> None:
    watch = Watch()
    tell(watch, claim_of(2), waited_s=0.5)
    seen = told(watch)
    assert seen[metrics.ROWS, TOY] == 2
    assert seen[metrics.EXECUTIONS, TOY] == 1
    assert seen[metrics.BATCH_FLUSH, (*TOY, "idle")] == 1
    assert seen[metrics.BATCH_SIZE, TOY].total == 2
    assert seen[metrics.BATCH_FILL, TOY].total == 0.25
    assert seen[metrics.BATCH_WAIT, TOY].total == 0.5
    assert seen[metrics.STAGE, (*TOY, "infer")].total == 0.002
    assert seen[metrics.QUEUE_WAIT, TOY].total == pytest.approx(2 * 0.5)
    assert seen[metrics.JOB_LATENCY, TOY].total == pytest.approx(2 * 0.75)
    assert sum(seen[metrics.JOB_LATENCY, TOY].numbers) == 2


def test_ran_when_nothing_ran_then_no_execution_and_no_wait() -> None:
    watch = Watch()
    claim = claim_of(1)
    tell(watch, claim, outcomes_of(claim, run_us=0, error="invalid_input"))
    assert told(watch)[metrics.EXECUTIONS, TOY] == 0
    assert (metrics.BATCH_WAIT, TOY) not in told(watch)


def test_bisected_and_steps_when_counted_then_by_reason_and_outcome() -> None:
    watch = Watch()
    watch.bisected(TOY, 0)
    watch.bisected(TOY, 4)
    watch.step_done("batch_1", "0", "chunk", 100)
    seen = told(watch)
    assert seen[metrics.BATCH_FLUSH, (*TOY, "bisect")] == 4
    assert seen[metrics.STEPS, ("chunk",)] == 1


def test_readings_when_the_worker_goes_on_then_what_was_read_stays_whole() -> None:
    watch = Watch()
    before = watch.readings()
    tell(watch, claim_of())
    assert all(not values for name, values in before if name is not metrics.BUILD)
    assert {name for name, _ in before} == set(metrics.FROM_WORKER)


def test_log_when_asked_for_then_a_line_a_claim_with_every_id() -> None:
    lines: list[tuple[str, dict[str, object]]] = []
    watch = Watch(lambda event, fields: lines.append((event, dict(fields))))
    tell(watch, claim_of(2, origin=f"night-42 {PARENT}"))
    tell(watch, claim_of(MOST_LOGGED + 1))
    watch.step_done("batch_1", "0", "chunk", 100)
    (event, fields), (_, many), step = lines
    assert event == "batch"
    assert fields["ids"] == ["job-0", "job-1"]
    assert fields["request_ids"] == ["night-42"] * 2
    assert fields["trace_ids"] == [PARENT[3:35]] * 2
    assert fields["batch_ids"] == ["t.1"]
    assert len(many["ids"]) == MOST_LOGGED < many["jobs"]
    assert "request_ids" not in many
    assert step == ("step", {"id": "batch_1", "step": "0", "outcome": "chunk", "rows": 100})


def test_timer_when_it_waits_runs_and_stores_then_each_by_itself() -> None:
    ticks = count(10.0, 1.0)
    timer = Watch(clock=lambda: next(ticks)).start()
    timer.waited()
    timer.stop()
    timer.stored()
    assert (timer.waited_s, timer.since_claim_s, timer.stored_s) == (1.0, 1.0, 1.0)


def test_timer_when_the_claim_waited_for_the_next_ticket_then_that_is_no_part_of_its_cost() -> None:
    ticks = count()
    timer = Watch(clock=lambda: next(ticks)).start()
    timer.lingered(0.25)
    timer.end()
    assert timer.cost_s == 0.75


def test_timer_when_an_outage_was_part_of_the_claim_then_its_cost_is_not_known() -> None:
    timer = Watch().start()
    timer.lingered(None)
    timer.end()
    assert timer.cost_s is None
