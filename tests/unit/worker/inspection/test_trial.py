from itertools import count

import numpy as np
import onnx
import onnxruntime
import pytest

from ferry.manifest import Evidence, ExecutionMode, Manifest
from tests import onnx_models
from worker.equality import TOLERANCE
from worker.inspection import signature
from worker.inspection.example import Example
from worker.inspection.map_session import MapSession
from worker.inspection.runs import Runner, Session
from worker.inspection.trial import Trial, try_out

INDEPENDENT = {
    "float32": onnx_models.doubled(),
    "several of several dtypes": onnx_models.two_inputs_two_outputs(),
    "text": onnx_models.string_input(),
    "softmax": onnx_models.classes(10),
    "free width": onnx_models.dynamic_inner_axis(),
    "wide rows only": onnx_models.wide_kernel(),
    "ids": onnx_models.raises_on_big_index(),
    "NaN and infinity": onnx_models.reciprocal(),
    "fixed at 4": onnx_models.fixed_batch(4),
    "maps": onnx_models.maps(),
}
MIXED = {
    "batch statistics": (onnx_models.mixes_rows(), "'y', 3 rows in a run, neighbours: zeros"),
    "batch statistics, fixed": (onnx_models.mixes_rows(4), "'y', 4 rows in a run, neighbours: zeros"),
    "a little": (onnx_models.leans_on_neighbours(1e-4), "changed with its neighbours"),
    "if any is large": (onnx_models.decides_over_the_batch("ReduceMax", 1.0), "changed with its neighbours"),
    "if all are large": (onnx_models.decides_over_the_batch("ReduceMin", 0.5), "changed with its neighbours"),
    "sequence first": (onnx_models.sums_up(), "changed with its neighbours"),
    "trim to the longest": (onnx_models.trims_to_the_longest(), "changed with its neighbours"),
    "large ids": (onnx_models.mixes_large_ids(900), "changed with its neighbours"),
    "text": (onnx_models.mixes_text(), "changed with its neighbours"),
    "place": (onnx_models.adds_by_place(), "depends on its place in the run (output 'y', 4 rows in a run)"),
    "random": (onnx_models.draws_random_numbers(), "the model draws random numbers"),
}


def session_of(proto: onnx.ModelProto) -> MapSession:
    content = proto.SerializeToString()
    return MapSession(onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]))


def trial_of(proto: onnx.ModelProto, session: Session | None = None, example: Example | None = None) -> Trial:
    """Try a model out; the walk of its graph is not asked."""
    names = [output.name for output in proto.graph.output]
    return try_out(Runner(session or session_of(proto)), signature.read(proto.graph), names, example)


def is_batched(manifest: Manifest) -> bool:
    return manifest.execution.mode is ExecutionMode.BATCHED


@pytest.mark.parametrize("proto", INDEPENDENT.values(), ids=INDEPENDENT)
def test_inspect_when_rows_are_independent_then_they_are_batched(look, proto: onnx.ModelProto) -> None:
    manifest = look(proto)
    assert is_batched(manifest), manifest.execution.reason
    assert manifest.execution.evidence is Evidence.PROVEN


def test_inspect_when_rows_influence_each_other_then_each_job_is_a_run(look) -> None:
    execution = look(onnx_models.mixes_rows()).execution
    assert execution.mode is ExecutionMode.WHOLE_JOB
    assert "re-export" in execution.reason or "keep the batch axis out" in execution.reason


@pytest.mark.parametrize(("proto", "words"), MIXED.values(), ids=MIXED)
def test_try_out_when_rows_influence_each_other_then_it_is_found(proto: onnx.ModelProto, words: str) -> None:
    trial = trial_of(proto)
    assert words in (trial.influence or trial.random)
    assert trial.random or "export" in trial.remedy


def test_try_out_when_only_the_number_of_rows_moves_an_answer_then_the_largest_move_is_recorded() -> None:
    trial = trial_of(onnx_models.moves_with_count(1e-5))
    assert (trial.influence, trial.untried) == ("", "")
    # 8 rows beside 1: the most and the fewest that are tried.
    assert trial.max_move == pytest.approx(7e-5, rel=0.05)


def test_try_out_when_terms_cancel_then_rows_of_both_signs_show_the_move() -> None:
    trial = trial_of(onnx_models.cancels(1e-6))
    assert (trial.influence, trial.untried) == ("", "")
    # 8 rows beside 1 move a sum of one sign by 7e-6; where terms cancel, the sum itself is several times smaller.
    assert trial.max_move > 3 * 7e-6


def test_try_out_when_a_place_matters_for_large_values_alone_then_it_is_found() -> None:
    trial = trial_of(onnx_models.counts_large_rows(12_345.0))
    assert "depends on its place" in trial.influence or trial.place_move > TOLERANCE


def test_try_out_when_a_row_alone_has_another_outcome_then_the_move_is_kept_for_the_decision() -> None:
    trial = trial_of(onnx_models.moves_with_count(0.1))
    assert trial.alone_output == "y"
    assert 0.1 < trial.alone_move <= trial.max_move


def test_try_out_when_two_inputs_share_a_free_axis_then_they_are_tried_at_one_size(look) -> None:
    manifest = look(onnx_models.two_inputs_of_one_width())
    assert is_batched(manifest)
    assert manifest.notes == ()


