import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ferry.manifest import (
    MANIFEST_FILE,
    OIP_DATATYPES,
    Batching,
    Evidence,
    Execution,
    ExecutionMode,
    FixedInput,
    Manifest,
    ModelFile,
    NonFinite,
    TensorSpec,
    is_name,
    is_version,
    read_manifest,
    sha256_of,
    write_manifest,
)
from tests.manifests import manifest, spec

GOOD_NAMES = ["a", "0", "mnist", "my.model-v2_x", "a" * 64]
BAD_NAMES = ["", "A", "-a", ".a", "_a", "a b", "a/b", "a:b", "ä", "a" * 65, "a\n", "../a"]
GOOD_VERSIONS = ["1", "10", "999999999"]
BAD_VERSIONS = ["", "0", "01", "-1", "1.0", "v1", "1000000000", "1\n", "\u0661"]


def altered(**changes: object) -> dict[str, object]:
    return manifest().model_dump() | changes


# --- execution


def test_manifest_when_it_says_nothing_of_execution_then_one_job_is_one_run() -> None:
    said = manifest().model_dump()
    del said["execution"]
    made = Manifest(**said)
    assert made.execution.mode is ExecutionMode.WHOLE_JOB
    assert not made.is_batched
    assert "not tried" in made.execution.reason


def test_manifest_when_batched_and_a_tensor_has_no_free_batch_axis_then_refused() -> None:
    for shape, axis in (((1, 3), 0), ((3,), None)):
        lone = TensorSpec(name="x", dtype="float32", shape=shape, batch_axis=axis)
        with pytest.raises(ValidationError, match="x: batched execution needs a batch axis"):
            manifest(inputs=(lone,))
        assert not manifest(inputs=(lone,), mode=ExecutionMode.WHOLE_JOB).is_batched


def test_manifest_when_whole_job_and_rows_are_fixed_then_refused() -> None:
    with pytest.raises(ValidationError, match="fixed_rows is for batched execution"):
        manifest(mode=ExecutionMode.WHOLE_JOB, max_rows=4, fixed_rows=4)


def test_manifest_when_some_input_has_no_batch_axis_then_it_has_no_rows() -> None:
    state = TensorSpec(name="state", dtype="float32", shape=(2, None, 128), batch_axis=1)
    rate = TensorSpec(name="rate", dtype="int64", shape=(), batch_axis=None)
    assert state.inner_shape == (2, 128)
    assert rate.inner_shape == ()
    assert manifest(inputs=(spec("x", "float32", 3), state)).has_rows
    assert not manifest(inputs=(spec("x", "float32", 3), rate), mode=ExecutionMode.WHOLE_JOB).has_rows


@pytest.mark.parametrize(("size", "has_rows"), [(None, True), (1, True), (4, False), (0, False)])
def test_has_rows_when_the_batch_axis_of_a_whole_job_is_fixed_then_only_at_one(
    size: int | None, has_rows: bool
) -> None:
    tensor = TensorSpec(name="x", dtype="float32", shape=(size, 3))
    assert manifest(inputs=(tensor,), mode=ExecutionMode.WHOLE_JOB).has_rows is has_rows


def test_manifest_when_labels_are_for_a_named_output_then_its_index() -> None:
    outputs = (spec("label", "int64"), spec("scores", "float32", 2))
    made = Manifest(**manifest(outputs=outputs, labels=("a", "b")).model_dump() | {"labels_of": "scores"})
    assert made.labels_index == 1
    with pytest.raises(ValidationError, match="labels_of is 'z', which is no output; there are label, scores"):
        Manifest(**made.model_dump() | {"labels_of": "z"})


def test_fixed_input_when_values_fill_the_shape_then_an_array_of_its_dtype() -> None:
    made = FixedInput(name="sr", dtype="int64", shape=(1,), values=(16000,)).to_array()
    assert (made.dtype, made.tolist()) == (np.int64, [16000])
    assert FixedInput(name="s", dtype="string", values=("a",)).to_array().item() == "a"
    with pytest.raises(ValidationError, match="2 values do not fill the shape"):
        FixedInput(name="sr", dtype="int64", values=(1, 2))
    with pytest.raises(ValidationError, match="'int4' is not served"):
        FixedInput(name="sr", dtype="int4", values=(1,))


