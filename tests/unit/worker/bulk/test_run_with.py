"""Jobs in one batch with rows of a chunk: their outcomes are what they would be alone, or nothing has come of it."""

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
import pytest

from ferry.bulk.batch_records import Place
from ferry.bulk.formats.base import ChunkRows, Group
from ferry.jobs import Claim, ClaimedJob, Outcome
from ferry.manifest import NonFinite
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from worker.batches import BatchRunner
from worker.bulk.row_runner import RowRunner, run_with_company
from worker.models import Model

POISON = 666.0


def raise_on_poison(x: np.ndarray) -> list[np.ndarray]:
    if (x == POISON).any():
        raise ValueError("poisoned")
    return doubled(x)


class Bench:
    """A model of x and y (rows, width), its runner, and jobs for it."""

    def __init__(
        self,
        compute: Callable[[np.ndarray], list[np.ndarray]] = raise_on_poison,
        *,
        width: int | None = 1,
        rule: NonFinite = NonFinite.ALLOW,
        fixed_rows: int | None = None,
    ) -> None:
        signature = {"inputs": (spec("x", "float32", width),), "outputs": (spec("y", "float32", width),)}
        made = manifest(max_rows=8, fixed_rows=fixed_rows, **signature)
        self.session = FakeSession(compute)
        self.model = Model(made.model_copy(update={"non_finite": rule}), self.session)
        self.batches = BatchRunner(self.model, "ticket", clock=count(100, 0.5).__next__)

    def job(self, name: str, *rows: float | list[float]) -> ClaimedJob:
        return ClaimedJob(name, len(rows), self.model.inputs.pack([company(*rows)[0]]), 2, 7)

    def alone(self, *jobs: ClaimedJob) -> dict[str, Outcome]:
        return {outcome.job_id: outcome for outcome in BatchRunner(self.model, "alone").run(jobs)}


def company(*rows: float | list[float]) -> list[np.ndarray]:
    return [np.array(rows, np.float32).reshape(len(rows), -1)]


def values(arrays: Sequence[np.ndarray]) -> list[float]:
    return arrays[0][:, 0].tolist()


@pytest.mark.parametrize("fixed_rows", [None, 8])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_run_with_when_they_fit_then_each_gets_its_own_rows_and_the_outcomes_are_as_alone(
    n_jobs: int, fixed_rows: int | None
) -> None:
    bench = Bench(fixed_rows=fixed_rows)
    jobs = [bench.job(f"job-{n}", 10 * n, 10 * n + 1) for n in range(n_jobs)]
    shared = bench.batches.run_with(jobs, company(100, 101))
    assert shared is not None
    outcomes, results = shared
    assert values(results) == [200, 202]
    n_rows = 2 * n_jobs + 2
    assert bench.session.rows_a_run == [fixed_rows or n_rows]
    alone = bench.alone(*jobs)
    for outcome in outcomes:
        assert outcome.output == alone[outcome.job_id].output
        assert (outcome.attempt, outcome.started_us, outcome.error_code) == (2, 7, "")
        assert (outcome.batch_id, outcome.batch_rows, outcome.batch_jobs) == ("ticket.1", n_rows, n_jobs)
        assert outcome.run_us == 500_000
    assert [outcome.job_id for outcome in outcomes] == [job.id for job in jobs]


@pytest.mark.parametrize(
    ("job_rows", "company_rows"),
    [
        ([[1.0], [POISON]], [3.0]),  # a job's row raises
        ([[1.0], [2.0]], [POISON]),  # a row of the company does
        ([[1.0], [2.0, 3.0]], [4.0]),  # jobs of unlike numbers of rows
        ([[[1.0]], [[2.0]]], [[3.0, 4.0]]),  # the company is of another shape
        ([[[1.0]], [[2.0, 3.0]]], [[4.0]]),  # the jobs are
    ],
)
def test_run_with_when_it_raises_or_does_not_fit_then_none_and_apart_all_is_as_ever(
    job_rows: list[list[float]], company_rows: list[float]
) -> None:
    bench = Bench(width=None)
    jobs = [bench.job(f"job-{n}", *rows) for n, rows in enumerate(job_rows)]
    assert bench.batches.run_with(jobs, company(*company_rows)) is None
    apart = {outcome.job_id: outcome for outcome in bench.batches.run(jobs)}
    for name, wanted in bench.alone(*jobs).items():
        got = apart[name]
        assert (got.output, got.error_code, got.error) == (wanted.output, wanted.error_code, wanted.error)


def test_run_with_when_a_payload_is_damaged_then_none_and_the_model_is_not_run() -> None:
    bench = Bench()
    damaged = ClaimedJob("damaged", 1, b"?", 1, 7)
    assert bench.batches.run_with([bench.job("good", 1), damaged], company(2)) is None
    assert bench.session.feeds == []


def test_run_with_when_a_job_says_another_number_of_rows_than_it_has_then_none() -> None:
    bench = Bench()
    lying = bench.job("lying", 1, 2)
    lying.rows = 1
    assert bench.batches.run_with([lying], company(3)) is None
    assert bench.session.feeds == []


def test_run_with_when_memory_runs_out_then_none() -> None:
    def no_room(x: np.ndarray) -> list[np.ndarray]:
        raise MemoryError

    bench = Bench(no_room)
    assert bench.batches.run_with([bench.job("a", 1)], company(2)) is None


