import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ferry.cli.batch_plan import Plan, plan_of
from ferry.errors import InvalidInputError


def planned(
    path: Path, content: bytes, model: str = "mnist", out: str | None = None, output_format: str | None = None, **more
) -> Plan:
    path.write_bytes(content)
    return plan_of(path, model, out=out, output_format=output_format, join=None, error_file=None, **more)


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def line(url: object) -> bytes:
    return json.dumps({"custom_id": "a", "method": "POST", "url": url, "body": {}}).encode() + b"\n"


@pytest.mark.parametrize(
    ("first", "model", "endpoint"),
    [
        (b'{"x": 1}\n', "mnist", "/v2/models/mnist/infer"),
        (b'{"x": 1}\n', "mnist:2", "/v2/models/mnist/versions/2/infer"),
        (b'{"input": [1]}\n', "mnist", "/v1/predictions"),
        (b'{"input": {"x": 1}, "id": 7}\n', "mnist:2", "/v1/predictions"),
        (b'{"inputs": []}\n', "mnist", "/v2/models/mnist/infer"),
        (b'{"url": "my column"}\n', "mnist", "/v2/models/mnist/infer"),
        (b"not JSON\n", "mnist", "/v2/models/mnist/infer"),
        (b"[" * 100_000 + b"\n", "mnist", "/v2/models/mnist/infer"),
        (b"[1]\n", "mnist", "/v2/models/mnist/infer"),
        (line("/v1/predictions"), "mnist", "/v1/predictions"),
        (b"\xef\xbb\xbf" + line("/v1/predictions"), "mnist", "/v1/predictions"),
        (b" \n\n" + line("/v1/predictions"), "mnist:2", "/v1/predictions"),
        (line("/v2/models/mnist/infer"), "mnist", "/v2/models/mnist/infer"),
        (line("/v2/models/mnist/versions/3/infer"), "mnist", "/v2/models/mnist/versions/3/infer"),
        (line("/v2/models/mnist/versions/3/infer"), "mnist:3", "/v2/models/mnist/versions/3/infer"),
    ],
)
def test_endpoint_when_lines_name_a_route_then_it_is_that_one(
    tmp_path: Path, first: bytes, model: str, endpoint: str
) -> None:
    assert planned(tmp_path / "in.jsonl", first, model).endpoint == endpoint


