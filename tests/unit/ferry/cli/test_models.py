import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ferry import model_files
from ferry.cli import models
from ferry.local.data_dir import DataDir, RunInfo
from ferry.manifest import Evidence
from ferry.repository import Repository
from tests import onnx_models


@pytest.fixture
def ferry_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `ferry models ...` on a repository of its own."""
    monkeypatch.chdir(tmp_path)  # away from any .env
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object, answer: str = "") -> Result:
        command = [str(argument) for argument in arguments]
        return CliRunner().invoke(models.app, [*command, "--models-dir", str(tmp_path / "models")], input=answer)

    return run


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Add a model twice, once for all tests: each takes a process that loads onnxruntime."""
    folder = tmp_path_factory.mktemp("prepared")
    file = onnx_models.save(onnx_models.classes(2), folder / "classes.onnx")
    for _ in range(2):
        command = ["add", str(file), "--name", "classes", "--models-dir", str(folder / "models")]
        assert CliRunner().invoke(models.app, command).exit_code == 0
    return folder


@pytest.fixture
def two_versions(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)


def fails_with(result: Result, *words: str) -> None:
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


# --- add


def test_add_when_the_file_is_good_then_it_is_published_and_explained(ferry_models, repository, tmp_path: Path) -> None:
    file = onnx_models.save(onnx_models.two_inputs_two_outputs(), tmp_path / "two.onnx")
    result = ferry_models("add", file, "--name", "two")
    assert result.exit_code == 0, result.stderr
    for words in (
        "two:1 is in",
        "total",
        "float32",
        "(N, 2)",
        "as many rows in one run as the first worker finds best",
    ):
        assert words in result.stdout
    job = '{"version": "two:1", "input": {"a": [[0.0, 0.0]], "b": [[0.0, 0.0]], "k": [[0, 0, 0]]}}'
    assert f"-d '{job}'" in result.stdout
    manifest = repository.scan()["two", "1"]
    assert manifest.created_at.endswith("+00:00")
    assert (repository.folder("two", "1") / "model.onnx").read_bytes() == file.read_bytes()


def test_add_when_versions_exist_then_the_next_one_is_made(two_versions, repository: Repository) -> None:
    assert list(repository.scan()) == [("classes", "1"), ("classes", "2")]


def test_add_when_the_version_exists_then_it_is_refused(two_versions, ferry_models, tmp_path: Path) -> None:
    result = ferry_models("add", tmp_path / "classes.onnx", "--name", "classes", "--version", 1)
    fails_with(result, "classes:1 exists already", "leave --version out to add version 3")


def test_add_when_labels_are_given_then_they_are_in_the_manifest(ferry_models, repository, tmp_path: Path) -> None:
    file = onnx_models.save(onnx_models.classes(2), tmp_path / "classes.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeffnein\r\ngroß\r\n\r\n".encode())
    assert ferry_models("add", file, "--name", "classes", "--labels", labels, "--version", 5).exit_code == 0
    assert repository.scan()["classes", "5"].labels == ("nein", "groß")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            b"no\nyes\nperhaps\n",
            "3 labels, and no output has one score for each: the last axis of output 'scores' has 2",
        ),
        (b"no\n\nyes\n", "no label in line 2"),
        (b"no\n\xff\n", "not UTF-8"),
    ],
)
def test_add_when_labels_do_not_fit_then_nothing_is_published(
    ferry_models, repository, tmp_path: Path, text: bytes, words: str
) -> None:
    file = onnx_models.save(onnx_models.classes(2), tmp_path / "classes.onnx")
    (tmp_path / "labels.txt").write_bytes(text)
    fails_with(ferry_models("add", file, "--name", "classes", "--labels", tmp_path / "labels.txt"), words)
    assert repository.scan() == {}


def test_add_when_the_model_is_refused_then_the_file_and_the_remedy_are_named(
    ferry_models, repository, tmp_path: Path
) -> None:
    file = onnx_models.save(onnx_models.future_opset(), tmp_path / "future.onnx")
    fails_with(ferry_models("add", file, "--name", "m"), "future.onnx is refused: it uses opset 999", "re-export")
    assert list(repository.root.iterdir()) == []