def test_manifest_when_the_description_is_very_long_then_refused_with_the_limit() -> None:
    fields = manifest().model_dump()
    assert Manifest(**fields | {"description": "x" * 4096}).description
    with pytest.raises(ValidationError, match="at most 4096 characters"):
        Manifest(**fields | {"description": "x" * 4097})


# --- names


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_is_name_when_allowed_then_true_and_the_manifest_takes_it(name: str) -> None:
    assert is_name(name)
    assert manifest(name).name == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_is_name_when_not_allowed_then_false_and_the_manifest_refuses_it(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ValidationError, match="name"):
        manifest(name)


@pytest.mark.parametrize("version", GOOD_VERSIONS)
def test_is_version_when_allowed_then_true_and_the_manifest_takes_it(version: str) -> None:
    assert is_version(version)
    assert manifest(version=version).ref == f"toy:{version}"


@pytest.mark.parametrize("version", BAD_VERSIONS)
def test_is_version_when_not_allowed_then_false_and_the_manifest_refuses_it(version: str) -> None:
    assert not is_version(version)
    with pytest.raises(ValidationError, match="version"):
        manifest(version=version)


# --- tensors


@pytest.mark.parametrize("dtype", OIP_DATATYPES)
def test_tensor_spec_when_the_dtype_is_served_then_little_endian_numpy_and_its_protocol_name(dtype: str) -> None:
    tensor = spec("x", dtype, 3)
    assert tensor.oip_datatype == OIP_DATATYPES[dtype]
    assert tensor.is_string is (dtype == "string")
    wanted = np.dtype(object) if dtype == "string" else np.dtype(dtype).newbyteorder("<")
    assert tensor.numpy_dtype == wanted


@pytest.mark.parametrize(
    ("tensor", "is_fixed"),
    [
        (spec("x"), True),
        (spec("x", "float32", 3, 2), True),
        (spec("x", "float32", 3, None), False),
        (spec("x", "string", 3), False),
    ],
)
def test_is_fixed_when_rows_may_differ_in_bytes_then_false(tensor: TensorSpec, is_fixed: bool) -> None:
    assert tensor.is_fixed is is_fixed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "complex64"}, "dtype 'complex64' is not served; one of bool, uint8"),
        ({"dtype": "FP32"}, "is not served"),
        ({"shape": ()}, "batch_axis is 0, but `shape` has 0 axes"),
        ({"shape": (None,), "batch_axis": 1}, "x: batch_axis is 1, but `shape` has 1 axes"),
        ({"shape": (3,), "has_any_rank": True}, "x: with `has_any_rank`, `shape` must be empty"),
        ({"shape": (None, -1)}, "greater than or equal to 0"),
        ({"name": ""}, "at least 1 character"),
        ({"name": "x" * 257}, "at most 256"),
        ({"range": (0,)}, "range"),
        ({"unit": "px"}, "Extra inputs are not permitted"),
    ],
)
def test_tensor_spec_when_it_makes_no_sense_then_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TensorSpec(**({"name": "x", "dtype": "float32", "shape": (None, 3)} | changes))


# --- batching


def test_batching_when_the_batch_is_fixed_then_max_rows_must_be_the_same() -> None:
    assert Batching(max_rows=4, fixed_rows=4).fixed_rows == 4
    with pytest.raises(ValidationError, match="fixed_rows is 4, so max_rows must be too; it is 8"):
        Batching(max_rows=8, fixed_rows=4)


