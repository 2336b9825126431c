"""`ferry batch run` as a user runs it, on the digits that ship: every format in, the same answers out; bad files."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from tests.e2e.conftest import FERRY, Stack
from tests.processes import ROOT

pytestmark = pytest.mark.timeout(180)

URL = "/v2/models/mnist/infer"
N_ROWS = 300


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    with np.load(ROOT / "models/mnist/1/samples/digits.npz", allow_pickle=False) as file:
        return np.float32(file["x"][:N_ROWS]) / np.float32(255)


@pytest.fixture(scope="module")
def scores(digits: np.ndarray) -> np.ndarray:
    """What onnxruntime itself says to these rows."""
    path = str(ROOT / "models/mnist/1/model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: digits})[0]


def as_npy(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, x)
    return out.getvalue()


def as_npz(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, x=x)
    return out.getvalue()


def as_lines(x: np.ndarray) -> bytes:
    def line(number: int, row: np.ndarray) -> str:
        tensor = {"name": "x", "shape": [1, 28, 28], "datatype": "FP32", "data": row.reshape(-1).tolist()}
        return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": URL, "body": {"inputs": [tensor]}})

    return "\n".join(line(number, row) for number, row in enumerate(x, 1)).encode()


def as_bare_lines(x: np.ndarray) -> bytes:
    tensors = ({"name": "x", "shape": [1, 28, 28], "datatype": "FP32", "data": row.reshape(-1).tolist()} for row in x)
    return "\n".join(json.dumps({"inputs": [tensor]}) for tensor in tensors).encode()


def as_table(x: np.ndarray) -> pa.Table:
    return pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 784)})


def as_parquet(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(as_table(x), out, row_group_size=100)
    return out.getvalue()


def as_arrow(x: np.ndarray) -> bytes:
    out, table = io.BytesIO(), as_table(x)
    with pa.ipc.new_file(out, table.schema) as file:
        file.write_table(table)
    return out.getvalue()


def as_columns(x: np.ndarray, delimiter: str) -> bytes:
    flat, out = x.reshape(len(x), -1), io.BytesIO()
    table = pa.table({f"x_{number}": flat[:, number] for number in range(flat.shape[1])})
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(delimiter=delimiter))
    return out.getvalue()


FILES = {
    "npy": as_npy, "npz": as_npz, "jsonl": as_lines, "bare.jsonl": as_bare_lines, "parquet": as_parquet,
    "arrow": as_arrow, "csv": lambda x: as_columns(x, ","), "tsv": lambda x: as_columns(x, "\t"),
}  # fmt: skip


def read_scores(path: Path) -> np.ndarray:
    """Return the scores in an output file, whatever its format."""
    kind = path.suffix[1:]
    if kind == "npy":
        return np.load(path, allow_pickle=False)
    if kind == "npz":
        with np.load(path, allow_pickle=False) as file:
            return file["probabilities"]
    if kind == "jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return np.array([line["response"]["body"]["outputs"][0]["data"] for line in lines], np.float32)
    if kind in ("csv", "tsv"):
        delimiter = "," if kind == "csv" else "\t"
        table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter))
        return np.stack([table[f"probabilities_{number}"].to_numpy() for number in range(10)], axis=1)
    table = pyarrow.parquet.read_table(path) if kind == "parquet" else pa.ipc.open_file(path).read_all()
    return np.stack(table["probabilities"].to_pylist())


def run(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FERRY, "batch", *arguments], cwd=stack.data_dir, env=stack.env, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_batch_run_when_given_each_format_then_the_scores_are_those_of_direct_runs_in_order(
    stack: Stack, tmp_path: Path, digits: np.ndarray, scores: np.ndarray, name: str
) -> None:
    source, out = tmp_path / f"digits.{name}", tmp_path / f"out.{name}"
    source.write_bytes(FILES[name](digits))
    done = run(stack, "run", str(source), "--model", "mnist", "-o", str(out))
    assert done.returncode == 0, done.stderr
    found = read_scores(out)
    assert found.shape == scores.shape
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(axis=1), scores.argmax(axis=1))


def as_zip(grey: np.ndarray) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("__MACOSX/._0.png", b"")
        for number, row in enumerate(grey):
            image = io.BytesIO()
            Image.fromarray(row).save(image, "PNG")
            archive.writestr(f"../C:\\digits/{number}.png", image.getvalue())
    return out.getvalue()


def as_kaggle(grey: np.ndarray, labels: np.ndarray) -> bytes:
    lines = [",".join(["label", *(f"pixel{number}" for number in range(784))])]
    lines += [f"{label}," + ",".join(map(str, row.reshape(-1))) for label, row in zip(labels, grey, strict=True)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("name", ["digits.zip", "train.csv"])
def test_batch_run_when_digits_are_images_or_kaggles_pixels_then_the_model_alone_is_enough(
    stack: Stack, tmp_path: Path, scores: np.ndarray, name: str
) -> None:
    with np.load(ROOT / "models/mnist/1/samples/digits.npz", allow_pickle=False) as file:
        grey, labels = file["x"][:N_ROWS], file["y"][:N_ROWS]
    source = tmp_path / name
    source.write_bytes(as_zip(grey) if name == "digits.zip" else as_kaggle(grey, labels))
    done = run(stack, "run", str(source), "--model", "mnist")
    assert done.returncode == 0, done.stderr
    assert ("note: 1 file that a system added was skipped: __MACOSX/._0.png" in done.stderr) is (name == "digits.zip")
    (out,) = tmp_path.glob("*.out.*")
    found = read_scores(out)
    np.testing.assert_allclose(found, scores, rtol=0, atol=1e-5)
    accuracy = (found.argmax(axis=1) == labels).mean()
    sys.stdout.write(f"\n{name}: accuracy {accuracy}\n")
    assert accuracy >= 0.95


def test_batch_run_when_asked_for_another_format_then_it_is_written(
    stack: Stack, tmp_path: Path, digits: np.ndarray, scores: np.ndarray
) -> None:
    source, out = tmp_path / "digits.npy", tmp_path / "out.parquet"
    source.write_bytes(as_npy(digits))
    done = run(stack, "run", str(source), "--model", "mnist", "-o", str(out), "--format", "parquet")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read_scores(out), scores, rtol=0, atol=1e-6)
    labels = pyarrow.parquet.read_table(out)["label"].to_pylist()
    assert labels == [str(each) for each in scores.argmax(axis=1)]


def test_batch_run_when_columns_are_joined_then_they_stand_beside_the_labels(stack: Stack, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    done = run(stack, "run", str(ROOT / "docs/examples/digits.csv"), "--model", "mnist", "--join", "id", "-o", str(out))
    assert done.returncode == 0, done.stderr
    table = pyarrow.csv.read_csv(out)
    names, labels = table["id"].to_pylist(), table["label"].to_pylist()
    assert [name.rpartition("-")[2] for name in names] == [str(label) for label in labels]
    assert len(names) == 10


def test_batch_run_when_some_rows_are_bad_then_the_others_go_on_and_it_says_where(
    stack: Stack, tmp_path: Path, digits: np.ndarray
) -> None:
    lines = as_lines(digits[:20]).splitlines()
    lines[4] = lines[4].replace(b'"FP32"', b'"INT64"')
    source, out = tmp_path / "digits.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(lines))
    done = run(stack, "run", str(source), "--model", "mnist", "-o", str(out))
    assert done.returncode == 3, done.stderr
    (error,) = [json.loads(line) for line in Path(f"{out}.errors.jsonl").read_text().splitlines()]
    assert (error["custom_id"], error["line"], error["response"]["status_code"]) == ("row-5", 5, 400)
    assert "1 of 20 rows failed" in done.stderr
    assert len(out.read_text().splitlines()) == 19


def bomb() -> bytes:
    """Return a small archive that unpacks to 10 GB of zeros."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (3_200_000, 28, 28)}
        )
        zeros = bytes(2**24)
        for _ in range(40):
            file.write(zeros)
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return out.getvalue()