# --- add: missing values


def test_add_when_rules_for_missing_values_are_given_then_they_are_in_the_manifest_and_shown(
    ferry_models, repository: Repository, tmp_path: Path
) -> None:
    file = onnx_models.save(onnx_models.two_inputs_two_outputs(), tmp_path / "two.onnx")
    result = ferry_models("add", file, "--name", "two", "--missing", "nan", "--missing", "k=-1")
    assert result.exit_code == 0, result.stderr
    line = "missing values: a NaN for the model, b NaN for the model, k replaced by -1"
    assert line in result.stdout
    rules = {spec.name: spec.missing for spec in repository.scan()["two", "1"].inputs}
    assert rules == {"a": "nan", "b": "nan", "k": -1}
    assert line in ferry_models("show", "two").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["k=nan"], "--missing k=nan: int64 has no NaN"),
        (["k=1.5"], "'1.5' is not error, nan or a value of int64"),
        (["a=1e99"], "outside of float32"),
        (["k=1", "k=2"], "two rules for input 'k'"),
        (["nan", "0"], "two rules for all inputs"),
        (["x"], "fits no input"),
        (["z=1"], "names no input; there are 'a', 'b', 'k'"),
    ],
)
def test_add_when_a_rule_for_missing_values_does_not_fit_then_nothing_is_published(
    ferry_models, repository: Repository, tmp_path: Path, options: list[str], words: str
) -> None:
    file = onnx_models.save(onnx_models.two_inputs_two_outputs(), tmp_path / "two.onnx")
    given = [part for option in options for part in ("--missing", option)]
    fails_with(ferry_models("add", file, "--name", "two", *given), words)
    assert repository.scan() == {}


def test_add_when_a_bare_word_is_given_for_text_then_it_is_no_replacement(
    ferry_models, repository: Repository, tmp_path: Path
) -> None:
    file = onnx_models.save(onnx_models.string_input(), tmp_path / "words.onnx")
    said = "a text for input 'text' is given as text=TEXT"
    fails_with(ferry_models("add", file, "--name", "words", "--missing", "drop"), said)
    assert ferry_models("add", file, "--name", "words", "--missing", "text=drop").exit_code == 0


# --- add: files that the model names


def put_external(folder: Path, location: str = "parts/weights.bin") -> Path:
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(onnx_models.EXTERNAL_BYTES)
    return onnx_models.save(onnx_models.external_weights(location=location), folder / "net.onnx")


def test_add_when_the_model_names_files_then_they_are_published_with_it(
    ferry_models, repository: Repository, tmp_path: Path
) -> None:
    result = ferry_models("add", put_external(tmp_path / "download"), "--name", "m")
    assert result.exit_code == 0, result.stderr
    folder = repository.folder("m", "1")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"manifest.json", "model.onnx", "parts/weights.bin"}
    assert (folder / "parts/weights.bin").read_bytes() == onnx_models.EXTERNAL_BYTES
    assert [file.name for file in repository.scan()["m", "1"].files] == ["parts/weights.bin"]
    shown = ferry_models("show", "m").stdout
    assert "parts/weights.bin (12 B)" in shown
    assert ferry_models("remove", "m", "--yes").exit_code == 0
    assert list(repository.root.iterdir()) == []


def test_add_when_a_named_file_is_missing_then_tensor_and_path_are_named(
    ferry_models, repository: Repository, tmp_path: Path
) -> None:
    file = put_external(tmp_path / "download")
    (tmp_path / "download/parts/weights.bin").unlink()
    fails_with(
        ferry_models("add", file, "--name", "m"),
        "net.onnx is refused: tensor 'w' has its values in 'parts/weights.bin'",
        f"there is no file {tmp_path}/download/parts/weights.bin",
    )
    assert list(repository.root.iterdir()) == []


def test_add_when_it_is_interrupted_amid_the_copy_then_nothing_is_left(
    ferry_models, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put_external(tmp_path / "download")

    def interrupted(source: BinaryIO, target: BinaryIO, length: int) -> None:
        target.write(source.read(1))
        raise KeyboardInterrupt

    monkeypatch.setattr(model_files.shutil, "copyfileobj", interrupted)
    assert ferry_models("add", file, "--name", "m").exit_code != 0
    assert list(repository.root.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "Upper", ".incoming-1", "a/b"])
