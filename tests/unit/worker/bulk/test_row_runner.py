"""Rows of a chunk: sliced, halved where they raise, one by one where they killed, and in company of jobs."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ferry.bulk.batch_records import Place
from ferry.bulk.formats.base import ChunkRows, Group, PartResult
from ferry.jobs import Claim, ClaimedJob
from ferry.manifest import ExecutionMode, NonFinite, TensorSpec
from ferry.profile import Profile
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, spec
from worker.batches import BatchRunner
from worker.bulk.interludes import StepLostError
from worker.bulk.row_runner import RowRunner, run_with_company
from worker.models import Model

POISON = 666.0
MAX_ROWS = 8
NOWHERE = Place()


def raise_on_poison(x: np.ndarray) -> list[np.ndarray]:
    if (x == POISON).any():
        raise ValueError("poisoned")
    return doubled(x)


def model_of(
    compute: Callable[[np.ndarray], list[np.ndarray]] = raise_on_poison, rule: NonFinite = NonFinite.ALLOW
) -> tuple[Model, FakeSession]:
    signature = {"inputs": (spec("x", "float32", 1),), "outputs": (spec("y", "float32", 1),)}
    session = FakeSession(compute)
    made = manifest(max_rows=MAX_ROWS, **signature).model_copy(update={"non_finite": rule})
    return Model(made, session), session


class Pauses:
    """What a chunk says between its slices; `meanwhile` is done at each pause."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.places: list[Place] = []
        self.meanwhile = meanwhile

    def pause(self, place: Place) -> None:
        self.meanwhile()
        self.places.append(place)

    def stand_at(self, place: Place) -> None:
        self.places.append(place)


def rows_of(*parts: Sequence[float], counts: Sequence[int] | None = None) -> ChunkRows:
    """A chunk of one group per part, each position having one row unless `counts` says otherwise."""
    groups, first = [], 0
    for part in parts:
        array = np.float32(part).reshape(-1, 1)
        if counts is None:
            groups.append(Group.plain(range(first, first + len(array)), [array]))
            first += len(array)
        else:
            places = tuple(range(len(counts)))
            n = len(counts)
            groups.append(Group(places, [array], tuple(counts), (False,) * n, (None,) * n))
            first += n
    return ChunkRows([str(n) for n in range(first)], list(range(1, first + 1)), tuple(groups))


def run(
    rows: ChunkRows, *, place: Place = NOWHERE, model: Model | None = None, pauses: Pauses | None = None
) -> PartResult:
    return RowRunner(model or model_of()[0], pauses or Pauses(), place).run(rows)  # type: ignore[arg-type]


def faulty(result: PartResult) -> dict[int, str]:
    return {fault.position: fault.code for fault in result.faults}


def test_run_when_all_is_well_then_every_row_in_batches_of_max_rows() -> None:
    model, session = model_of()
    result = run(rows_of(range(20)), model=model)
    np.testing.assert_array_equal(result.outputs[0][0][:, 0], np.arange(20) * 2)
    assert result.faults == ()
    assert [len(call["x"]) for call in session.feeds] == [8, 8, 4]


@pytest.mark.parametrize("bad", [0, 7, 8, 13, 19])
def test_run_when_a_row_raises_then_it_alone_fails_after_a_few_runs_more(bad: int) -> None:
    model, session = model_of()
    values = np.arange(20, dtype=np.float32)
    values[bad] = POISON
    result = run(rows_of(values), model=model)
    assert faulty(result) == {bad: "model_error"}
    assert result.faults[0].status == 500
    assert "poisoned" in result.faults[0].message
    good = np.delete(np.arange(20), bad)
    np.testing.assert_array_equal(result.outputs[0][0][good, 0], values[good] * 2)
    assert len(session.feeds) <= 3 + 2 * 3


def test_run_when_there_are_several_groups_then_each_has_its_own_outputs_and_faults() -> None:
    result = run(rows_of([1, POISON], [3, 4, POISON]))
    assert faulty(result) == {1: "model_error", 4: "model_error"}
    assert result.outputs[0][0][0, 0] == 2
    assert result.outputs[1][0][:2, 0].tolist() == [6, 8]


def test_run_when_a_position_has_several_rows_then_one_bad_one_fails_it_once() -> None:
    result = run(rows_of([1, 2, POISON, POISON, 5, 6], counts=[2, 3, 1]))
    assert faulty(result) == {1: "model_error"}
    assert result.outputs[0][0][[0, 1, 5], 0].tolist() == [2, 4, 12]


