import pytest

from ferry.errors import InvalidInputError
from ferry.manifest import Evidence, ExecutionMode
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.batch_axis import Finding, Verdict
from worker.inspection.decision import decide
from worker.inspection.layout import Layout
from worker.inspection.trial import Trial

CHOICE = BatchAxes({"x": 0})
LAYOUT = Layout(CHOICE, ("y",), (0,))
INDEPENDENT = Finding(Verdict.INDEPENDENT)
MIXES = Finding(
    Verdict.MIXES, "ReduceMax_3", "ReduceMax", "it reduces over the batch axis", "keep axis 0 out of `axes`"
)
UNKNOWN = Finding(Verdict.UNKNOWN, "If_7", "If", "its condition may depend on rows", "move it out of the model")
GATED = Finding(
    Verdict.UNKNOWN, "If_7", "If", "its condition may depend on rows", "move it out of the model", overrules_trial=True
)
SILENT = Finding(Verdict.UNKNOWN)


def trial(**more: object) -> Trial:
    return Trial(choice=CHOICE, layout=LAYOUT, **more)


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (INDEPENDENT, "and the graph keeps rows apart"),
        (UNKNOWN, "the graph alone does not tell: its condition may depend on rows (node If_7)"),
        (SILENT, "no change of its neighbours or its place changed a row's outcome"),
    ],
)
def test_decide_when_the_trial_passed_then_batched(finding: Finding, words: str) -> None:
    execution = decide(trial(max_move=2e-4), finding)
    assert (execution.mode, execution.evidence) == (ExecutionMode.BATCHED, Evidence.PROVEN)
    assert execution.max_move == 2e-4
    assert words in execution.reason


@pytest.mark.parametrize(
    ("tried", "finding", "words"),
    [
        (trial(), MIXES, "it reduces over the batch axis (node ReduceMax_3); keep axis 0 out of `axes`"),
        (trial(), GATED, "a trial proves nothing here: its condition may depend on rows (node If_7); move it out"),
        (trial(influence="a row changed", remedy="re-export"), INDEPENDENT, "a row changed; re-export"),
        (trial(influence="a row changed", remedy="re-export"), UNKNOWN, "(node If_7)); re-export"),
        (trial(influence="a row changed", remedy="re-export"), GATED, "(node If_7)); move it out of the model"),
        (trial(random="it draws numbers"), INDEPENDENT, "it draws numbers"),
        (trial(untried="it raised"), INDEPENDENT, "could not be tried: it raised; give real inputs with --example"),
        (Trial(choice=CHOICE, untried="it raised"), INDEPENDENT, "could not be tried: it raised"),
        (trial(alone_move=0.1, alone_output="y"), UNKNOWN, "when it runs alone (output 'y', by 1.0e-01 of its size)"),
        (trial(place_move=1e-5, place_output="y"), UNKNOWN, "moves by 1.0e-05 with its place in the run (output 'y')"),
    ],
)
def test_decide_when_there_is_doubt_then_each_job_is_a_run_unless_overridden(
    tried: Trial, finding: Finding, words: str
) -> None:
    execution = decide(tried, finding)
    assert (execution.mode, execution.evidence) == (ExecutionMode.WHOLE_JOB, Evidence.PROVEN)
    assert words in execution.reason
    overridden = decide(tried, finding, is_overridden=True)
    assert (overridden.mode, overridden.evidence) == (ExecutionMode.BATCHED, Evidence.OVERRIDDEN)
    assert overridden.reason.startswith("the operator said so (--rows-independent) against the evidence: ")
    assert words in overridden.reason


def test_decide_when_a_place_moves_an_answer_and_the_graph_keeps_rows_apart_then_it_is_rounding() -> None:
    assert decide(trial(place_move=1e-5, place_output="y"), INDEPENDENT).mode is ExecutionMode.BATCHED


def test_decide_when_the_number_of_rows_moves_an_answer_and_the_graph_keeps_rows_apart_then_batched_and_said() -> None:
    execution = decide(trial(alone_move=0.02, alone_output="y", max_move=0.02), INDEPENDENT)
    assert (execution.mode, execution.max_move) == (ExecutionMode.BATCHED, 0.02)
    assert "rounding by the number of rows reached 2.0e-02" in execution.reason
    assert "--example FILE.npz" in execution.reason


def test_decide_when_nothing_speaks_against_it_then_an_override_changes_nothing() -> None:
    assert decide(trial(), INDEPENDENT, is_overridden=True).evidence is Evidence.PROVEN


@pytest.mark.parametrize(
    ("tried", "words"),
    [
        (Trial(obstacle="input 'sr' is a scalar"), "input 'sr' is a scalar"),
        (Trial(choice=BatchAxes({"x": 0}, 1), layout=LAYOUT), "fixed at 1"),
    ],
)
def test_decide_when_there_are_no_rows_then_an_override_is_refused(tried: Trial, words: str) -> None:
    assert words in decide(tried, INDEPENDENT).reason
    with pytest.raises(InvalidInputError, match=f"--rows-independent is not possible: .*{words}"):
        decide(tried, INDEPENDENT, is_overridden=True)
