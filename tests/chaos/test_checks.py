"""The checks of a chaos run see what they must: each is shown one thing that is wrong."""

from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from ferry.jobs import JobRecord, State
from ferry.tensors import TensorCodec
from tests.chaos import model
from tests.chaos.checks import Checks
from tests.chaos.faults import Fault
from tests.chaos.figures import Recovery, recoveries, worst_lateness_ms
from tests.chaos.load import Job
from tests.chaos.news import News
from tests.chaos.plan import Errand, JobPlan, Kind, plan_faults, plan_jobs

SEED = 7
PLAN = JobPlan(number=3, at_s=0, errand=Errand.ORDINARY, n_rows=2, waits=False, urgency=None, cancel_after_ms=None)


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    return Checks(SEED, model.publish(tmp_path))


@pytest.fixture
def good(checks: Checks) -> JobRecord:
    x, k = model.rows(SEED, PLAN.number, PLAN.n_rows, is_bad=False)
    output = TensorCodec(checks.manifest.outputs).pack([model.answer(x, k)])
    return JobRecord(
        id="a", model=model.NAME, version="1", state=State.SUCCEEDED, rows=2, single=False, created_us=1_000_000,
        deadline_us=9_000_000, attempts=1, started_us=1_100_000, completed_us=2_000_000, batch_id="t.1", output=output,
    )  # fmt: skip


def seen(errand: Errand = Errand.ORDINARY, state: str = "succeeded", error_code: str = "") -> Job:
    return Job(replace(PLAN, errand=errand), id="a", state=state, error_code=error_code)


def test_checks_when_a_job_ended_as_it_must_then_nothing_is_said(checks: Checks, good: JobRecord) -> None:
    checks.check_jobs([seen()], {"a": good})
    checks.check_news([seen()], {"a": 1})
    assert checks.violations == []


def test_checks_when_a_job_is_gone_or_not_terminal_then_it_is_lost(checks: Checks, good: JobRecord) -> None:
    checks.check_jobs([seen()], {"a": None})
    checks.check_jobs([seen(state="")], {"a": replace(good, state=State.RUNNING)})
    assert checks.found == {"lost": 2}


def test_checks_when_an_output_is_of_other_rows_then_it_is_wrong(checks: Checks, good: JobRecord) -> None:
    other = model.answer(*model.rows(SEED, PLAN.number + 1, PLAN.n_rows, is_bad=False))
    checks.check_jobs([seen()], {"a": replace(good, output=TensorCodec(checks.manifest.outputs).pack([other]))})
    assert checks.found == {"wrong": 1}


def test_checks_when_a_good_job_failed_with_its_neighbour_then_it_is_wrong(checks: Checks, good: JobRecord) -> None:
    failed = replace(good, state=State.FAILED, error_code="model_error", output=None)
    checks.check_jobs([seen(state="failed", error_code="model_error")], {"a": failed})
    assert checks.found == {"wrong": 1}


def test_checks_when_a_terminal_state_changed_then_it_is_said(checks: Checks, good: JobRecord) -> None:
    checks.check_jobs([seen(Errand.CANCEL, "canceled", "canceled")], {"a": good})
    assert "(I1)" in checks.violations[0]


def test_checks_when_a_canceled_job_has_an_output_then_it_is_said(checks: Checks, good: JobRecord) -> None:
    canceled = replace(good, state=State.CANCELED, error_code="canceled")
    checks.check_jobs([seen(Errand.CANCEL, "canceled", "canceled")], {"a": canceled})
    assert any("(I6)" in violation for violation in checks.violations)


def test_checks_when_a_job_was_claimed_too_often_then_it_is_said(checks: Checks, good: JobRecord) -> None:
    checks.check_jobs([seen()], {"a": replace(good, attempts=4)})
    assert "(I4)" in checks.violations[0]


def test_checks_when_worker_lost_comes_too_soon_then_it_is_said(checks: Checks, good: JobRecord) -> None:
    lost = replace(good, state=State.FAILED, error_code="worker_lost", output=None, attempts=2)
    checks.check_jobs([seen(state="failed", error_code="worker_lost")], {"a": lost})
    assert "(I4)" in checks.violations[0]


def test_checks_when_news_of_a_job_came_twice_then_its_result_is_a_duplicate(checks: Checks) -> None:
    news = News(lambda: pytest.fail("no connection is needed"))
    for _ in range(2):
        news.count(msgpack.packb([[[b"state", b"succeeded"], [b"a"], [b"output"]]]))
    checks.check_news([seen()], news.counts)
    assert checks.found == {"duplicated results": 1}


def test_checks_when_a_part_logged_an_error_then_it_is_said(checks: Checks, tmp_path: Path) -> None:
    (tmp_path / "api.log").write_text("2026-01-01 [info     ] all is well\n2026-01-01 [error    ] GET / failed\n")
    away = "consumer: Cannot connect to redis://:**@127.0.0.1:1/0: Connection refused.."
    (tmp_path / "worker-w1.log").write_text(f"2026-01-01 [error    ] {away}\n")
    checks.check_logs(tmp_path)
    assert len(checks.violations) == 1


def test_plans_when_the_seed_is_the_same_then_so_are_they() -> None:
    assert plan_jobs(200, SEED) == plan_jobs(200, SEED) != plan_jobs(200, SEED + 1)
    first, again = plan_faults(SEED), plan_faults(SEED)
    for _ in range(20):
        one, other = next(first), next(again)
        assert (one.kind, one.gap_s, one.dice.random()) == (other.kind, other.gap_s, other.dice.random())


def test_faults_when_a_round_is_over_then_each_kind_occurred_once() -> None:
    plans = plan_faults(SEED)
    for _ in range(3):
        assert sorted(next(plans).kind for _ in Kind) == sorted(Kind)


def test_recoveries_when_jobs_were_under_way_then_the_last_of_them_counts(good: JobRecord) -> None:
    fault = Fault(Kind.API_KILL, began_s=1.5, repaired_s=1.6, detail="")
    late = replace(good, completed_us=4_500_000)
    after = replace(good, created_us=1_600_000, completed_us=8_000_000)
    assert recoveries([fault], [good, late, after]) == {Kind.API_KILL: Recovery(1, 3.0, 2)}


def test_lateness_when_a_fault_was_near_then_it_counts_apart(good: JobRecord) -> None:
    expired = replace(good, state=State.CANCELED, error_code="deadline_exceeded")
    calm = replace(expired, deadline_us=100_000_000, completed_us=100_040_000)
    near = replace(expired, deadline_us=50_000_000, completed_us=51_000_000)
    fault = Fault(Kind.API_KILL, began_s=50, repaired_s=50.5, detail="")
    assert worst_lateness_ms([calm, near], [fault]) == (40.0, 1000.0)