def test_run_when_every_row_raises_then_the_outputs_have_the_right_shape() -> None:
    result = run(rows_of([POISON] * 3))
    assert faulty(result) == dict.fromkeys(range(3), "model_error")
    assert result.outputs[0][0].shape == (3, 1)


@pytest.mark.parametrize("rule", [NonFinite.FAIL, NonFinite.NULL, NonFinite.ALLOW])
def test_run_when_an_output_is_infinite_then_as_the_manifest_says(rule: NonFinite) -> None:
    model, _ = model_of(lambda x: [x / np.float32(0)] if (x < 0).any() else doubled(x), rule)
    with np.errstate(divide="ignore"):
        result = run(rows_of([-1.0]), model=model)
    assert faulty(result) == ({0: "model_error"} if rule is NonFinite.FAIL else {})
    if rule is not NonFinite.FAIL:
        value = result.outputs[0][0][0, 0]
        assert np.isnan(value) if rule is NonFinite.NULL else np.isinf(value)


def test_run_when_a_slice_killed_a_worker_then_its_rows_are_run_one_by_one() -> None:
    model, session = model_of()
    pauses = Pauses()
    result = run(rows_of(range(30)), place=Place(8, 12), model=model, pauses=pauses)
    np.testing.assert_array_equal(result.outputs[0][0][:, 0], np.arange(30) * 2)
    alone = [call["x"][0, 0] for call in session.feeds if len(call["x"]) == 1]
    assert alone == [8, 9, 10, 11]
    marked = [(place.start, place.end) for place in pauses.places]
    assert [(n, n + 1) for n in range(8, 12)] == [each for each in marked if each[1] - each[0] == 1]


def test_run_when_one_row_killed_a_worker_then_it_is_left_out_and_stays_so() -> None:
    model, session = model_of()
    pauses = Pauses()
    result = run(rows_of(range(20)), place=Place(9, 10, skipped=(3,)), model=model, pauses=pauses)
    assert faulty(result) == {3: "worker_lost", 9: "worker_lost"}
    ran = np.concatenate([call["x"][:, 0] for call in session.feeds]).tolist()
    assert sorted(ran) == [n for n in range(20) if n not in (3, 9)]
    assert {place.skipped for place in pauses.places} == {(3, 9)}


