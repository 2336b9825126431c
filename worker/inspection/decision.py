"""The decision: may rows of many jobs share a run? From the trial and the walk of the graph. Runs nothing.

Rows share a run only where the trial saw no influence and the graph does not speak against it. In doubt each job is a
run of its own, which is right for every model.
"""

from collections.abc import Iterator

from ferry.errors import InvalidInputError
from ferry.manifest import Evidence, Execution, ExecutionMode
from worker.equality import TOLERANCE
from worker.inspection.batch_axis import Finding, Verdict
from worker.inspection.trial import Trial

FREE_AXIS = "re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
_OVERRIDE = "--rows-independent"


def decide(trial: Trial, finding: Finding, *, is_overridden: bool = False) -> Execution:
    """Return how jobs are executed, and why.

    `is_overridden`: the operator says that rows are independent; that is recorded where the evidence says otherwise.

    Raises:
        InvalidInputError: when it is overridden, but there are no rows that could share a run.
    """
    if obstacle := _why_no_rows(trial):
        if is_overridden:
            raise InvalidInputError(f"{_OVERRIDE} is not possible: {obstacle}")
        return Execution(mode=ExecutionMode.WHOLE_JOB, reason=obstacle, evidence=Evidence.PROVEN)
    doubt = next(_doubts(trial, finding), "")
    # A move by influence is none by the number of rows.
    max_move = trial.max_move if trial.layout is not None and not (trial.influence or trial.random) else 0.0
    if not doubt:
        reason = _why_batched(trial, finding)
        return Execution(mode=ExecutionMode.BATCHED, reason=reason, evidence=Evidence.PROVEN, max_move=max_move)
    if not is_overridden:
        return Execution(mode=ExecutionMode.WHOLE_JOB, reason=doubt, evidence=Evidence.PROVEN, max_move=max_move)
    return Execution(
        mode=ExecutionMode.BATCHED,
        reason=f"the operator said so ({_OVERRIDE}) against the evidence: {doubt}",
        evidence=Evidence.OVERRIDDEN,
        max_move=max_move,
    )


def _why_no_rows(trial: Trial) -> str:
    """Say why nothing could share a run, whatever an operator says; empty where something could."""
    if trial.obstacle:
        return trial.obstacle
    if trial.choice is not None and trial.choice.fixed_rows == 1:
        return f"the batch axis is fixed at 1, so each job is a run of its own; {FREE_AXIS} to share runs"
    return ""


def _doubts(trial: Trial, finding: Finding) -> Iterator[str]:
    """Yield why rows must not share a run, each a sentence with the node and the remedy, the surest first."""
    if finding.verdict is Verdict.MIXES:
        yield f"rows influence each other: {_with_node(finding)}; {finding.remedy}"
    if trial.random:
        yield f"{trial.random}; re-export in inference mode"
    if trial.influence:
        remedy = finding.remedy if finding.overrules_trial else trial.remedy
        yield f"{trial.influence}{_unclear(finding)}; {remedy}"
    if trial.alone_move and finding.verdict is not Verdict.INDEPENDENT:
        yield (
            f"a row's outcome is another one when it runs alone (output {trial.alone_output!r}, by "
            f"{trial.alone_move:.1e} of its size){_unclear(finding)}; give real inputs with --example FILE.npz"
        )
    if trial.place_move > TOLERANCE and finding.verdict is not Verdict.INDEPENDENT:
        yield (
            f"a row's outcome moves by {trial.place_move:.1e} with its place in the run (output "
            f"{trial.place_output!r}){_unclear(finding)}; {FREE_AXIS}, rows first"
        )
    if trial.untried:
        yield f"it could not be tried: {trial.untried}; give real inputs with --example FILE.npz"
    if finding.overrules_trial:
        yield f"a trial proves nothing here: {_with_node(finding)}; {finding.remedy}"


def _why_batched(trial: Trial, finding: Finding) -> str:
    seen = "no change of its neighbours or its place changed a row's outcome"
    if trial.alone_move:
        return (
            f"{seen}, and the graph keeps rows apart; with made-up values the rounding by the number of rows reached "
            f"{trial.alone_move:.1e} of an answer: --example FILE.npz measures it with real ones"
        )
    if finding.verdict is Verdict.INDEPENDENT:
        return f"{seen}, and the graph keeps rows apart"
    return f"{seen}{_unclear(finding)}"


def _with_node(finding: Finding) -> str:
    return finding.reason if finding.node in finding.reason else f"{finding.reason} (node {finding.node})"


def _unclear(finding: Finding) -> str:
    if finding.verdict is not Verdict.UNKNOWN or not finding.node:
        return ""
    return f" (the graph alone does not tell: {_with_node(finding)})"
