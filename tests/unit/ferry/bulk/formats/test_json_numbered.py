"""Lines of JSON as data frames write them: a member for each element of an input."""

import numpy as np
import pytest

from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, envelopes, faults_of, jsonl, rows_of, rules, whole


@pytest.mark.parametrize("pattern", ["x_{}", "x.{}", "x[{}]"])
@pytest.mark.parametrize("endpoint", ["infer", "predictions"])
def test_jsonl_when_members_are_numbered_then_they_are_the_elements_of_the_input(pattern: str, endpoint: str) -> None:
    x = rows_of(5)
    lines = [{"id": 7, **{pattern.format(i): value for i, value in enumerate(row.ravel())}} for row in x]
    chunks = chunks_of("jsonl", jsonl(lines), rules(endpoint=endpoint, join=("id",)))
    assert faults_of(chunks) == []
    np.testing.assert_array_equal(whole(chunks), x)
    assert chunks[0].joined["id"].to_pylist() == [7] * 4


def test_jsonl_when_two_inputs_are_numbered_or_a_list_then_each_is_found() -> None:
    model = manifest(inputs=(spec("a", "float32", 2), spec("b", "int64", 1)), outputs=(spec("y", "float32"),))
    chunks = chunks_of("jsonl", jsonl([{"a_0": 1, "a_1": 2, "b": 3}, {"a": [4, 5], "b_0": 6}]), rules(model))
    assert faults_of(chunks) == []
    assert (whole(chunks, 0).tolist(), whole(chunks, 1).tolist()) == ([[1, 2], [4, 5]], [[3], [6]])


def test_jsonl_when_a_numbered_member_is_null_missing_or_doubled_then_its_line_fails() -> None:
    names = [f"x_{i}" for i in range(6)]
    lines = [dict.fromkeys(names, 1), dict.fromkeys(names, 1) | {"x_3": None}, dict.fromkeys(names[:5], 1)]
    lines.append(dict.fromkeys(names, 1) | {"x": [[1, 1, 1], [1, 1, 1]]})
    chunks = chunks_of("jsonl", jsonl(lines), rules())
    assert [fault.position for fault in faults_of(chunks)] == [1, 2, 3]


def test_jsonl_when_an_envelope_has_numbered_members_then_they_are_no_input() -> None:
    chunks = chunks_of("jsonl", envelopes([{f"x_{i}": 1 for i in range(6)}]), rules())
    assert [fault.position for fault in faults_of(chunks)] == [0]