def test_batching_when_nothing_is_said_then_the_defaults() -> None:
    assert (Batching().max_job_rows, Batching().fixed_rows) == (4096, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_rows": 1},
        {"max_rows": 65536},
        {"max_wait_ms": 0.5},
        {"max_wait_ms": 1000},
        {"max_job_rows": 1},
        {"max_job_rows": 1_000_000},
        {"fixed_rows": 1, "max_rows": 1},
        {"fixed_rows": 65536, "max_rows": 65536},
    ],
)
def test_batching_when_at_the_end_of_a_range_then_accepted(changes: dict[str, float]) -> None:
    assert Batching(**changes).model_dump(include=set(changes)) == changes


@pytest.mark.parametrize(
    "changes",
    [
        {"max_rows": 0},
        {"max_rows": 65537},
        {"max_wait_ms": -1},
        {"max_wait_ms": 1001},
        {"max_job_rows": 0},
        {"max_job_rows": 1_000_001},
        {"fixed_rows": 0, "max_rows": 1},
    ],
)
def test_batching_when_out_of_range_then_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        Batching(**changes)


# --- the whole


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": ()}, "inputs"),
        ({"outputs": ()}, "outputs"),
        ({"inputs": (spec("x"), spec("x"))}, "two inputs have the same name: x, x"),
        ({"outputs": (spec("y"), spec("z"), spec("y"))}, "two outputs have the same name: y, z, y"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "G" * 64}, "sha256"),
        ({"format": 2}, "format"),
        ({"licence": "MIT"}, "Extra inputs are not permitted"),
        ({"non_finite": "zero"}, "'allow', 'null' or 'fail'"),
        ({"non_finite": None}, "non_finite"),
    ],
)
def test_manifest_when_it_makes_no_sense_then_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Manifest(**altered(**changes))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_manifest_when_a_number_is_not_finite_then_refused_since_json_cannot_hold_it(number: float) -> None:
    for changes in (
        {"metrics": {"loss": number}},
        {"inputs": ({"name": "x", "dtype": "float32", "shape": [None], "range": [0, number]},)},
    ):
        with pytest.raises(ValidationError, match="finite"):
            Manifest(**altered(**changes))
    with pytest.raises(ValidationError, match="finite"):
        Manifest.model_validate_json(
            manifest().to_json().replace('"metrics": {}', f'"metrics": {{"loss": {json.dumps(number)}}}')
        )


@pytest.mark.parametrize("rule", ["allow", "null", "fail"])
def test_manifest_when_it_has_a_rule_for_numbers_that_are_none_then_read_back_as_written(rule: str) -> None:
    made = Manifest(**altered(non_finite=rule))
    assert made.non_finite is NonFinite(rule)
    assert json.loads(made.to_json())["non_finite"] == rule
    assert Manifest.model_validate_json(made.to_json()) == made


def test_manifest_when_it_is_of_before_there_was_a_rule_then_numbers_that_are_none_go_out_as_they_are() -> None:
    older = manifest().model_dump(mode="json", exclude={"non_finite"})
    assert Manifest.model_validate_json(json.dumps(older)).non_finite is NonFinite.ALLOW


def test_manifest_when_an_input_and_an_output_share_a_name_then_accepted() -> None:
    assert manifest(inputs=(spec("x"),), outputs=(spec("x"),)).ref == "toy:1"


def test_read_manifest_when_written_then_the_same_and_nothing_else_lies_there(tmp_path: Path) -> None:
    wanted = manifest(
        inputs=(spec("x", "string", None, 2), spec("é", "uint8", range=(0, 255))),
        labels=("nein", "ja ✓"),
        max_wait_ms=2.5,
        fixed_rows=8,
    )
    write_manifest(manifest(), tmp_path)
    write_manifest(wanted, tmp_path)
    assert read_manifest(tmp_path) == wanted
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_FILE]


def test_read_manifest_when_it_is_missing_then_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"{}"])
def test_read_manifest_when_it_is_none_then_a_validation_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ValidationError):
        read_manifest(tmp_path)


