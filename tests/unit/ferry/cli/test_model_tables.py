import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from ferry.cli.model_tables import broken_table, details_table, entries_table, print_manifest
from ferry.manifest import MODEL_FILE, Evidence, Execution, ExecutionMode, FixedInput, Manifest, NonFinite, TensorSpec
from ferry.repository import Repository, Survey
from tests.manifests import manifest, spec


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), record=True, width=120, highlight=False)


def rendered(console: Console, table: Table) -> str:
    console.print(table)
    return console.export_text()


def test_print_manifest_when_an_input_has_a_range_then_it_is_shown(console: Console) -> None:
    inputs = (spec("image", "uint8", 28, None, range=(0, 255)),)
    print_manifest(console, manifest(inputs=inputs).model_copy(update={"notes": ("[bold] is no markup",)}))
    text = console.export_text()
    for words in ("image", "uint8", "(N, 28, any)", "0 to 255", "note: [bold] is no markup"):
        assert words in text


def test_print_manifest_when_no_tensor_has_a_range_then_neither_has_the_table(console: Console) -> None:
    print_manifest(console, manifest())
    text = console.export_text()
    assert "shape" in text
    assert "range" not in text


@pytest.mark.parametrize(
    ("toy", "words"),
    [
        (manifest(max_rows=8), "execution: batched: up to 8 rows in one run"),
        (manifest(max_rows=None), "execution: batched: as many rows in one run as the first worker finds best"),
        (manifest(max_rows=1), "execution: batched: one row in one run"),
        (manifest(max_rows=1, fixed_rows=1), "execution: batched: one row in one run"),
        (manifest(max_rows=4, fixed_rows=4), "execution: batched: exactly 4 rows in one run, short batches are padded"),
    ],
)
def test_print_manifest_when_batched_then_the_rows_of_a_run_are_told(
    console: Console, toy: Manifest, words: str
) -> None:
    print_manifest(console, toy)
    assert words in console.export_text()


def test_print_manifest_when_each_job_is_a_run_then_the_reason_and_the_evidence_are_shown(console: Console) -> None:
    reason = "the node [ReduceMax_3] reduces over the batch axis; keep axis 0 out of its axes"
    whole = manifest(mode=ExecutionMode.WHOLE_JOB)
    execution = Execution(reason=reason, evidence=Evidence.PROVEN)
    print_manifest(console, whole.model_copy(update={"execution": execution}))
    text = console.export_text()
    assert "execution: whole jobs: each job is one run by itself" in text
    assert f"why: tried: {reason}" in text
    assert "rounding" not in text


@pytest.mark.parametrize(
    ("evidence", "words"),
    [(Evidence.OVERRIDDEN, "why: overridden: "), (Evidence.DECLARED, "why: declared in the manifest, not tried: ")],
)
def test_print_manifest_when_it_was_not_proven_then_that_is_shown(
    console: Console, evidence: Evidence, words: str
) -> None:
    execution = Execution(mode=ExecutionMode.BATCHED, reason="because", evidence=evidence, max_move=2.8e-4)
    print_manifest(console, manifest().model_copy(update={"execution": execution}))
    text = console.export_text()
    assert f"{words}because" in text
    assert (
        "rounding: an answer moved by up to 2.8e-04 of its size when only the number of rows in a run changed" in text
    )


def test_print_manifest_when_shapes_are_the_models_own_then_they_are_shown_so(console: Console) -> None:
    inputs = (
        TensorSpec(name="state", dtype="float32", shape=(2, None, 8), batch_axis=1),
        TensorSpec(name="four", dtype="float32", shape=(4, None), batch_axis=None),
        TensorSpec(name="open", dtype="float32", batch_axis=None, has_any_rank=True),
    )
    fixed = FixedInput(name="sr", dtype="int64", values=(16000,))
    whole = manifest(inputs=inputs, mode=ExecutionMode.WHOLE_JOB)
    print_manifest(console, whole.model_copy(update={"fixed_inputs": (fixed,)}))
    text = console.export_text()
    for words in ("(2, N, 8)", "(4, any)", "fixed input: sr = 16000 (int64), clients do not send it"):
        assert words in text
    assert re.search(r"open +│ float32 │ any +│", text)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (NonFinite.ALLOW, "allowed; null in JSON"),
        (NonFinite.NULL, "NaN for each; null in JSON"),
        (NonFinite.FAIL, "fail their job"),
    ],
)
def test_details_table_when_there_is_a_rule_for_nan_then_it_is_told(
    console: Console, rule: NonFinite, words: str
) -> None:
    text = rendered(console, details_table(manifest().model_copy(update={"non_finite": rule})))
    assert "NaN and infinities" in text
    assert words in text


def test_details_table_when_labels_are_many_then_ten_and_their_number_are_shown(console: Console) -> None:
    toy = manifest(labels=tuple(f"class{i}" for i in range(12)))
    text = rendered(console, details_table(toy))
    assert "class9, ... (12)" in text
    assert "class10" not in text
    assert "metrics" not in text


@pytest.mark.parametrize(
    ("size_bytes", "words"), [(0, "0 B"), (1024, "1 KiB"), (3 * 2**20, "3 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_entries_table_when_a_model_is_listed_then_its_size_is_readable(
    console: Console, tmp_path: Path, size_bytes: int, words: str
) -> None:
    repository = Repository(tmp_path)
    folder = repository.folder("toy", "1")
    folder.mkdir(parents=True)
    with (folder / MODEL_FILE).open("wb") as file:
        file.truncate(size_bytes)  # a hole: takes no space
    text = rendered(console, entries_table(repository, Survey({("toy", "1"): manifest()}, {})))
    for cell in ("toy", "x float32 (N,3)", "y float32 (N,2)", words):
        assert cell in text


def test_entries_table_when_a_version_went_since_the_scan_then_it_is_left_out(console: Console, tmp_path: Path) -> None:
    table = entries_table(Repository(tmp_path), Survey({("toy", "1"): manifest()}, {}))
    assert table.row_count == 0


def test_broken_table_when_a_name_looks_like_markup_then_it_is_shown_as_it_is(console: Console) -> None:
    text = rendered(console, broken_table(Survey({}, {("[red]toy", "1"): "model.onnx is missing"})))
    assert "[red]toy" in text
    assert "model.onnx is missing" in text