def test_run_when_rows_run_then_they_stand_in_the_last_place_that_was_told() -> None:
    model, session = model_of()
    pauses = Pauses()
    original = session.run

    def checked(names: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        place, rows = pauses.places[-1], feeds["x"][:, 0]
        assert place.start <= rows.min()
        assert rows.max() < place.end
        return original(names, feeds)

    session.run = checked  # type: ignore[method-assign]
    result = run(rows_of(range(300)), model=model, pauses=pauses)
    assert result.faults == (), "what fails amid a run is a fault of its rows"
    assert len(session.feeds) >= 300 / MAX_ROWS


def test_run_when_inputs_and_outputs_are_text_then_each_row_has_its_own_and_a_bad_one_fails_alone() -> None:
    def shout(x: np.ndarray) -> list[np.ndarray]:
        if (x == "bad").any():
            raise ValueError("cannot shout that")
        return [np.array([[text.upper(), text] for text in x[:, 0]], object)]

    signature = {"inputs": (spec("x", "string", 1),), "outputs": (spec("y", "string", 2),)}
    model = Model(manifest(max_rows=MAX_ROWS, **signature), FakeSession(shout))
    texts = [f"row {n}" for n in range(11)] + ["bad"]
    group = Group.plain(range(12), [np.array([[text] for text in texts], object)])
    rows = ChunkRows([str(n) for n in range(12)], range(1, 13), (group,))
    result = run(rows, model=model)
    assert faulty(result) == {11: "model_error"}
    assert result.outputs[0][0][:11].tolist() == [[text.upper(), text] for text in texts[:11]]


def test_run_when_every_row_of_text_raises_then_the_outputs_are_empty_texts() -> None:
    def fail(x: np.ndarray) -> list[np.ndarray]:
        raise ValueError("never")

    signature = {"inputs": (spec("x", "float32", 1),), "outputs": (spec("y", "string", None),)}
    model = Model(manifest(max_rows=MAX_ROWS, **signature), FakeSession(fail))
    result = run(rows_of([1, 2]), model=model)
    assert faulty(result) == {0: "model_error", 1: "model_error"}
    assert (result.outputs[0][0].shape, result.outputs[0][0].dtype) == ((2, 0), object)


def test_run_when_a_suspect_row_only_raises_then_it_fails_for_that_and_its_fellows_do_not() -> None:
    values = [float(n) for n in range(12)]
    values[5] = POISON
    result = run(rows_of(values), place=Place(4, 8))
    assert faulty(result) == {5: "model_error"}
    assert result.outputs[0][0][[4, 6, 7, 8], 0].tolist() == [8, 12, 14, 16]


def test_run_when_the_suspects_stand_in_two_groups_then_each_is_run_by_itself() -> None:
    model, session = model_of()
    result = run(rows_of(range(6), range(6)), place=Place(4, 8), model=model)
    assert result.faults == ()
    assert session.rows_a_run == [4, 1, 1, 1, 1, 4]
    assert [array[0][:, 0].tolist() for array in result.outputs] == [[0, 2, 4, 6, 8, 10]] * 2


def test_run_when_the_only_row_killed_a_worker_then_no_run_at_all() -> None:
    model, session = model_of()
    result = run(rows_of([1.0]), place=Place(0, 1), model=model)
    assert faulty(result) == {0: "worker_lost"}
    assert (session.feeds, result.outputs[0][0].shape) == ([], (1, 1))


def test_run_when_a_run_is_quick_then_slices_grow_and_none_is_over_max_rows_a_batch() -> None:
    model, session = model_of()
    pauses = Pauses()
    now = [0.0]
    compute = session._compute

    def quick(x: np.ndarray) -> list[np.ndarray]:
        now[0] += 0.0001
        return compute(x)

    session._compute = quick
    runner = RowRunner(model, pauses, Place(), clock=lambda: now[0])  # type: ignore[arg-type]
    result = runner.run(rows_of(range(1000, 3000)))
    assert result.faults == ()
    sizes = [place.end - place.start for place in pauses.places if place.end is not None and place.start is not None]
    assert sizes[:4] == [8, 16, 32, 64]
    assert max(sizes) == 320, "as many rows as run in a slice's time"
    assert max(session.rows_a_run) == MAX_ROWS
    assert (runner.runs, runner.run_us) == (250, pytest.approx(25_000, abs=50))


def job(model: Model, value: float) -> ClaimedJob:
    return ClaimedJob(f"job-{value:g}", 1, model.inputs.pack([np.float32([[value]])]), 1, 7)


def profile(a_us: float, b_us: float) -> Profile:
    return Profile(
        sizes=(1,), microseconds=(a_us + b_us,), a_us=a_us, b_us=b_us, max_rows=MAX_ROWS, max_wait_ms=0, machine="m",
        measured_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.mark.parametrize(("a_us", "b_us", "n_company"), [(1000.0, 0.0, 7), (30.0, 10.0, 4), (0.0, 10.0, 1)])
def test_company_when_a_job_comes_amid_a_chunk_then_it_shares_its_batch_with_as_many_rows_as_take_as_long(
    a_us: float, b_us: float, n_company: int
) -> None:
    model, session = model_of()
    outcomes = []

    def meanwhile() -> None:
        if len(session.feeds) == 1:
            claim = Claim("t", (job(model, 1000),))
            outcomes.extend(run_with_company(batches, claim, runner, profile(a_us, b_us)) or [])

    pauses = Pauses(meanwhile)
    batches = BatchRunner(model, "ticket")
    runner = RowRunner(model, pauses, Place())  # type: ignore[arg-type]
    result = runner.run(rows_of(range(30)))
    np.testing.assert_array_equal(result.outputs[0][0][:, 0], np.arange(30) * 2)
    (outcome,) = outcomes
    assert model.outputs.unpack(outcome.output)[0].tolist() == [[2000]]
    assert (outcome.batch_rows, outcome.batch_jobs, outcome.batch_id) == (1 + n_company, 1, "ticket.1")
    ran = np.concatenate([call["x"][:, 0] for call in session.feeds]).tolist()
    assert sorted(ran) == [*range(30), 1000], "no row ran twice"


def test_company_when_a_row_of_the_chunk_raises_then_neither_is_counted_and_both_are_run_apart() -> None:
    model, session = model_of()
    seen = []

    def meanwhile() -> None:
        if len(session.feeds) == 1:
            seen.append(run_with_company(batches, Claim("t", (job(model, 1000),)), runner, None))

    batches = BatchRunner(model, "ticket")
    runner = RowRunner(model, Pauses(meanwhile), Place())  # type: ignore[arg-type]
    values = [*range(8), POISON, *range(9, 20)]
    result = runner.run(rows_of(values))
    assert seen[0] is None
    assert faulty(result) == {8: "model_error"}


def test_company_when_the_chunk_killed_a_worker_before_then_there_is_none() -> None:
    model, _ = model_of()
    seen = []
    runner: RowRunner
    pauses = Pauses(lambda: seen.append(runner.company(1, None)))
    runner = RowRunner(model, pauses, Place(0, 8))  # type: ignore[arg-type]
    runner.run(rows_of(range(20)))
    assert set(seen) == {None}


def test_run_when_outputs_of_a_free_axis_differ_in_width_then_rows_fail_and_none_is_stretched() -> None:
    signature = {"inputs": (spec("x", "float32", 1),), "outputs": (spec("y", "float32", None),)}
    session = FakeSession(lambda x: [np.repeat(x, 1 if x[0, 0] >= MAX_ROWS else 3, axis=1)])
    model = Model(manifest(max_rows=MAX_ROWS, **signature), session)
    result = run(rows_of(range(2 * MAX_ROWS)), model=model)
    assert faulty(result) == dict.fromkeys(range(MAX_ROWS, 2 * MAX_ROWS), "model_error")
    assert "rows of shape (1,), before them (3,)" in result.faults[0].message


def test_company_when_the_chunk_was_lost_then_the_jobs_are_run_by_themselves() -> None:
    class Lost(Pauses):
        def stand_at(self, place: Place) -> None:
            raise StepLostError("lost")

    model, session = model_of()
    seen = []

    def meanwhile() -> None:
        if len(session.feeds) == 1:
            seen.append(run_with_company(batches, Claim("t", (job(model, 1000),)), runner, None))

    batches = BatchRunner(model, "ticket")
    runner = RowRunner(model, Lost(meanwhile), Place())  # type: ignore[arg-type]
    runner.run(rows_of(range(20)))
    assert set(seen) == {None}


# --- whole jobs


def whole_model(
    compute: Callable[[np.ndarray], list[np.ndarray]], *, rule: NonFinite = NonFinite.ALLOW
) -> tuple[Model, FakeSession]:
    session = FakeSession(compute)
    inputs = (TensorSpec(name="x", dtype="float32", shape=(None, 1)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=(None, None)),)
    made = manifest(inputs=inputs, outputs=outputs, mode=ExecutionMode.WHOLE_JOB)
    return Model(made.model_copy(update={"non_finite": rule}), session), session


def test_run_when_the_model_runs_whole_jobs_then_each_row_is_a_run_with_a_batch_axis_of_one() -> None:
    model, session = whole_model(lambda x: [x - x.mean()])
    result = RowRunner(model, Pauses(), NOWHERE).run(rows_of([1.0, 5.0, 9.0]))
    assert [feed["x"].shape for feed in session.feeds] == [(1, 1)] * 3
    assert [outputs[0].tolist() for outputs in result.outputs] == [[[0.0], [0.0], [0.0]]]


def test_run_when_whole_jobs_give_answers_of_different_shapes_then_a_group_for_each_shape() -> None:
    model, _ = whole_model(lambda x: [np.repeat(x, int(x[0, 0]), axis=1)])
    result = RowRunner(model, Pauses(), NOWHERE).run(rows_of([1.0, 2.0, 1.0]))
    assert [list(group.positions) for group in result.rows.groups] == [[0, 2], [1]]
    assert [outputs[0].tolist() for outputs in result.outputs] == [[[1.0], [1.0]], [[2.0, 2.0]]]


def test_run_when_a_whole_job_raises_then_that_row_alone_has_no_result() -> None:
    model, session = whole_model(raise_on_poison)
    result = RowRunner(model, Pauses(), NOWHERE).run(rows_of([1.0, POISON, 3.0]))
    assert [(fault.position, fault.message) for fault in result.all_faults()] == [(1, "ValueError: poisoned")]
    assert len(session.feeds) == 3


def test_run_when_a_whole_job_is_not_finite_and_must_be_then_the_fault_names_the_output() -> None:
    model, _ = whole_model(lambda x: [x * np.float32(np.inf)], rule=NonFinite.FAIL)
    result = RowRunner(model, Pauses(), NOWHERE).run(rows_of([1.0]))
    assert [fault.message for fault in result.all_faults()] == ["output 'y' has Infinity"]


def test_run_when_lines_hold_whole_jobs_with_their_own_batch_axis_then_they_run_and_answer_so() -> None:
    model, session = whole_model(lambda x: [x - x.mean()])
    jobs = np.float32([[[1.0], [3.0]], [[5.0], [9.0]]])
    group = Group((0, 1), [jobs], (1, 1), (False, False), (None, None))
    result = RowRunner(model, Pauses(), NOWHERE).run(ChunkRows(("a", "b"), (1, 2), (group,)))
    assert [feed["x"].shape for feed in session.feeds] == [(2, 1)] * 2
    assert result.outputs[0][0].tolist() == [[[-1.0], [1.0]], [[-2.0], [2.0]]]
