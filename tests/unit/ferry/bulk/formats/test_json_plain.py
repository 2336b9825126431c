"""Plain lines read by simdjson: what they give is what lists and their checks give, and nothing unusual passes."""

import io

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ferry.bulk.formats import json_plain
from ferry.bulk.formats.base import ChunkRows, Index, Rules
from ferry.bulk.formats.jsonl import Jsonl
from ferry.errors import InvalidInputError
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import rules

TWO = manifest(
    inputs=(spec("x", "float32", 2, 2, range=(0.0, 1.0)), spec("k", "uint8", 1)), outputs=(spec("y", "float32"),),
    max_job_rows=3,
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 0.5, -0.0, 2, 1e39, 1e-300, 255, 256, -1, 2**63, True, None, "1", [1], [0.5], {}])
GOOD = st.sampled_from([0, 1, 0.5, 0.25])


def lists(element, *sizes: int):
    strategy = element
    for size in reversed(sizes):
        strategy = st.lists(strategy, min_size=size, max_size=size)
    return strategy


def mostly(good, odd):
    return st.one_of(good, good, good, odd)


X = st.one_of(
    lists(GOOD, 2, 2), lists(GOOD, 4), lists(GOOD, 1, 2, 2), lists(GOOD, 2, 2, 2), lists(NUMBERS, 2, 2),
    lists(NUMBERS, 4), st.sampled_from([[[1, 0], [1]], [[1], [1, 0, 1]], [], "1111", [[], []]]),
)  # fmt: skip
K = st.one_of(lists(st.sampled_from([0, 7, 255]), 1), lists(NUMBERS, 1), lists(st.just(3), 2, 1), st.just([[1], 2]))
PREDICTION = st.fixed_dictionaries(
    {"input": st.fixed_dictionaries({"x": X, "k": K}, optional={"z": st.just(1)})},
    optional={"version": st.sampled_from(["1", "9"])},
)
ITEM = {
    "shape": mostly(
        st.just([1, 2, 2]), st.sampled_from([[2, 2, 2], [1, 4], [True, 2, 2], [1.0, 2, 2], [0, 2, 2], [], 7])
    ),
    "datatype": mostly(st.just("FP32"), st.sampled_from(["FP64", 1])),
    "data": X,
}
K_ITEM = {
    "shape": mostly(st.just([1, 1]), st.sampled_from([[2, 1], [1]])), "datatype": st.just("UINT8"),
    "data": K,
}  # fmt: skip
INFER = st.fixed_dictionaries(
    {
        "inputs": st.tuples(
            st.fixed_dictionaries({"name": st.just("x")} | ITEM),
            st.fixed_dictionaries(
                {"name": mostly(st.just("k"), st.just("x"))} | K_ITEM, optional={"parameters": st.just({})}
            ),
        )
    },
    optional={
        "id": st.sampled_from(["", "a[", 5]),
        "outputs": st.just([{"name": "y"}]),
    },
)
JOINED = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"m": st.sampled_from([None, True, 7, 2.5, 2**64 - 1, "a[", [1, [2]], {"k": 1}])}),
)
ODD_LINES = st.sampled_from([b"", b" ", b"{}", b'{"body": 1}', b"\xef\xbb\xbf{}"])


def read_both_ways(data: bytes, given_rules: Rules, monkeypatch) -> tuple[list, list]:
    """Return what reading gives, with simdjson and without: the index, then rows by position and faults."""
    found = []
    for parser in (json_plain.simdjson, None):
        with monkeypatch.context() as patch:
            patch.setattr(json_plain, "simdjson", parser)
            index = Jsonl().index(io.BytesIO(data), given_rules)
            chunks = [] if index.faults else index.chunks
            read = [summary(Jsonl().read(io.BytesIO(data), chunk, given_rules)) for chunk in chunks]
            found.append([index_summary(index), *read])
    return found[0], found[1]


def index_summary(index: Index) -> tuple:
    return index.rows, index.faults, [chunk.to_dict() for chunk in index.chunks]


def summary(rows: ChunkRows) -> tuple:
    by_position = {}
    for group in rows.groups:
        start = 0
        for place, (position, count) in enumerate(zip(group.positions, group.counts, strict=True)):
            arrays = [(a.dtype, a[start : start + count].tolist()) for a in group.arrays]
            by_position[position] = (count, group.singles[place], group.asked[place], arrays)
            start += count
        assert all(len(array) == start for array in group.arrays)
    return list(rows.ids), list(rows.numbers), sorted(by_position.items()), rows.faults, rows.joined


