import hashlib

import numpy as np
import pytest

from ferry.errors import ModelRefusedError
from ferry.manifest import MODEL_FILE, ExecutionMode, FixedInput, ModelFile, TensorSpec
from tests import onnx_models
from tests.fakes.sessions import FakeSession, doubled
from tests.manifests import manifest, profile, spec
from tests.unit.worker.conftest import XYZ, put_model
from worker.models import Model, load_model

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(compute=doubled, **signature: object) -> tuple[Model, FakeSession]:
    session = FakeSession(compute)
    return Model(manifest(**(XYZ | signature)), session), session


# --- whole jobs and layouts


def whole(compute=doubled, **signature: object) -> tuple[Model, FakeSession]:
    return model(compute, mode=ExecutionMode.WHOLE_JOB, **signature)


def test_run_whole_when_arrays_come_then_the_session_gets_them_as_they_are() -> None:
    any_two = (TensorSpec(name="x", dtype="float32", shape=(None, None)),)
    made, session = whole(inputs=any_two, outputs=any_two)
    (result,) = made.run_whole([ROWS])
    assert session.feeds[0]["x"] is ROWS
    assert result.tolist() == (ROWS * 2).tolist()


def test_run_whole_when_outputs_have_no_rows_then_they_come_back_in_any_shape() -> None:
    outputs = (
        TensorSpec(name="boxes", dtype="float32", shape=(None, 3)),
        TensorSpec(name="n", dtype="int64", shape=(), batch_axis=None),
        TensorSpec(name="free", dtype="float32", shape=(), batch_axis=None, has_any_rank=True),
    )
    made, _ = whole(lambda x: [x[:1], np.int64(1), x[0, 0]], outputs=outputs)
    boxes, n, free = made.run_whole([ROWS])
    assert (boxes.shape, n.shape, free.shape) == ((1, 3), (), ())


def test_run_whole_when_an_output_is_not_of_the_manifests_shape_then_an_error_names_both() -> None:
    made, _ = whole(lambda x: [x[:, :2]])
    with pytest.raises(ValueError, match=r"output 'y' has shape \(2, 2\), its manifest says \[None, 3\]"):
        made.run_whole([ROWS])


def test_run_when_a_state_has_its_batch_axis_second_then_the_session_gets_and_gives_that_layout() -> None:
    state = (TensorSpec(name="x", dtype="float32", shape=(2, None, 3), batch_axis=1),)
    made, session = model(inputs=state, outputs=state)
    rows = np.arange(24, dtype=np.float32).reshape((4, 2, 3))
    (result,) = made.run([rows])
    assert session.feeds[0]["x"].shape == (2, 4, 3)
    assert np.array_equal(session.feeds[0]["x"][:, 1], rows[1])
    assert np.array_equal(result, rows * 2)


@pytest.mark.parametrize("mode", list(ExecutionMode))
def test_run_when_an_input_is_fixed_then_every_run_gets_its_value(mode: ExecutionMode) -> None:
    session = FakeSession(lambda x, rate: [x * rate])
    fixed = FixedInput(name="rate", dtype="int64", values=(3,))
    made = Model(manifest(mode=mode, **XYZ).model_copy(update={"fixed_inputs": (fixed,)}), session)
    run = made.run if made.is_batched else made.run_whole
    assert run([ROWS])[0].tolist() == (ROWS * 3).tolist()


def test_run_when_an_output_is_a_list_of_maps_then_a_tensor_in_key_order() -> None:
    outputs = (spec("label", "int64"), spec("scores", "float32", 2, map_keys=("no", "yes")))
    made, _ = model(
        lambda x: [np.zeros(2, np.int64), [{"no": 0.25, "yes": 0.75}, {"yes": 1.0, "no": 0.0}]], outputs=outputs
    )
    assert made.run([ROWS])[1].tolist() == [[0.25, 0.75], [0.0, 1.0]]


