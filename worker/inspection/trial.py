"""The trial: runs a model on made-up or given rows, finds its batch axes, and looks for influence between rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from ferry.errors import InvalidInputError
from worker.inspection.batch_axes import BatchAxes, candidates, why_none
from worker.inspection.example import Example, rows_of
from worker.inspection.id_range import find_tops
from worker.inspection.influence import InfluenceFoundError, InfluenceTrial, RandomModelError, Setting
from worker.inspection.layout import Layout, NotRowsError, Run, find_layout, run_counts
from worker.inspection.made_up_rows import Kind, Plan, make_up_rows, symbols_of
from worker.inspection.plans import (
    MAX_RUN_BYTES,
    ROW_COUNTS,
    SIZES,
    first_plan,
    fits,
    given_rows,
    settings_of_example,
    settings_of_plan,
    sized,
)
from worker.inspection.runs import OutOfTimeError, Runner
from worker.inspection.session import ORT_ERRORS, brief
from worker.inspection.signature import Signature

# Seconds for all runs of an inspection; most models need less than one.
BUDGET_S = 20.0
# Part of it that the search for large ids may take.
_ID_SEARCH_PART = 0.25


@dataclass(slots=True)
class Trial:
    """What running the model showed.

    `runs`: outputs by number of rows (1 where the model has no batch axis), for the outputs' shapes. `layout`: where
    rows lie; without one, `obstacle` says why not. `untried`, `influence` and `random`: why rows must not share a run,
    each a clause or empty; `remedy` is for influence. `place_move`: the largest change when a row changed its place.
    `alone_move`: the largest change when a row ran alone, where that is more than rounding usually is.
    """

    runs: list[Run] = field(default_factory=list)
    choice: BatchAxes | None = None
    layout: Layout | None = None
    obstacle: str = ""
    untried: str = ""
    influence: str = ""
    remedy: str = ""
    random: str = ""
    max_move: float = 0.0
    place_move: float = 0.0
    place_output: str = ""
    alone_move: float = 0.0
    alone_output: str = ""
    notes: list[str] = field(default_factory=list)


def try_out(runner: Runner, signature: Signature, output_names: Sequence[str], example: Example | None = None) -> Trial:
    """Run the model until it is clear whether rows may share a run, or the runner's time is up.

    Raises:
        InvalidInputError: when the model cannot run the example.
    """
    if example is not None:
        whole = [_run_example(runner, example)]
    trial = Trial(obstacle=why_none(signature))
    for choice in candidates(signature):
        if example is None:
            found = _try_made_up(runner, signature, choice, output_names)
        else:
            found = _try_example(runner, choice, output_names, example)
        if found.layout is not None or trial.choice is None:
            trial = found
        if found.layout is not None:
            break
    if not trial.runs:
        trial.runs = whole if example is not None else _run_whole(runner, signature)
    return trial


def _try_made_up(runner: Runner, signature: Signature, choice: BatchAxes, output_names: Sequence[str]) -> Trial:
    trial = Trial(choice=choice)
    with _obstacles_noted(trial):
        plan = _find_plan(runner, signature, choice, trial)
        if plan is not None:
            layout = trial.layout = find_layout(choice, output_names, trial.runs)
            _look_for_influence(runner, layout, trial, partial(_settings, runner, layout, plan))
    return trial


def _try_example(runner: Runner, choice: BatchAxes, output_names: Sequence[str], example: Example) -> Trial:
    trial = Trial(choice=choice)
    rows = rows_of(example, choice)
    if rows is None:
        trial.obstacle = "the inputs of --example have different numbers of rows; give each the same"
        return trial
    with _obstacles_noted(trial):
        try:
            run_counts(runner, choice, partial(given_rows, rows), trial.runs)
        except ORT_ERRORS as error:
            trial.untried = f"the model runs the example, but not 1, 2 and 3 of its rows ({brief(str(error))})"
            return trial
        layout = trial.layout = find_layout(choice, output_names, trial.runs)
        _look_for_influence(runner, layout, trial, partial(settings_of_example, rows, choice.fixed_rows))
    return trial


@contextmanager
def _obstacles_noted(trial: Trial) -> Iterator[None]:
    try:
        yield
    except NotRowsError as error:
        trial.layout, trial.obstacle = None, str(error)
    except OutOfTimeError as error:
        trial.untried = trial.untried or str(error)


def _settings(runner: Runner, layout: Layout, plan: Plan) -> Iterator[Setting]:
    source = partial(make_up_rows, plan)
    tops = find_tops(runner, layout, plan, source, limit_s=runner.budget_s * _ID_SEARCH_PART)
    return settings_of_plan(plan, tops, layout.inputs.fixed_rows)


def _find_plan(runner: Runner, signature: Signature, choice: BatchAxes, trial: Trial) -> Plan | None:
    """Return made-up rows that the model runs, and keep the outputs; None and the reason where there are none."""
    first_reason = ""
    first = first_plan(signature, choice)
    has_free = bool(symbols_of(first.inner))
    n_rows = choice.fixed_rows or ROW_COUNTS[0]
    for size in SIZES if has_free else SIZES[:1]:
        plan = sized(first, size)
        if not fits(plan, n_rows):
            first_reason = first_reason or f"{n_rows} rows would take more than {MAX_RUN_BYTES >> 20} MiB"
            break
        for kind in Kind:
            runs: list[Run] = []
            plan = replace(plan, kind=kind)
            try:
                run_counts(runner, choice, partial(make_up_rows, plan), runs)
            except ORT_ERRORS as error:
                reason = brief(str(error))
                first_reason = first_reason or reason
                if runs and kind is Kind.COPIES:
                    trial.runs, trial.obstacle = runs, _only_few(runs, reason)
                    return None
                continue
            trial.runs = runs
            if choice.fixed_rows:
                _run_other_values(runner, choice, plan, runs)
            if size != SIZES[0]:
                trial.notes.append(f"free axes ran at size {size}; at size {SIZES[0]} the model raised: {first_reason}")
            return plan
    trial.untried = f"the model cannot run made-up rows ({first_reason})"
    return None


def _run_other_values(runner: Runner, choice: BatchAxes, plan: Plan, runs: list[Run]) -> None:
    """Append a run of the same sizes: what values change in an output's shape shows in no other way."""
    with suppress(*ORT_ERRORS):
        run_counts(runner, choice, partial(make_up_rows, replace(plan, seed=plan.seed + 1)), runs)