@pytest.mark.parametrize("endpoint", ["infer", "predictions"])
@pytest.mark.parametrize("bare", [True, False])
def test_jsonl_when_bodies_are_any_then_plain_reading_gives_the_same(endpoint: str, bare: bool, monkeypatch) -> None:
    body = INFER if endpoint == "infer" else PREDICTION

    @settings(deadline=None, max_examples=150)
    @given(st.lists(st.one_of(body, body, body, ODD_LINES), min_size=1, max_size=8), st.lists(JOINED, min_size=8))
    @example([{"input": {"x": [[1, 0], [1, 0]], "k": [1]}}] * 3, [{}] * 8)
    @example([{"input": {"x": [[1, 0], [1, 0]], "k": [1]}}] * 3, [{"m": 7}, {"m": "a["}, {"m": [1, {}]}] * 3)
    def check(bodies: list, joined: list) -> None:
        lines = []
        for number, each in enumerate(bodies):
            if isinstance(each, bytes):
                lines.append(each)
                continue
            line = each if bare else {"custom_id": f"r[{number}", "method": "POST", "url": "/u", "body": each}
            lines.append(orjson.dumps(line | joined[number]))
        for join in ((), ("m", "id")):
            given_rules = rules(TWO, endpoint=endpoint, url="/u", join=join)
            read, expected = read_both_ways(b"\n".join(lines), given_rules, monkeypatch)
            assert read == expected

    check()


PLAIN = b'{"custom_id":"a","method":"POST","url":"/u","body":{"input":{"x":[[0,1],[0,1]],"k":[1]}}}'


@pytest.mark.parametrize(
    "line",
    [
        PLAIN.replace(b'"url"', b'"custom_id":"b","url"'),
        PLAIN.replace(b'"k":[1]', b'"k":[1],"k":[2]'),
        PLAIN.replace(b'"custom_id"', b'"custom_id\\u0000"'),
        PLAIN.replace(b'"custom_id"', b'"custom_id\\u0000":1,"custom_id"'),
        PLAIN.replace(b'"a"', b'"\xff"'),
        PLAIN.replace(b'"a"', b'"\\ud800"'),
        PLAIN.replace(b"[0,1],", b"[0,NaN],"),
        PLAIN.replace(b"[0,1],", b"[0,[1]],"),
        PLAIN.replace(b"[0,1],", b"[0,1e999],"),
        PLAIN.replace(b"[0,1],", b"[0,123456789012345678901234567890],"),
        PLAIN.replace(b"[0,1],", b"[0,01],"),
        PLAIN + b"x",
        PLAIN[:-1],
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b'"POST"', b'{"a":[1]}'),
        PLAIN.replace(b'"/u"', b"[[1]]"),
        PLAIN.replace(b'"a"', b"[]"),
        PLAIN.replace(b"{", b" {  ") + b"\r",
    ],
)
def test_jsonl_when_a_line_is_unusual_json_then_plain_reading_gives_the_same(line: bytes, monkeypatch) -> None:
    data = PLAIN.replace(b'"a"', b'"first"') + b"\n" + line + b"\n"
    read, expected = read_both_ways(data, rules(TWO, url="/u"), monkeypatch)
    assert read == expected


def test_plain_rows_when_lines_are_plain_then_no_list_is_made_of_them(monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("read as lists")

    data = b"".join(PLAIN.replace(b'"a"', b'"%d"' % n) + b"\n" for n in range(3))
    (chunk,) = Jsonl().index(io.BytesIO(data), rules(TWO, url="/u")).chunks
    monkeypatch.setattr("ferry.bulk.formats.jsonl.loads", refuse)
    (group,) = Jsonl().read(io.BytesIO(data), chunk, rules(TWO, url="/u")).groups
    assert (group.positions, list(group.counts)) == (range(3), [1, 1, 1])
    np.testing.assert_array_equal(group.arrays[0], np.array([[[0, 1], [0, 1]]] * 3, np.float32))


def test_jsonl_when_lines_have_more_rows_than_lines_then_room_is_made() -> None:
    x = np.random.default_rng(1).random((30, 3), dtype=np.float32)
    model = manifest(max_job_rows=100)
    data = b"".join(orjson.dumps({"input": {"x": x[at : at + 10].tolist()}}) + b"\n" for at in range(0, 30, 10))
    (chunk,) = Jsonl().index(io.BytesIO(data), rules(model)).chunks
    (group,) = Jsonl().read(io.BytesIO(data), chunk, rules(model)).groups
    np.testing.assert_array_equal(group.arrays[0], x)


def test_jsonl_when_a_line_was_exchanged_then_reading_says_so() -> None:
    (chunk,) = Jsonl().index(io.BytesIO(PLAIN + b"\n"), rules(TWO, url="/u")).chunks
    with pytest.raises(InvalidInputError, match="replaced"):
        Jsonl().read(io.BytesIO(b"x" * len(PLAIN) + b"\n"), chunk, rules(TWO, url="/u"))
