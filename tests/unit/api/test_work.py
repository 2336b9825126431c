"""No body costs more than its size: each dimension of a body is doubled, and the work is counted.

Counted are the bytecodes that Python runs and the values that simdjson looks at: the machine's speed does not matter.
"""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from api import json_arrays
from api.batch_requests import read_batch_request
from api.headers import headers_in
from api.job_bodies import JobBody, Kind
from api.json_parsing import parse_json
from api.preferences import wait_from_prefer
from api.terms import class_from_header
from ferry.errors import FerryError
from ferry.log_text import clean_text
from ferry.tensors import codec_of
from tests.fakes import counting_simdjson
from tests.manifests import manifest, spec

TABLE = manifest(inputs=(spec("a", "float32"), spec("b", "int64")), max_job_rows=10**6)
ROWS = manifest(max_job_rows=10**6)
TEXT = manifest(inputs=(spec("x", "string", 1),), max_job_rows=10**6)
TEXT_A = '"a"'
# Doubled, with a constant part that only makes it less.
MOST = 2.2


def many(item: str, n: int) -> str:
    return "[" + ",".join([item] * n) + "]"


def members(n: int, value: str = "1") -> str:
    return "{" + ",".join(f'"k{place:09}":{value}' for place in range(n)) + "}"


def prediction(value: str) -> str:
    return f'{{"model":"toy","input":{value}}}'


def infer(**more: str) -> str:
    fields = {"name": '"x"', "datatype": '"FP32"', "shape": "[2,3]", "data": "[1,2,3,4,5,6]"} | more
    return '{"inputs":[{' + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}]}"