def _only_few(runs: Sequence[Run], reason: str) -> str:
    return (
        f"up to {len(runs)} row{'s' if len(runs) > 1 else ''} ran, one more in a run raised ({reason}): a fixed size "
        "is built in; re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
    )


def _look_for_influence(
    runner: Runner, layout: Layout, trial: Trial, settings: Callable[[], Iterable[Setting]]
) -> None:
    if layout.inputs.fixed_rows == 1:
        return
    watch = InfluenceTrial(runner, layout)
    is_complete = False
    try:
        watch.try_all(settings())
        is_complete = True
    except OutOfTimeError:
        trial.notes.append("the trial of changed neighbours was shortened: runs of this model are slow")
    except InfluenceFoundError as error:
        trial.influence, trial.remedy = error.what, error.remedy
    except RandomModelError as error:
        trial.random = str(error)
    trial.max_move, trial.place_move, trial.place_output = watch.max_move, watch.place_move, watch.place_output
    trial.alone_move, trial.alone_output = watch.alone_move, watch.alone_output
    if trial.influence or trial.random or watch.has_run_enough(is_complete=is_complete):
        return
    reason = "its runs are too slow"
    if is_complete:
        reason = f"the model raised: {watch.first_error}" if watch.first_error else "its rows hold no values"
    trial.untried = f"too few kinds of changed neighbours could be run ({reason})"


def _run_example(runner: Runner, example: Example) -> Run:
    try:
        return 1, runner.run(example)
    except ORT_ERRORS as error:
        raise InvalidInputError(f"--example: the model cannot run it: {brief(str(error))}") from error


def _run_whole(runner: Runner, signature: Signature) -> list[Run]:
    """Run made-up jobs of two sizes, each with two sets of values, as they are: for the outputs' shapes."""
    runs: list[Run] = []
    if any(each.axes is None for each in signature.inputs):
        return runs
    first = Plan(signature.inputs, {each.name: each.axes or () for each in signature.inputs}, {}, Kind.UNIT)
    for size in SIZES if symbols_of(first.inner) else SIZES[:1]:
        plan = sized(first, size)
        if not fits(plan, 1) or len(runs) >= 3:
            break
        with suppress(OutOfTimeError, *ORT_ERRORS):
            for seed in (0, 1):
                rows = make_up_rows(replace(plan, seed=seed), 1)
                runs.append((1, runner.run({name: array[0] for name, array in rows.items()})))
    return runs
