"""The trial: runs a model on made-up or given rows, finds its batch axes, and looks for influence between rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ferry.errors import InvalidInputError
from worker.inspection.batch_axes import BatchAxes, candidates, inner_axes, why_none
from worker.inspection.example import Example, rows_of
from worker.inspection.id_range import find_tops
from worker.inspection.influence import InfluenceFoundError, InfluenceTrial, RandomModelError, Setting
from worker.inspection.layout import Layout, NotRowsError, Run, find_layout, run_counts
from worker.inspection.made_up_rows import Kind, Plan, Rows, count, make_up_rows, symbols_of, take
from worker.inspection.runs import OutOfTimeError, Runner
from worker.inspection.session import ORT_ERRORS, brief
from worker.inspection.signature import Signature

# Seconds for all runs of an inspection; most models need less than one.
BUDGET_S = 20.0
# Sizes for free inner axes, tried in turn: text models take any, image models want some tens of pixels. The first
# differs from every number of rows, so that an output's axis cannot be taken for a batch axis by chance.
_SIZES = (4, 1, 2, 8, 16, 32, 64, 224)
# Made-up inputs of one run; a row above the API's 64 MiB could not be sent anyway.
_MAX_RUN_BYTES = 256 * 2**20
# Rows of a run in which neighbours are changed.
_ROW_COUNTS = (3, 2, 8)
# Part of the time that the search for large ids may take.
_ID_SEARCH_PART = 0.25


@dataclass(slots=True)
class Trial:
    """What running the model showed.

    `runs`: outputs by number of rows (1 where the model has no batch axis), for the outputs' shapes. `layout`: where
    rows lie; without one, `obstacle` says why not. `untried`, `influence` and `random`: why rows must not share a run,
    each a clause or empty. `place_move`: the largest change when a row changed its place.
    """

    runs: list[Run] = field(default_factory=list)
    choice: BatchAxes | None = None
    layout: Layout | None = None
    obstacle: str = ""
    untried: str = ""
    influence: str = ""
    random: str = ""
    max_move: float = 0.0
    place_move: float = 0.0
    place_output: str = ""
    notes: list[str] = field(default_factory=list)


def try_out(runner: Runner, signature: Signature, output_names: Sequence[str], example: Example | None = None) -> Trial:
    """Run the model until it is clear whether rows may share a run, or the runner's time is up.

    Raises:
        InvalidInputError: when the model cannot run the example.
    """
    trial = Trial(obstacle=why_none(signature))
    for choice in candidates(signature):
        found = _try_choice(runner, signature, choice, output_names, example)
        if found.layout is not None or trial.choice is None:
            trial = found
        if found.layout is not None:
            break
    if not trial.runs:
        _run_whole(runner, signature, example, trial)
    return trial


def _try_choice(
    runner: Runner, signature: Signature, choice: BatchAxes, output_names: Sequence[str], example: Example | None
) -> Trial:
    trial = Trial(choice=choice)
    given = rows_of(example, choice) if example else None
    if example and given is None:
        trial.obstacle = "the inputs of --example have different numbers of rows"
        return trial
    plan = None
    try:
        plan = _find_plan(runner, signature, choice, trial) if given is None else None
        source = partial(_given, given) if given is not None else partial(make_up_rows, plan) if plan else None
        if source is None:
            return trial
        if given is not None:
            run_counts(runner, choice, source, trial.runs)
        layout = find_layout(choice, output_names, trial.runs)
        trial.layout = layout
        if choice.fixed_rows != 1:
            _look_for_influence(runner, layout, trial, plan or _any_plan(signature, choice), given)
    except NotRowsError as error:
        trial.layout, trial.obstacle = None, str(error)
    except OutOfTimeError as error:
        trial.untried = trial.untried or str(error)
    except ORT_ERRORS as error:
        if given is None:
            raise
        raise InvalidInputError(f"--example: the model cannot run it: {brief(str(error))}") from error
    return trial


def _find_plan(runner: Runner, signature: Signature, choice: BatchAxes, trial: Trial) -> Plan | None:
    """Return made-up rows that the model runs, and keep the outputs; None and the reason where there are none."""
    first_reason = ""
    first = _any_plan(signature, choice)
    has_free = bool(symbols_of(first.inner))
    n_rows = choice.fixed_rows or _ROW_COUNTS[0]
    for size in _SIZES if has_free else _SIZES[:1]:
        plan = _sized(first, size)
        if plan.bytes_of(n_rows) > _MAX_RUN_BYTES:
            first_reason = first_reason or f"{n_rows} rows would take more than {_MAX_RUN_BYTES >> 20} MiB"
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
            if size != _SIZES[0]:
                trial.notes.append(
                    f"free axes ran at size {size}; at size {_SIZES[0]} the model raised: {first_reason}"
                )
            return plan
    trial.untried = f"the model cannot run made-up rows ({first_reason})"
    return None


def _only_few(runs: Sequence[Run], reason: str) -> str:
    return (
        f"up to {len(runs)} row{'s' if len(runs) > 1 else ''} ran, one more in a run raised ({reason}): a fixed size "
        "is built in; re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
    )


def _look_for_influence(runner: Runner, layout: Layout, trial: Trial, plan: Plan, given: Rows | None) -> None:
    watch = InfluenceTrial(runner, layout)
    is_complete = False
    try:
        watch.try_all(list(_settings(runner, layout, plan, given)))
        is_complete = True
    except OutOfTimeError:
        trial.notes.append("the trial of changed neighbours was shortened: runs of this model are slow")
    except InfluenceFoundError as error:
        trial.influence = str(error)
    except RandomModelError as error:
        trial.random = str(error)
    trial.max_move, trial.place_move, trial.place_output = watch.max_move, watch.place_move, watch.place_output
    if trial.influence or trial.random or watch.has_run_enough(is_complete=is_complete):
        return
    reason = f"the model raised: {watch.first_error}" if is_complete else "its runs are too slow"
    trial.untried = f"too few kinds of changed neighbours could be run ({reason})"


def _settings(runner: Runner, layout: Layout, plan: Plan, given: Rows | None) -> Iterator[Setting]:
    """Yield what is tried: given rows first, then made-up ones of several seeds and widths."""
    fixed = layout.inputs.fixed_rows
    counts = (fixed,) if fixed else _ROW_COUNTS
    if given is not None:
        for n_rows in counts:
            yield Setting(partial(_given, given), n_rows, _bounds_of(given))
        return
    source = partial(make_up_rows, plan)
    tops = find_tops(runner, layout, plan, source, limit_s=runner.budget_s * _ID_SEARCH_PART)
    bounds = {name: (0, top) for name, top in tops.items()}
    for number, each in enumerate(_plans(replace(plan, tops=tops))):
        for n_rows in counts if number == 0 else counts[::2]:
            if each.bytes_of(n_rows) <= _MAX_RUN_BYTES:
                yield Setting(partial(make_up_rows, each), n_rows, bounds)


def _plans(plan: Plan) -> Iterator[Plan]:
    yield plan
    for seed in (1, 2):
        yield replace(plan, seed=seed)
    symbols = symbols_of(plan.inner)
    if symbols:
        yield replace(plan, sizes={symbol: 2 * size for symbol, size in plan.sizes.items()}, seed=3)
    if len(symbols) > 1:
        mixed = {symbol: plan.sizes[symbol] * (1 + number % 2) for number, symbol in enumerate(symbols)}
        yield replace(plan, sizes=mixed, seed=4)


def _bounds_of(rows: Rows) -> Mapping[str, tuple[int, int]]:
    return {
        name: (int(array.min()), int(array.max()))
        for name, array in rows.items()
        if array.dtype.kind in "iu" and array.size
    }


def _given(rows: Rows, n_rows: int) -> Rows:
    return take(rows, [index % count(rows) for index in range(n_rows)])


def _any_plan(signature: Signature, choice: BatchAxes) -> Plan:
    inner = {each.name: inner_axes(each, choice.axes[each.name]) for each in signature.inputs}
    return _sized(Plan(signature.inputs, inner, {}), _SIZES[0])


def _sized(plan: Plan, size: int) -> Plan:
    return replace(plan, sizes=dict.fromkeys(symbols_of(plan.inner), size))


def _run_whole(runner: Runner, signature: Signature, example: Example | None, trial: Trial) -> None:
    """Run jobs as they are, for the outputs' shapes: the example, or made-up ones of two sizes."""
    if example is not None:
        try:
            trial.runs.append((1, runner.run(example)))
        except ORT_ERRORS as error:
            raise InvalidInputError(f"--example: the model cannot run it: {brief(str(error))}") from error
        return
    if any(each.axes is None for each in signature.inputs):
        return
    plan = Plan(signature.inputs, {each.name: each.axes or () for each in signature.inputs}, {}, Kind.UNIT)
    for size in _SIZES if symbols_of(plan.inner) else _SIZES[:1]:
        sized = _sized(plan, size)
        if sized.bytes_of(1) > _MAX_RUN_BYTES or len(trial.runs) == 2:
            break
        try:
            outputs = runner.run({name: array[0] for name, array in make_up_rows(sized, 1).items()})
        except OutOfTimeError:
            break
        except ORT_ERRORS:
            continue
        trial.runs.append((1, outputs))
    if not trial.runs:
        trial.notes.append("the model cannot run made-up inputs: the shapes of its outputs are those it declares")