def test_claim_rows_when_whole_jobs_are_short_then_a_claim_holds_several(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = whole()
    assert made.claim_rows == 1
    clock = iter([0.0, 0.001])
    monkeypatch.setattr("worker.models.time.perf_counter", lambda: next(clock))
    made.run_whole([ROWS])
    assert made.claim_rows == 5


def test_warm_up_when_whole_jobs_then_one_run_of_zeros_with_one_row() -> None:
    x = (TensorSpec(name="x", dtype="float32", shape=(2, None, 3), batch_axis=1),)
    made, session = whole(inputs=x, outputs=x)
    made.warm_up()
    assert [feed["x"].shape for feed in session.feeds] == [(2, 1, 3)]


# --- running


def test_run_when_rows_come_then_fed_by_name_and_the_outputs_in_the_manifests_order() -> None:
    inputs = (spec("a"), spec("b"))
    outputs = (spec("total"), spec("difference"))
    calculating, session = model(lambda a, b: [a + b, a - b], inputs=inputs, outputs=outputs)
    total, difference = calculating.run([np.array([3.0, 5.0]), np.array([1.0, 2.0])])
    assert (total.tolist(), difference.tolist()) == ([4, 7], [2, 3])
    assert session.wanted == ["total", "difference"]
    assert list(session.feeds[0]) == ["a", "b"]


@pytest.mark.parametrize("n_rows", [1, 2, 4])
def test_run_when_the_batch_is_fixed_then_padded_with_the_last_row_and_the_padding_is_cut_off(n_rows: int) -> None:
    fixed, session = model(max_rows=4, fixed_rows=4)
    rows = np.arange(n_rows * 3, dtype=np.float32).reshape(n_rows, 3)
    (result,) = fixed.run([rows])
    fed = session.feeds[0]["x"]
    assert fed.shape == (4, 3)
    assert fed[n_rows:].tolist() == [rows[-1].tolist()] * (4 - n_rows)
    assert result.tolist() == (rows * 2).tolist()


def test_run_when_the_batch_is_fixed_and_holds_text_then_padded_too() -> None:
    text = (spec("x", "string", 1),)
    fixed, session = model(lambda x: [x], inputs=text, outputs=text, max_rows=3, fixed_rows=3)
    assert fixed.run([np.array([["a"]], object)])[0].tolist() == [["a"]]
    assert session.feeds[0]["x"].tolist() == [["a"], ["a"], ["a"]]


def test_run_when_the_batch_is_free_then_not_padded() -> None:
    free, session = model()
    free.run([ROWS])
    assert session.rows_a_run == [2]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (np.zeros((1, 3)), r"output 'y' has shape \(1, 3\) for 2 rows"),
        (np.zeros((0, 3)), r"output 'y' has shape \(0, 3\) for 2 rows"),
        (np.zeros((3, 3)), r"output 'y' has shape \(3, 3\) for 2 rows"),
        (np.zeros((4, 3)), r"output 'y' has shape \(4, 3\) for 2 rows"),
        (np.float32(0), r"output 'y' has shape \(\) for 2 rows"),
        (np.zeros(2), "output 'y' has 1 axes, its manifest says 2"),
        (np.zeros((2, 3, 1)), "output 'y' has 3 axes, its manifest says 2"),
    ],
)
def test_run_when_an_output_does_not_have_one_entry_a_row_then_value_error(result: np.ndarray, said: str) -> None:
    wrong, _ = model(lambda x: [result])
    with pytest.raises(ValueError, match=said):
        wrong.run([ROWS])


def test_run_when_a_fixed_batch_gives_other_than_its_rows_then_value_error() -> None:
    wrong, _ = model(lambda x: [x[:3]], max_rows=4, fixed_rows=4)
    with pytest.raises(ValueError, match="for 4 rows"):
        wrong.run([ROWS])


def test_run_when_an_output_is_missing_then_value_error() -> None:
    wrong, _ = model(lambda x: [])
    with pytest.raises(ValueError, match="shorter"):
        wrong.run([ROWS])


def test_run_when_the_output_is_a_list_then_an_array() -> None:
    listing, _ = model(lambda x: [[[1.0, 2.0, 3.0]] * len(x)])
    assert listing.run([ROWS])[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("inputs", "shapes"),
    [
        ((spec("x", "float32", 3),), [(1, 3), (8, 3)]),
        ((spec("x", "float32", None, 2),), [(1, 1, 2), (8, 1, 2)]),
        ((spec("x", "string"),), [(1,), (8,)]),
        ((spec("x", "bool", 2, 2),), [(1, 2, 2), (8, 2, 2)]),
    ],
)
def test_warm_up_when_called_then_one_row_and_a_full_batch_of_zeros(
    inputs: tuple[TensorSpec, ...], shapes: list[tuple[int, ...]]
) -> None:
    cold, session = model(lambda x: [x], inputs=inputs, outputs=inputs)
    cold.warm_up()
    fed = [feed["x"] for feed in session.feeds]
    assert [array.shape for array in fed] == shapes
    assert {array.dtype for array in fed} == {inputs[0].numpy_dtype}
    assert {element for array in fed for element in array.reshape(-1).tolist()} <= {0, ""}  # False is 0


# --- loading


def test_load_model_when_the_file_is_good_then_it_runs(tmp_path) -> None:
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    loaded = load_model(tmp_path / "toy" / "1", made, threads=1)
    assert loaded.manifest == made
    assert loaded.run([ROWS])[0].tolist() == (ROWS * 2).tolist()
    loaded.warm_up()


def test_load_model_when_the_batch_is_fixed_then_fewer_rows_run_all_the_same(tmp_path) -> None:
    made = put_model(tmp_path, onnx_models.fixed_batch(4).SerializeToString(), max_rows=4, fixed_rows=4)
    loaded = load_model(tmp_path / "toy" / "1", made, threads=1)
    assert loaded.run([ROWS])[0].tolist() == (ROWS * 2).tolist()


