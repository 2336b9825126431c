import ast
import json
import subprocess
from pathlib import Path

import pytest

from ferry.local.greeting import curl_example, greeting
from ferry.manifest import Manifest, TensorSpec

API = "http://127.0.0.1:8000"


def manifest(*inputs: TensorSpec, name: str = "mnist") -> Manifest:
    output = TensorSpec(name="y", dtype="float32", shape=(None, 10))
    return Manifest(name=name, version="1", inputs=inputs, outputs=(output,), sha256="0" * 64)


DIGIT = TensorSpec(name="x", dtype="float32", shape=(None, 28, 28), range=(0, 1))
TEXT = TensorSpec(name="x", dtype="string", shape=(None,))


def body_of(example: str) -> dict[str, object]:
    """Evaluate the program in the example as the shell's python3 would."""
    code = example.split('"')[1]
    expression = code.partition("print(json.dumps(")[2].removesuffix("))")
    tree = ast.parse(expression, mode="eval")
    return eval(compile(tree, "example", "eval"))


def test_example_sends_one_row_of_the_model() -> None:
    body = body_of(curl_example(API, [manifest(DIGIT)]))
    assert body["version"] == "mnist"
    rows = body["input"]["x"]
    assert [len(rows), len(rows[0]), rows[0][0]] == [28, 28, 0]


def test_example_when_pasted_into_a_shell_sends_json() -> None:
    command = curl_example(API, [manifest(DIGIT)])
    # A stand-in for curl that shows its input and arguments.
    done = subprocess.run(
        ["sh", "-c", 'curl() { cat; for it in "$@"; do echo "$it"; done; }\n' + command],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(json.loads(lines[0])["input"]["x"]) == 28
    assert lines[1:3] == ["-s", f"{API}/v1/predictions"]
    assert "Prefer: wait" in lines


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (TensorSpec(name="x", dtype="float32", shape=(None, 2), range=(5, 9)), [5, 5]),
        (TensorSpec(name="x", dtype="float32", shape=(None, 2), range=(-9, -5)), [-5, -5]),
        (TensorSpec(name="x", dtype="bool", shape=(None, 2)), [False, False]),
        (TensorSpec(name="x", dtype="int64", shape=(None,)), 0),
        (TensorSpec(name="x", dtype="int64", shape=(2, None, 1), batch_axis=1), [[0], [0]]),
        (TensorSpec(name="x", dtype="int64", batch_axis=None), 0),
        (TensorSpec(name="x", dtype="int64", shape=(2, 1), batch_axis=None), [[0], [0]]),
        (TensorSpec(name="x", dtype="int64", shape=(2, 1), batch_axis=0), [[0], [0]]),
    ],
)
def test_example_fills_in_a_value_the_model_takes(spec: TensorSpec, value: object) -> None:
    assert body_of(curl_example(API, [manifest(spec)]))["input"] == {"x": value}


@pytest.mark.parametrize("models", [[], [manifest(TEXT)], [manifest(DIGIT.model_copy(update={"name": "$(rm)"}))]])
def test_example_when_no_model_fits_lists_the_models(models: list[Manifest]) -> None:
    assert curl_example(API, models) == f"curl -s {API}/v1/models"


def test_greeting_names_the_addresses() -> None:
    text = greeting(api_url=API, flower_url="http://f", redis="embedded", log=Path("/log"), n_workers=1, manifests=[])
    assert f"{API}/\n" in text
    assert f"{API}/docs" in text
    assert "http://f" in text
    assert "/log" in text
    assert "1 worker, Redis embedded" in text


def test_greeting_when_there_is_no_model_says_how_to_add_one() -> None:
    text = greeting(api_url=API, flower_url="http://f", redis="embedded", log=Path("/log"), n_workers=2, manifests=[])
    assert "ferry models add FILE.onnx --name NAME" in text
    assert "2 workers" in text


@pytest.mark.parametrize("needs_keys", [True, False])
def test_greeting_when_requests_need_keys_then_says_how_to_make_one(tmp_path: Path, needs_keys: bool) -> None:
    text = greeting(
        api_url=API, flower_url="http://127.0.0.1:5555", redis="embedded", log=tmp_path, n_workers=1, manifests=(),
        needs_keys=needs_keys,
    )  # fmt: skip
    assert ("ferry keys create" in text) is needs_keys