def test_try_out_when_the_model_needs_wide_rows_then_wider_ones_are_tried(look) -> None:
    (note,) = look(onnx_models.wide_kernel()).notes
    assert note.startswith("free axes ran at size 32; at size 4 the model raised")


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (onnx_models.raises_on_big_index(100), "out of data bounds"),
        (onnx_models.doubled(("N", 2**30)), "3 rows would take more than 256 MiB"),
    ],
)
def test_try_out_when_no_rows_can_be_made_up_then_each_job_is_a_run(look, proto: onnx.ModelProto, words: str) -> None:
    manifest = look(proto)
    assert not is_batched(manifest)
    assert manifest.execution.reason.startswith("it could not be tried: the model cannot run made-up rows (")
    assert words in manifest.execution.reason
    assert manifest.execution.reason.endswith("give real inputs with --example FILE.npz")


def test_try_out_when_only_single_rows_run_then_each_job_is_a_run(look) -> None:
    manifest = look(onnx_models.built_in_batch_of_one())
    assert not is_batched(manifest)
    assert "up to 1 row ran, one more in a run raised" in manifest.execution.reason


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (onnx_models.no_batch_output(), "output 'y' does not follow the rows: for 3 rows its shape is (3,)"),
        (onnx_models.boxes(), "output 'y' does not follow the rows"),
        (onnx_models.pairs(), "output 'y' has 2 axes that follow the number of rows"),
        (onnx_models.scalar_input(), "input 'factor' is a scalar, which has no rows; fix its value with --set factor="),
        (onnx_models.different_fixed_batches(), "share no batch axis ('a' (2, 3), 'b' (4, 3))"),
        (onnx_models.doubled(None), "input 'x' declares no shape"),
        (onnx_models.fixed_batch(1), "the batch axis is fixed at 1, so each job is a run of its own; re-export"),
    ],
)
def test_try_out_when_there_are_no_rows_then_each_job_is_a_run(look, proto: onnx.ModelProto, words: str) -> None:
    manifest = look(proto)
    assert not is_batched(manifest)
    assert words in manifest.execution.reason


def test_try_out_when_an_example_has_one_row_then_influence_is_found_too() -> None:
    trial = trial_of(onnx_models.leans_on_neighbours(), example={"x": np.ones((1, 3), np.float32)})
    assert "changed with its neighbours" in trial.influence


def test_try_out_when_made_up_text_raises_then_neighbours_get_texts_of_the_example() -> None:
    places = np.array([["here"], ["there"], ["here"]], dtype=object)
    example = {"place": places, "age": np.array([[30.0], [40.0], [50.0]], np.float32)}
    trial = trial_of(onnx_models.categories(), example=example)
    assert (trial.influence, trial.untried, trial.obstacle) == ("", "", "")
    assert "changed with its neighbours" in trial_of(onnx_models.categories(is_mixed=True), example=example).influence


# --- time


def tried(proto: onnx.ModelProto, *, run_s: float, budget_s: float = 20.0, slower_from: int = 0) -> tuple[Trial, int]:
    """Try a model whose runs take `run_s` each, from run `slower_from` on; returns also how many there were."""
    session = session_of(proto)
    now, n_runs = [0.0], count(1)

    class Slow:
        runs = 0

        def run(self, names: list[str] | None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.runs = next(n_runs)
            now[0] += run_s if self.runs > slower_from else 0.0
            return session.run(names, feed)

    slow = Slow()
    runner = Runner(slow, budget_s=budget_s, clock=lambda: now[0])
    names = [output.name for output in proto.graph.output]
    return try_out(runner, signature.read(proto.graph), names), slow.runs


def test_try_out_when_runs_are_slow_then_the_essential_changes_are_enough() -> None:
    trial, n_runs = tried(onnx_models.doubled(), run_s=1.0)
    assert (trial.untried, trial.influence, n_runs) == ("", "", 20)
    assert trial.layout is not None
    assert "shortened" in trial.notes[0]


def test_try_out_when_runs_are_slow_then_influence_is_still_found() -> None:
    trial, _ = tried(onnx_models.leans_on_neighbours(), run_s=1.0)
    assert "changed with its neighbours" in trial.influence


@pytest.mark.parametrize("run_s", [3.0, 30.0])
def test_try_out_when_runs_are_too_slow_for_that_then_the_model_is_untried(run_s: float) -> None:
    trial, n_runs = tried(onnx_models.doubled(), run_s=run_s)
    assert trial.untried
    assert n_runs <= 7


# --- values that raise


def test_try_out_when_rows_hold_no_values_then_the_model_is_untried() -> None:
    assert "its rows hold no values" in trial_of(onnx_models.doubled(("N", 0))).untried


def test_try_out_when_most_changed_neighbours_raise_then_the_model_is_untried() -> None:
    proto = onnx_models.doubled()
    session = session_of(proto)

    class Picky:
        """Runs no rows but those of the first five runs: 1, 2 and 3 rows, and twice those to be compared with."""

        def __init__(self) -> None:
            self.runs = 0
            self.known: set[bytes] = set()

        def run(self, names: list[str] | None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.runs += 1
            rows = {row.tobytes() for row in feed["x"]}
            if self.runs <= 5:
                self.known |= rows
            elif not rows <= self.known:
                raise ValueError("no such number")
            return session.run(names, feed)

    trial = trial_of(proto, Picky())
    assert trial.influence == ""
    assert "too few kinds of changed neighbours could be run (the model raised: no such number" in trial.untried