def test_load_model_when_it_takes_text_then_it_runs(tmp_path) -> None:
    signature = {
        "inputs": (spec("text", "string", 1),),
        "outputs": (spec("label", "int64", 1), spec("echo", "string", 1)),
    }
    made = put_model(tmp_path, onnx_models.string_input().SerializeToString(), **signature)
    loaded = load_model(tmp_path / "toy" / "1", made, threads=1)
    texts = np.array([["yes"], ["ü"], [""]], object)
    label, echo = loaded.run(loaded.inputs.unpack(loaded.inputs.pack([texts])))
    assert (label.tolist(), echo.tolist()) == ([[1], [-1], [-1]], texts.tolist())


def test_load_model_when_loaded_then_on_the_cpu_with_the_threads_it_was_given(tmp_path) -> None:
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    session = load_model(tmp_path / "toy" / "1", made, threads=2)._session
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.log_severity_level == 4  # its errors are raised, and then logged once, by us


def test_load_model_when_the_rows_are_bad_then_the_model_raises(tmp_path) -> None:
    signature = {"inputs": (spec("index", "int64"),), "outputs": (spec("y", "float32", 2),)}
    made = put_model(tmp_path, onnx_models.raises_on_big_index().SerializeToString(), **signature)
    loaded = load_model(tmp_path / "toy" / "1", made, threads=1)
    assert loaded.run([np.array([1])])[0].tolist() == [[2, 3]]
    with pytest.raises(Exception, match="out of data bounds"):
        loaded.run([np.array([1, 10])])


def test_load_model_when_the_digest_is_another_then_refused_with_both(tmp_path) -> None:
    made = put_model(tmp_path, onnx_models.doubled().SerializeToString())
    (tmp_path / "toy" / "1" / MODEL_FILE).write_bytes(onnx_models.classes(3).SerializeToString())
    with pytest.raises(ModelRefusedError, match=f"toy:1: .*sha256 [0-9a-f]{{64}}, its manifest says {made.sha256}"):
        load_model(tmp_path / "toy" / "1", made, threads=1)


def test_load_model_when_the_file_is_missing_then_refused(tmp_path) -> None:
    made = put_model(tmp_path, b"")
    (tmp_path / "toy" / "1" / MODEL_FILE).unlink()
    with pytest.raises(ModelRefusedError, match=r"toy:1: cannot read .*: No such file or directory"):
        load_model(tmp_path / "toy" / "1", made, threads=1)


def test_load_model_when_it_has_further_files_then_they_are_checked_and_used(tmp_path) -> None:
    content = onnx_models.external_weights().SerializeToString()
    data = onnx_models.EXTERNAL_BYTES
    entry = ModelFile(name=onnx_models.EXTERNAL_FILE, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    made = put_model(tmp_path, content).model_copy(update={"files": (entry,)})
    folder = tmp_path / "toy" / "1"
    (folder / entry.name).write_bytes(data)
    assert load_model(folder, made, threads=1).run([ROWS])[0].tolist() == (ROWS + np.float32([1, 2, 3])).tolist()
    (folder / entry.name).write_bytes(data[::-1])
    with pytest.raises(
        ModelRefusedError, match=f"toy:1: .*weights.bin has sha256 .*, its manifest says {entry.sha256}"
    ):
        load_model(folder, made, threads=1)


@pytest.mark.parametrize("content", [b"", b"no model", onnx_models.corrupted()])
def test_load_model_when_the_file_is_no_model_then_refused(tmp_path, content: bytes) -> None:
    made = put_model(tmp_path, content)
    with pytest.raises(ModelRefusedError, match="toy:1: onnxruntime will not load"):
        load_model(tmp_path / "toy" / "1", made, threads=1)


@pytest.mark.parametrize(
    ("a_us", "b_us", "max_rows", "claim_rows"),
    [
        (100, 0, 64, 192),
        (1000, 0, 64, 320),
        (0, 100, 10, 50),
        (6000, 0, 64, 64),
        (20_000, 1, 1, 1),
        (1, 0, 1, 175),
        (1, 0, 600, 175),
        (20_000, 0, 600, 600),
    ],
)
def test_claim_rows_when_profiled_then_about_seven_milliseconds_beside_the_device(
    a_us: float, b_us: float, max_rows: int, claim_rows: int
) -> None:
    model = Model(manifest(max_rows=max_rows), None)
    assert model.claim_rows == max_rows
    model.adopt(profile().model_copy(update={"a_us": a_us, "b_us": b_us}))
    assert model.claim_rows == claim_rows


def test_claim_rows_when_settled_claims_cost_more_then_claims_become_smaller() -> None:
    model = Model(manifest(max_rows=512), None)
    model.adopt(profile().model_copy(update={"a_us": 10, "b_us": 1}))
    before = model.claim_rows
    for _ in range(20):
        model.claim_settled(200, 200 * 70e-6)
    assert model.claim_rows < before