def test_add_when_the_name_is_impossible_then_the_rule_is_told(ferry_models, tmp_path: Path, name: str) -> None:
    file = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    fails_with(ferry_models("add", file, "--name", name), repr(name), "a-z")


def test_add_when_there_is_no_such_file_then_it_says_so(ferry_models, tmp_path: Path) -> None:
    fails_with(ferry_models("add", tmp_path / "none.onnx", "--name", "m"), "there is no file")
    fails_with(ferry_models("add", tmp_path / "none.onnx", "--name", "m", "--labels", "none.txt"), "none.txt: No such")


def test_add_when_the_batch_axis_is_fixed_then_it_says_so(ferry_models, tmp_path: Path) -> None:
    file = onnx_models.save(onnx_models.fixed_batch(4), tmp_path / "model.onnx")
    result = ferry_models("add", file, "--name", "m")
    assert "exactly 4 rows in one run, short batches are padded" in result.stdout
    assert "note: the batch axis is fixed at 4" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "rule"), [((), "allow"), (("--non-finite", "null"), "null"), (("--non-finite", "fail"), "fail")]
)
def test_add_when_told_what_becomes_of_nan_then_it_is_in_the_manifest(
    ferry_models, repository, tmp_path: Path, arguments: tuple[str, ...], rule: str
) -> None:
    file = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    assert ferry_models("add", file, "--name", "m", *arguments).exit_code == 0
    assert repository.scan()["m", "1"].non_finite == rule


def test_add_when_rows_influence_each_other_then_the_reason_and_the_remedy_are_shown(
    ferry_models, repository, tmp_path: Path
) -> None:
    file = onnx_models.save(onnx_models.mixes_rows(), tmp_path / "model.onnx")
    result = ferry_models("add", file, "--name", "m")
    assert "execution: whole jobs: each job is one run by itself" in result.stdout
    assert "why: tried: " in result.stdout
    assert "keep the batch axis out of the operation's axes" in " ".join(result.stdout.split())
    assert not repository.scan()["m", "1"].is_batched


def test_add_when_options_are_given_then_the_trial_follows_them(ferry_models, repository, tmp_path: Path) -> None:
    file = onnx_models.save(onnx_models.keeps_state(), tmp_path / "model.onnx")
    np.savez(tmp_path / "jobs.npz", x=np.ones((2, 5), np.float32), state=np.ones((2, 2, 8), np.float32))
    options = ("--set", "sr=16000", "--example", tmp_path / "jobs.npz")
    result = ferry_models("add", file, "--name", "m", *options)
    assert result.exit_code == 0, result.stderr
    assert "fixed input: sr = 16000 (int64)" in result.stdout
    assert "(2, N, 8)" in result.stdout
    assert repository.scan()["m", "1"].is_batched
    assert sorted(path.name for path in repository.folder("m", "1").iterdir()) == ["manifest.json", "model.onnx"]