def test_run_with_when_the_model_loses_a_row_then_none() -> None:
    bench = Bench(lambda x: [x[:-1]])
    assert bench.batches.run_with([bench.job("a", 1)], company(2)) is None


def infinite_below_zero(x: np.ndarray) -> list[np.ndarray]:
    return [np.where(x < 0, np.float32(np.inf), x)]


@pytest.mark.parametrize("rule", list(NonFinite))
def test_run_with_when_an_output_is_infinite_then_it_is_the_affair_of_its_own_row(rule: NonFinite) -> None:
    bench = Bench(infinite_below_zero, rule=rule)
    jobs = [bench.job("good", 1), bench.job("bad", -1)]
    shared = bench.batches.run_with(jobs, company(5, -5))
    assert shared is not None
    outcomes, results = shared
    assert values(results) == [5, np.inf], "the company's rule is its own"
    alone = bench.alone(*jobs)
    for got in outcomes:
        wanted = alone[got.job_id]
        assert (got.output, got.error_code, got.error) == (wanted.output, wanted.error_code, wanted.error)
    assert alone["bad"].error_code == ("model_error" if rule is NonFinite.FAIL else "")


def test_run_with_when_it_came_to_nothing_then_the_next_run_has_a_number_of_its_own() -> None:
    bench = Bench()
    assert bench.batches.run_with([bench.job("a", POISON)], company(1)) is None
    first = bench.batches.run([bench.job("a", 1)])[0].batch_id
    shared = bench.batches.run_with([bench.job("b", 2)], company(1))
    assert shared is not None
    assert shared[0][0].batch_id != first


class Pauses:
    """An interlude that does something at each pause, and keeps what it is told."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile
        self.told: list[Place] = []

    def pause(self, place: Place) -> None:
        self.meanwhile()
        self.told.append(place)

    def stand_at(self, place: Place) -> None:
        self.told.append(place)


def chunk_of(n_rows: int) -> ChunkRows:
    group = Group.plain(range(n_rows), company(*map(float, range(n_rows))))
    return ChunkRows([str(n) for n in range(n_rows)], range(1, n_rows + 1), (group,))


class Amid:
    """A chunk that runs while jobs come, one claim at each pause."""

    def __init__(self, bench: Bench, claims: list[Claim]) -> None:
        self.bench, self.claims = bench, claims
        self.shared: list[list[Outcome] | None] = []
        self.pauses = Pauses(self.serve)
        self.runner = RowRunner(bench.model, self.pauses, Place())  # type: ignore[arg-type]

    def serve(self) -> None:
        if self.claims and self.runner.company(1, None):
            claim = self.claims.pop(0)
            self.shared.append(run_with_company(self.bench.batches, claim, self.runner, None))


def test_company_when_jobs_come_at_every_pause_then_each_row_runs_once_and_under_a_mark_that_covers_it() -> None:
    bench = Bench()
    amid = Amid(bench, [Claim("t", (bench.job(f"job-{n}", 1000 + n, 2000 + n),)) for n in range(20)])
    compute, ran = bench.session._compute, []

    def checked(x: np.ndarray) -> list[np.ndarray]:
        rows = [int(value) for value in x[:, 0] if value < 1000]
        place = amid.pauses.told[-1]
        assert place.start is not None
        assert place.end is not None
        assert rows
        assert place.start <= min(rows)
        assert max(rows) < place.end
        ran.extend(rows)
        return compute(x)

    bench.session._compute = checked
    result = amid.runner.run(chunk_of(50))
    assert values(result.outputs[0]) == [2.0 * n for n in range(50)]
    bench.session._compute = compute
    assert ran == list(range(50))
    assert max(bench.session.rows_a_run) <= 8
    assert amid.shared
    for n, outcomes in enumerate(amid.shared):
        assert outcomes is not None
        assert outcomes[0].output == bench.alone(bench.job(f"job-{n}", 1000 + n, 2000 + n))[f"job-{n}"].output


def test_company_when_the_claim_fills_a_batch_by_itself_then_there_is_none_and_nothing_is_told() -> None:
    bench = Bench()
    amid = Amid(bench, [Claim("t", (bench.job("full", *range(8)),))])
    result = amid.runner.run(chunk_of(10))
    assert amid.shared == [None]
    assert [(place.start, place.end) for place in amid.pauses.told] == [(0, 8), (8, 10)]
    assert values(result.outputs[0]) == [2.0 * n for n in range(10)]


def test_company_when_the_last_rows_run_with_jobs_then_the_chunk_is_done() -> None:
    bench = Bench()
    amid = Amid(bench, [Claim("t", (bench.job("a", 1000),))])
    result = amid.runner.run(chunk_of(3))
    assert values(result.outputs[0]) == [0, 2, 4]
    assert bench.session.rows_a_run == [4]
    assert amid.runner.company(1, None) is None, "nothing is under way any more"


def test_company_when_an_output_of_its_rows_is_infinite_then_they_fail_and_the_job_does_not() -> None:
    def infinite_at_two(x: np.ndarray) -> list[np.ndarray]:
        return [np.where(x == 2, np.float32(np.inf), x)]

    bench = Bench(infinite_at_two, rule=NonFinite.FAIL)
    amid = Amid(bench, [Claim("t", (bench.job("a", 1000),))])
    result = amid.runner.run(chunk_of(5))
    assert [(fault.position, fault.code) for fault in result.faults] == [(2, "model_error")]
    assert amid.shared[0] is not None
    assert amid.shared[0][0].error_code == ""