@pytest.mark.parametrize(
    ("url", "model", "why"),
    [
        ("/v2/models/other/infer", "mnist", "name the url /v2/models/other/infer, and --model says mnist"),
        ("/v2/models/mnist/infer", "mnist:2", "--model says mnist:2; name one model"),
        ("/v2/models/mnist/versions/1/infer", "mnist:2", "--model says mnist:2"),
        ("/v1/chat/completions", "mnist", "'/v1/chat/completions'; a batch takes /v2/models/mnist/infer or /v1/pred"),
        (7, "mnist", "name the url '7'"),
    ],
)
def test_endpoint_when_lines_name_another_route_then_is_refused(
    tmp_path: Path, url: object, model: str, why: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        planned(tmp_path / "in.jsonl", line(url), model)
    assert why in caught.value.detail


@pytest.mark.parametrize(
    ("name", "content", "out", "asked", "expected"),
    [
        ("in.csv", b"x\n1\n", None, None, "csv"),
        ("in.csv", b"x\n1\n", "o.parquet", None, "parquet"),
        ("in.csv", b"x\n1\n", "o.dat", "npz", "npz"),
        ("in.csv", b"x\n1\n", "o.txt", "csv", "csv"),
        ("in.csv", b"x\n1\n", "o", None, "csv"),
        ("in.csv", b"x\n1\n", "o.NDJSON", None, "jsonl"),
        ("in.csv", b"x\n1\n", "o.feather", None, "arrow"),
        ("in.csv", b"x\n1\n", "-", None, "csv"),
        ("in.npy", b"\x93NUMPY", None, None, "npy"),
        ("in.zip", b"PK\x03\x04" + bytes(40), None, None, "jsonl"),
        ("rows", b'{"x": 1}\n', None, None, "jsonl"),
    ],
)
def test_output_format_when_not_asked_for_then_the_names_or_the_inputs(
    tmp_path: Path, name: str, content: bytes, out: str | None, asked: str | None, expected: str
) -> None:
    out_path = str(tmp_path / out) if out and out != "-" else out
    plan = planned(tmp_path / name, content, out=out_path, output_format=asked)
    assert plan.output_format == expected
    if out is None:
        assert plan.places.out == tmp_path / f"{Path(name).stem}.out.{expected}"
    assert plan.places.errors.name.endswith(".errors.jsonl")


READING = {"header": "no", "delimiter": ";", "decimal": ",", "encoding": "cp1252"}


def test_plan_when_a_file_is_to_be_read_in_a_way_then_the_api_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("grö;1,5\n".encode("cp1252"))
    plan = plan_of(path, "mnist", out=None, output_format=None, join="a", error_file=None, reading=READING)
    assert plan.metadata == {"output_format": "csv", "join": "a"} | READING


@pytest.mark.parametrize(
    ("name", "content", "reading", "why"),
    [
        ("in.npy", b"\x93NUMPY", {"header": "no"}, "--header is an option for csv and tsv, the file is npy"),
        ("in.jsonl", b"{}", {"decimal": ","}, "--decimal is an option for csv and tsv, the file is jsonl"),
        ("in.csv", b"x", {"header": "maybe"}, "header 'maybe' cannot be used; expected auto, yes, no"),
        ("in.csv", b"x", {"encoding": "klingon"}, "encoding 'klingon' cannot be used"),
        ("in.xlsx", b"PK\x03\x04", {}, "save the sheet as CSV UTF-8"),
        ("in.csv.gz", b"x", {}, "is named .gz, its content is not gzip"),
        ("in.csv.gz", gzip.compress(b"x" * 9999)[:20], {}, "cannot be unpacked"),
    ],
)
def test_plan_when_an_option_or_a_file_is_none_then_refused_before_anything_is_sent(
    tmp_path: Path, name: str, content: bytes, reading: dict[str, str], why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        plan_of(path, "mnist", out=None, output_format=None, join=None, error_file=None, reading=reading)
    assert why in caught.value.detail


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (zstd, ".zst")])
def test_plan_when_the_file_is_packed_then_as_if_it_were_not(
    tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str
) -> None:
    plan = planned(tmp_path / f"in.jsonl{suffix}", pack(b"\n" + line("/v1/predictions")))
    assert (plan.output_format, plan.endpoint) == ("jsonl", "/v1/predictions")
    assert plan.places.out == tmp_path / "in.out.jsonl"


def test_plan_when_what_unpacks_is_not_installed_then_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInputError, match="send it as"):
        planned(tmp_path / "in.csv.zst", b"\x28\xb5\x2f\xfd")


@pytest.mark.parametrize(("out", "asked"), [("o.jsonl", "parquet"), ("o.NPZ", "npy"), ("o.tsv", "csv")])
def test_output_format_when_it_contradicts_the_name_then_is_refused_naming_both(
    tmp_path: Path, out: str, asked: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"{Path(out).suffix.lower()}, .*--format says {asked}; name it"):
        planned(tmp_path / "in.csv", b"x\n1\n", out=str(tmp_path / out), output_format=asked)


@pytest.mark.parametrize("out", ["o.xlsx", "o.txt", "o.csv.gz", "o.zip"])
def test_output_format_when_the_suffix_is_of_none_then_is_refused_naming_those_there_are(
    tmp_path: Path, out: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        planned(tmp_path / "in.csv", b"x\n1\n", out=str(tmp_path / out))
    assert f"no output is written as {Path(out).suffix}; name it .jsonl, .ndjson, .csv" in caught.value.detail


@pytest.mark.parametrize(
    ("dtypes", "asked", "expected"),
    [
        (("float32",), None, "npy"),
        (("float32", "float32"), None, "npz"),
        (("int64",), None, "npz"),
        (("int64",), "npy", "npy"),
    ],
)
def test_output_format_when_npy_cannot_hold_the_outputs_then_npz_and_its_name(
    tmp_path: Path, dtypes: tuple[str, ...], asked: str | None, expected: str
) -> None:
    plan = planned(tmp_path / "in.npy", b"\x93NUMPY", output_format=asked, dtypes=dtypes)
    assert (plan.output_format, plan.places.out) == (expected, tmp_path / f"in.out.{expected}")


def test_escape_formulas_when_the_output_is_csv_then_it_is_sent_else_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path / "in.csv", b"x\n1\n", escape_formulas=True)
    assert plan.metadata == {"output_format": "csv", "csv_escape_formulas": "true"}
    with pytest.raises(InvalidInputError, match="--escape-formulas is for csv and tsv, the output is parquet"):
        planned(tmp_path / "in.csv", b"x\n1\n", out=str(tmp_path / "o.parquet"), escape_formulas=True)