def test_sha256_of_when_the_file_is_larger_than_a_piece_then_its_digest(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# --- files and identity

FILE = ModelFile(name="w.data", sha256="1" * 64, size_bytes=7)


@pytest.mark.parametrize("name", ["../w.data", "/w.data", "model.onnx", ".w", ""])
def test_model_file_when_its_name_is_impossible_then_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(repr(name))):
        ModelFile(name=name, sha256="1" * 64, size_bytes=7)


def test_manifest_when_two_files_have_one_name_then_refused() -> None:
    with pytest.raises(ValidationError, match="two of `files` have the same name: w"):
        Manifest.model_validate(manifest().model_dump() | {"files": [FILE.model_dump()] * 2})


DIGEST = "e8ac8404e0c9fb02b395020eb3ed8732bd92c99f4b494adb5eb3ea66ad52c8b4"


def test_digest_when_the_manifest_is_the_same_then_it_is_on_every_machine() -> None:
    """A change of this value gives every version of every model another identity: it must be meant."""
    assert manifest().digest == DIGEST
    assert Manifest.model_validate_json(manifest().to_json()).digest == DIGEST


@pytest.mark.parametrize(
    "update",
    [
        {"inputs": (spec("z", "float32", 3),)},
        {"outputs": (spec("y", "float64", 2),)},
        {"fixed_inputs": (FixedInput(name="rate", dtype="int64", values=(16000,)),)},
        {"labels": ("a", "b")},
        {"labels_of": "y"},
        {"execution": Execution(mode=ExecutionMode.WHOLE_JOB, reason="a test says so")},
        {"non_finite": NonFinite.NULL},
        {"sha256": "f" * 64},
        {"files": (FILE,)},
        {"files": (FILE.model_copy(update={"sha256": "2" * 64}),)},
    ],
)
def test_digest_when_an_answer_may_change_then_it_is_another(update: dict[str, object]) -> None:
    assert manifest().model_copy(update=update).digest != DIGEST


def test_digest_when_two_manifests_name_other_files_then_they_differ() -> None:
    digests = {
        manifest().model_copy(update={"files": files}).digest
        for files in ((), (FILE,), (FILE.model_copy(update={"sha256": "2" * 64}),))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    "update",
    [
        {"name": "other", "version": "2"},
        {"description": "words", "notes": ("a note",), "created_at": "2026-01-01"},
        {"metrics": {"accuracy": 0.9}, "versions": {"onnx": "1"}, "data_digest": "d"},
        {"batching": Batching(max_rows=1, max_wait_ms=3), "deadline_s": 5.0},
        {"execution": Execution(mode=ExecutionMode.BATCHED, reason="x", evidence=Evidence.PROVEN, max_move=0.1)},
    ],
)
def test_digest_when_no_answer_changes_then_it_stays(update: dict[str, object]) -> None:
    assert manifest().model_copy(update=update).digest == DIGEST


def test_digest_when_files_are_in_another_order_then_it_stays() -> None:
    other = FILE.model_copy(update={"name": "v.data"})
    one, two = (manifest().model_copy(update={"files": files}) for files in ((FILE, other), (other, FILE)))
    assert one.digest == two.digest


# --- map keys


@pytest.mark.parametrize("keys", [(0, 1, 2), ("0", "1", "2"), (-(2**63), 0, 2**63 - 1)])
def test_map_keys_when_written_and_read_then_they_are_the_same(keys: tuple[int | str, ...]) -> None:
    made = spec("y", "float32", 3, map_keys=keys)
    assert TensorSpec.model_validate_json(made.model_dump_json()).map_keys == keys


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"map_keys": (0, 1)}, r"with 2 `map_keys` the dtype must be float32 and the shape \[null, 2\]"),
        ({"map_keys": (0, 1, 2), "dtype": "float64"}, "the dtype must be float32"),
        ({"map_keys": (0, 1, 1)}, "a key is in `map_keys` twice"),
    ],
)
def test_map_keys_when_they_do_not_fit_then_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TensorSpec.model_validate({"name": "y", "dtype": "float32", "shape": (None, 3)} | fields)