def test_add_when_the_operator_overrides_then_it_is_recorded_and_shown(
    ferry_models, repository, tmp_path: Path
) -> None:
    file = onnx_models.save(onnx_models.mixes_rows(), tmp_path / "model.onnx")
    ferry_models("add", file, "--name", "m", "--rows-independent")
    assert repository.scan()["m", "1"].execution.evidence is Evidence.OVERRIDDEN
    assert "why: overridden: the operator said so" in ferry_models("show", "m").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "rate=1"), "with the name of an input; there are x, state, sr"),
        (("--set", "sr=fast"), "'fast' is no int64"),
        (("--example", "none.npz"), "there is no file none.npz"),
        (("--rows-independent",), "--rows-independent is not possible: input 'sr' is a scalar"),
    ],
)
def test_add_when_an_option_does_not_fit_then_nothing_is_published(
    ferry_models, repository, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    file = onnx_models.save(onnx_models.keeps_state(), tmp_path / "model.onnx")
    fails_with(ferry_models("add", file, "--name", "m", *options), words)
    assert repository.scan() == {}


def test_add_when_there_is_no_such_rule_for_nan_then_refused_with_those_there_are(ferry_models, tmp_path: Path) -> None:
    file = onnx_models.save(onnx_models.doubled(), tmp_path / "model.onnx")
    result = ferry_models("add", file, "--name", "m", "--non-finite", "zero")
    assert result.exit_code == 2
    for words in ("'zero'", "allow", "null", "fail"):
        assert words in result.stderr


# --- list and show


def test_list_when_there_is_nothing_then_it_says_how_to_begin(ferry_models) -> None:
    assert "ferry models add" in ferry_models("list").stdout


def test_list_when_one_version_is_broken_then_all_are_shown(two_versions, ferry_models, repository: Repository) -> None:
    (repository.folder("classes", "2") / "manifest.json").write_text("{}")
    result = ferry_models("list")
    assert result.exit_code == 0
    for words in ("x float32 (N,3)", "scores float32 (N,2)", " B ", "Broken", "name: Field required"):
        assert words in result.stdout


def test_show_when_no_version_is_named_then_the_latest_is_shown(two_versions, ferry_models, repository) -> None:
    result = ferry_models("show", "classes")
    for words in ("classes:2", "scores", repository.scan()["classes", "2"].sha256, "curl"):
        assert words in result.stdout
    assert "classes:1" in ferry_models("show", "classes:1").stdout


def test_show_when_the_latest_is_broken_then_the_last_good_one_is_shown(two_versions, ferry_models, repository) -> None:
    (repository.folder("classes", "2") / "model.onnx").unlink()
    assert "classes:1" in ferry_models("show", "classes").stdout
    fails_with(ferry_models("show", "classes:2"), "cannot be served", "model.onnx is missing")


def test_show_when_a_stack_is_up_then_the_first_job_goes_to_it(two_versions, ferry_models, tmp_path: Path) -> None:
    result = ferry_models("show", "classes")
    assert "A first job, once `ferry up` runs:\n\ncurl -s http://127.0.0.1:8000/v1/predictions" in result.stdout
    with DataDir(tmp_path / ".ferry") as data_dir:
        data_dir.write_run_info(RunInfo(1, "http://127.0.0.1:8123", "", "", "ferry", ""))
        assert "A first job:\n\ncurl -s http://127.0.0.1:8123/v1/predictions" in ferry_models("show", "classes").stdout


@pytest.mark.parametrize("command", ["show", "remove"])
def test_show_and_remove_when_the_name_is_mistyped_then_close_ones_are_told(
    two_versions, ferry_models, command
) -> None:
    fails_with(ferry_models(command, "clases"), "did you mean classes?")
    fails_with(ferry_models(command, "zzz"), "ferry models list")
    fails_with(ferry_models(command, "classes:7"), "no version '7'; it has 1, 2")
    fails_with(ferry_models(command, "../models"), "no model")


# --- remove


def test_remove_when_the_answer_is_no_then_nothing_goes(two_versions, ferry_models, repository: Repository) -> None:
    result = ferry_models("remove", "classes", answer="n\n")
    assert result.exit_code == 1
    assert "Delete classes:1, classes:2" in result.stdout
    assert len(repository.scan()) == 2


def test_remove_when_a_version_is_named_then_only_that_goes(two_versions, ferry_models, repository: Repository) -> None:
    assert ferry_models("remove", "classes:1", answer="y\n").exit_code == 0
    assert list(repository.scan()) == [("classes", "2")]


def test_remove_when_yes_is_given_then_the_whole_model_goes_unasked(two_versions, ferry_models, repository) -> None:
    (repository.folder("classes", "2") / "manifest.json").unlink()
    result = ferry_models("remove", "classes", "--yes")
    assert result.stdout == "Deleted classes:1, classes:2.\n"
    assert list(repository.root.iterdir()) == []


def test_remove_when_foreign_folders_lie_beside_then_they_stay(two_versions, ferry_models, repository) -> None:
    notes = repository.root / "classes" / "notes"
    notes.mkdir()
    assert ferry_models("remove", "classes", "--yes").exit_code == 0
    assert notes.is_dir()
    fails_with(ferry_models("remove", "classes", "--yes"), "holds no version")