PREDICTIONS: dict[str, Callable[[int], str]] = {
    "unknown members": members,
    "members of the input": lambda n: prediction(members(n)),
    "members with arrays": lambda n: prediction(members(n, "[1,2]")),
    "one member again and again": lambda n: "{" + ",".join(['"model":"toy"'] * n) + "}",
    "members beside the model": lambda n: '{"model":"toy",' + members(n)[1:],
    "objects": lambda n: prediction(many("{}", n)),
    "objects in objects": lambda n: prediction('{"a":' * (n // 2) + "1" + "}" * (n // 2)),
    "lists": lambda n: prediction(many("[]", n)),
    "numbers": lambda n: prediction(many("1", n)),
    "numbers, then null": lambda n: prediction(many("1", n)[:-1] + ",null]"),
    "numbers, then a list": lambda n: prediction(many("1", n)[:-1] + ",[1]]"),
    "numbers, then text": lambda n: prediction(many("1", n)[:-1] + ',"a"]'),
    "NaN": lambda n: prediction(many("NaN", n)),
    "rows": lambda n: prediction(many("[1,2,3]", n)),
    "rows, then a wrong one": lambda n: prediction(many("[1,2,3]", n)[:-1] + ',[1,2,"c"]]'),
    "rows, then a short one": lambda n: prediction(many("[1,2,3]", n)[:-1] + ",[1]]"),
    "short rows": lambda n: prediction(many("[1]", n)),
    "long rows": lambda n: prediction(f"[{many('1', n)},{many('2', n)}]"),
    "depth": lambda n: prediction("[" * (n // 2) + "1" + "]" * (n // 2)),
    "deep and ragged": lambda n: prediction("[" * (n // 4) + many("1", n) + ",[[1]]" + "]" * (n // 4)),
    "deep lists, many": lambda n: prediction(many("[" * 100 + "1" + "]" * 100, n // 50)),
    "deeper lists": lambda n: prediction(many("[" * (n // 4) + "1" + "]" * (n // 4), 8)),
    "texts": lambda n: prediction(many('"a"', n)),
    "one long text": lambda n: prediction('"' + "a" * (8 * n) + '"'),
    "escapes": lambda n: prediction('"' + r"\n" * (4 * n) + '"'),
    "unicode escapes": lambda n: prediction('"' + r"\u00e9" * n + '"'),
    "surrogates, as Python reads them": lambda n: prediction(f'[NaN,"{chr(92)}ud83d{chr(92)}ude00{"a" * 8 * n}"]'),
    "one long name": lambda n: prediction('{"' + "a" * (8 * n) + '":1}'),
    "digits of a whole number": lambda n: prediction("9" * n),
    "digits of a fraction": lambda n: prediction("[0." + "1234567890" * n + "]"),
    "long whole numbers": lambda n: prediction(many("9" * 4000, n // 100)),
    "long whole numbers, as Python reads them": lambda n: prediction(many("9" * 4000, n // 100)[:-1] + ",NaN]"),
    "it ends too early": lambda n: prediction(many("1", n))[:-2],
}  # fmt: skip
CASES = [
    *((f"prediction: {name}", Kind.PREDICTION, ROWS, make) for name, make in PREDICTIONS.items()),
    ("rows as objects", Kind.PREDICTION, TABLE, lambda n: prediction(many('{"a":1.5,"b":2}', n))),
    ("rows as objects, the last wrong", Kind.PREDICTION, TABLE,
     lambda n: prediction(many('{"a":1.5,"b":2}', n)[:-1] + ',{"a":1,"b":"c"}]')),
    ("rows as objects, the last short", Kind.PREDICTION, TABLE,
     lambda n: prediction(many('{"a":1.5,"b":2}', n)[:-1] + ',{"a":1}]')),
    ("rows as objects of lists, the last wrong", Kind.PREDICTION, ROWS,
     lambda n: prediction(many('{"x":[1,2,3]}', n)[:-1] + ',{"x":[1]}]')),
    ("texts of a model of texts", Kind.PREDICTION, TEXT, lambda n: prediction(many('["a"]', n))),
    ("inputs", Kind.MANY, ROWS, lambda n: f'{{"model":"toy","inputs":{many("[1,2,3]", n)}}}'),
    ("rows of inputs", Kind.MANY, ROWS, lambda n: f'{{"model":"toy","inputs":[{many("[1,2,3]", n)},[1,2,3]]}}'),
    ("ids", Kind.MANY, ROWS, lambda n: f'{{"model":"toy","inputs":[[1,2,3]],"ids":{many(TEXT_A, n)}}}'),
    ("a flat row", Kind.PREDICT, ROWS, lambda n: f'{{"x":{many("1", n)}}}'),
    ("a deep row", Kind.PREDICT, ROWS, lambda n: '{"x":' + many("[" * (n // 4) + "1" + "]" * (n // 4), 8) + "}"),
    ("unknown members of predict", Kind.PREDICT, ROWS, lambda n: '{"x":[1,2,3],' + members(n)[1:]),
    ("tensors", Kind.INFER, ROWS, lambda n: infer(shape=f"[{n},3]", data=many("1", 3 * n))),
    ("a tensor of rows", Kind.INFER, ROWS, lambda n: infer(shape=f"[{n},3]", data=many("[1,2,3]", n))),
    ("a tensor with null", Kind.INFER, ROWS, lambda n: infer(data=many("null", n))),
    ("a deep tensor", Kind.INFER, ROWS, lambda n: infer(data=many("[" * (n // 4) + "1" + "]" * (n // 4), 6))),
    ("axes", Kind.INFER, ROWS, lambda n: infer(shape=many("1", n))),
    ("a deep shape", Kind.INFER, ROWS, lambda n: infer(shape="[" * (n // 2) + "]" * (n // 2))),
    ("a list as the name", Kind.INFER, ROWS, lambda n: infer(name=many("1", n))),
    ("a deep list as the type", Kind.INFER, ROWS, lambda n: infer(datatype="[" * (n // 2) + "]" * (n // 2))),
    ("parameters", Kind.INFER, ROWS, lambda n: '{"parameters":' + members(n) + "," + infer()[1:]),
    ("many inputs", Kind.INFER, ROWS, lambda n: '{"inputs":' + many('{"name":"x"}', n) + "}"),
    ("many outputs", Kind.INFER, ROWS, lambda n: infer()[:-1] + ',"outputs":' + many('{"name":"y"}', n) + "}"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "simdjson", counting_simdjson)
    monkeypatch.setattr(json_arrays, "_CONTAINERS", {counting_simdjson.Object, counting_simdjson.Array})


def work_of(call: Callable[[], object]) -> int:
    """Return the bytecodes that a call runs, and the values that simdjson looks at in it."""
    n_bytecodes = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal n_bytecodes
        if frame.f_code.co_filename == counting_simdjson.__file__:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        n_bytecodes += event == "opcode"
        return trace

    counting_simdjson.Work.n_values = 0
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(FerryError):
            call()
    finally:
        sys.settrace(before)
    return n_bytecodes + counting_simdjson.Work.n_values


@pytest.mark.parametrize(("kind", "model", "make"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_read_when_one_dimension_of_a_body_is_doubled_then_the_work_is_at_most_doubled(
    kind: Kind, model: Any, make: Callable[[int], str]
) -> None:
    codec = codec_of(model.inputs, is_batched=True)

    def work(n: int) -> int:
        body = make(n).encode()
        return work_of(lambda: JobBody(kind, body).read(model, codec))

    first, second, third = work(400), work(800), work(1600)
    assert second <= MOST * first
    assert third <= MOST * second


@pytest.mark.parametrize(
    "make",
    [
        lambda n: {"metadata": {str(place): "a" for place in range(n)}, "endpoint": "/v1/predictions"},
        lambda n: {"metadata": {"a": "b" * n}, "endpoint": "/v1/predictions"},
        lambda n: {"endpoint": "/" * n},
        lambda n: {str(place): 1 for place in range(n)},
    ],
)
def test_read_batch_request_when_one_dimension_is_doubled_then_the_work_is_at_most_doubled(
    make: Callable[[int], dict[str, Any]],
) -> None:
    first, second = (
        work_of(lambda n=n: read_batch_request(parse_json(json.dumps(make(n)).encode()), default_model="toy"))
        for n in (400, 800)
    )
    assert second <= MOST * first


@pytest.mark.parametrize(
    "read",
    [
        lambda n: clean_text("ab://" * n),
        lambda n: clean_text("a://b@c?d " * n),
        lambda n: clean_text("secret-" * n),
        lambda n: headers_in({"headers": [(b"prefer", b"wait=5")] * n}),
        lambda n: headers_in({"headers": [(b"a%d" % place, b"b") for place in range(n)]}),
        lambda n: wait_from_prefer("a, " * n + "wait=5", default_s=1.0),
        lambda n: wait_from_prefer("wait" + " " * n + "= x", default_s=1.0),
        lambda n: class_from_header("u=1" + " " * n + "x"),
    ],
)
def test_headers_and_log_texts_when_one_dimension_is_doubled_then_the_work_is_at_most_doubled(
    read: Callable[[int], object],
) -> None:
    wait_from_prefer.cache_clear()
    class_from_header.cache_clear()
    clean_text("ab://")  # patterns are made ready at their first use
    assert work_of(lambda: read(800)) <= MOST * work_of(lambda: read(400))


def test_counting_simdjson_when_it_reads_then_as_the_real_one() -> None:
    body = json.dumps({"a": [[1.5, 2] * 20] * 2, "b": [1, "x", None], "c": {"d": [2**63] * 40}}).encode()
    counted = json_arrays.read(body)
    assert counted["a"].shape == (2, 40)
    assert counted["c"]["d"].tolist() == [2**63] * 40
    assert counted["b"] == [1, "x", None]
