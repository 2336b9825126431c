"""The corpus of graphs: its labels are true in onnxruntime, and the walk never calls a mixing graph independent."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.corpus.models import CORPUS, Case
from worker.inspection.batch_axis import Verdict, walk

_BY_NAME = {case.name: case for case in CORPUS}
_JOBS = 6


@pytest.fixture(params=sorted(_BY_NAME))
def case(request) -> Case:
    return _BY_NAME[request.param]


def test_corpus_when_counted_then_has_many_of_each_label_and_no_name_twice():
    labels = Counter(case.label for case in CORPUS)

    assert labels["independent"] >= 60
    assert labels["mixes"] >= 60
    assert len(_BY_NAME) == len(CORPUS)


def test_corpus_when_checked_then_every_graph_is_valid(case):
    onnx.checker.check_model(case.model, full_check=False)


def test_corpus_when_run_then_the_label_is_true(case):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    moved = any(_moves(session, case, job) for job in range(_JOBS))

    assert moved == (case.label == "mixes")


@pytest.mark.parametrize("name", sorted(case.name for case in CORPUS if case.label == "mixes"))
def test_walk_when_the_graph_mixes_then_never_says_independent(name):
    case = _BY_NAME[name]
    found = walk(case.model, case.batch_axes)

    assert found.verdict is Verdict.MIXES or found.overrules_trial
    assert found.node in found.reason
    assert found.remedy


def test_walk_when_the_graphs_are_independent_then_says_so_for_nearly_all():
    found = {case.name: walk(case.model, case.batch_axes) for case in CORPUS if case.label == "independent"}
    proven = [name for name, finding in found.items() if finding.verdict is Verdict.INDEPENDENT]

    assert [name for name, finding in found.items() if finding.verdict is Verdict.MIXES] == []
    assert [name for name, finding in found.items() if finding.overrules_trial] == []
    assert len(proven) >= 0.95 * len(found)


def test_walk_when_weights_lie_in_another_file_then_says_the_same(case):
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            onnx.external_data_helper.set_external_data(tensor, "weights.bin")
            tensor.ClearField("raw_data")

    assert walk(model, case.batch_axes) == walk(case.model, case.batch_axes)


def _moves(session, case: Case, seed: int) -> bool:
    """Say whether a job's answer changes when its rows move, or when another job runs before it."""
    first, second = case.make_job(seed), case.make_job(seed + 1)
    alone = session.run(None, first)
    try:
        if not _are_same(alone, _answers(session, case, first, shift=1)):
            return True
        if case.fixed_rows is not None:
            return False
        together = {
            name: np.concatenate([second[name], array], case.batch_axes[name]) if name in case.batch_axes else array
            for name, array in first.items()
        }
        n_rows = _count_rows(case, first)
        total = _count_rows(case, together)
        cut = [_last_rows(one, n_rows, total) for one in session.run(None, together)]
    except ort.capi.onnxruntime_pybind11_state.Fail:
        return True
    except ort.capi.onnxruntime_pybind11_state.InvalidArgument:
        return True
    return not _are_same(alone, cut)


def _answers(session, case: Case, feed, *, shift: int):
    """Return the answers for rows moved on by `shift`, moved back."""
    n_rows = _count_rows(case, feed)
    moved = {
        name: np.roll(array, shift, case.batch_axes[name]) if name in case.batch_axes else array
        for name, array in feed.items()
    }
    answers = session.run(None, moved)
    return [
        one[shift:] + one[:shift] if isinstance(one, list) else np.roll(one, -shift, _axis(one, n_rows))
        for one in answers
    ]


def _count_rows(case: Case, feed) -> int:
    name, axis = next(iter(case.batch_axes.items()))
    return feed[name].shape[axis]


def _axis(array, n_rows: int) -> int:
    """Return the batch axis of an output: axis 0, or the first of that size."""
    return next((axis for axis, size in enumerate(array.shape) if size == n_rows), 0)


def _last_rows(one, n_rows: int, total: int):
    if isinstance(one, list):
        return one[-n_rows:]
    axis = _axis(one, total)
    return np.take(one, range(one.shape[axis] - n_rows, one.shape[axis]), axis) if one.shape else one


def _are_same(ones, others) -> bool:
    return all(_is_same(one, other) for one, other in zip(ones, others, strict=True))


def _is_same(one, other) -> bool:
    if isinstance(one, list):
        return np.allclose([[*row.values()] for row in one], [[*row.values()] for row in other], rtol=1e-4)
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype.kind in "OU":
        return one.shape == other.shape and bool((one == other).all())
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-5 * float(np.abs(one).max(initial=1)), equal_nan=True))