BAD_FILES = {
    "pickled.npy": (pickled, "pickled Python objects, which are never loaded"),
    "cut.npy": (lambda: as_npy(np.zeros((5, 28, 28), np.float32))[:-7], "it is damaged"),
    "cut.npz": (lambda: as_npz(np.zeros((5, 28, 28), np.float32))[:-50], "ZIP"),
    "cut.parquet": (lambda: as_parquet(np.zeros((5, 28, 28), np.float32))[:-9], "not a whole Parquet file"),
    "no.csv": (lambda: b"PAR1\0\0\0\0", "its content is parquet"),
    "shape.npy": (lambda: as_npy(np.zeros((5, 27, 28), np.float32)), "rows of shape (27, 28)"),
    "columns.csv": (lambda: b"a,b\n1,2\n", "needs columns x_0 to x_783"),
    "bomb.npz": (bomb, "array 'x' takes 10035200128 bytes, there are 671088768"),
    "twice.jsonl": (
        lambda: as_lines(np.zeros((1, 28, 28))) + b"\n" + as_lines(np.zeros((1, 28, 28))), "stands on line 1 already",
    ),
    "text.jsonl": (lambda: b"not json\n", "the line is not a JSON object (line 1)"),
    "long.jsonl": (lambda: b'{"a": "' + b"x" * 100_000_000 + b'"}\n', "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_batch_run_when_the_file_is_bad_then_it_says_why_and_the_workers_live(
    stack: Stack, tmp_path: Path, name: str
) -> None:
    make, message = BAD_FILES[name]
    source = tmp_path / name
    source.write_bytes(make())
    done = run(stack, "run", str(source), "--model", "mnist", "-o", str(tmp_path / f"out.{name}"))
    sys.stdout.write(f"\n{name}: {done.stderr.splitlines()[-1]}\n")
    assert done.returncode == 1, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "died" not in stack.output


def test_batch_run_when_the_model_is_mistyped_then_nothing_is_sent_and_it_says_what_there_is(
    stack: Stack, tmp_path: Path
) -> None:
    source = tmp_path / "digits.npy"
    source.write_bytes(as_npy(np.zeros((5, 28, 28), np.float32)))
    done = run(stack, "run", str(source), "--model", "mnits", "-o", str(tmp_path / "out.npy"))
    assert done.returncode == 1
    assert "mnist" in done.stderr
