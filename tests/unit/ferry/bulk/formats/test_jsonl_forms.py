"""JSONL: a line may have its input in any form that the synchronous call takes, beside lines of other forms."""

from typing import Any

import numpy as np
import pytest

from ferry.manifest import Manifest
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, envelopes, faults_of, jsonl, rules
from tests.unit.ferry.test_json_forms import COLUMN, READINGS, REFUSED, ROWS, TABLE


def rows_by_line(data: bytes, given: Manifest, endpoint: str = "predictions") -> dict[int, tuple[list[Any], bool]]:
    """Return the rows of each line for every input, and whether the line left the batch axis out."""
    chunks = chunks_of("jsonl", data, rules(given, chunk_rows=100, endpoint=endpoint))
    assert faults_of(chunks) == []
    found = {}
    for group in chunks[0].groups:
        first = 0
        for position, count, single in zip(group.positions, group.counts, group.singles, strict=True):
            found[position] = ([array[first : first + count].tolist() for array in group.arrays], single)
            first += count
    return found


@pytest.mark.parametrize("is_bare", [True, False])
@pytest.mark.parametrize(("given", "value", "wanted", "single"), READINGS)
def test_read_when_lines_are_in_any_form_then_the_rows_of_the_synchronous_call(
    given: Manifest, value: Any, wanted: dict[str, Any], single: bool, is_bare: bool
) -> None:
    is_rows_first = given.inputs[0].batch_axis == 0
    plain = wanted if is_rows_first else value
    bodies = [{"input": value}, {"input": plain}, {"input": value}, {"model": "toy", "version": "1", "input": value}]
    if is_bare and isinstance(value, dict):
        bodies.append(value)
    found = rows_by_line(jsonl(bodies) if is_bare else envelopes(bodies), given)
    rows = [np.array(wanted[spec.name], spec.numpy_dtype).tolist() for spec in given.inputs]
    if is_rows_first:
        assert found[1] == (rows, False) or len(rows[0]) == 1
    assert [found[at] for at in range(len(bodies)) if at != 1] == [(rows, single)] * (len(bodies) - 1)
    # A batch of the infer protocol takes the same bodies; its answers always have the batch axis.
    found = rows_by_line(jsonl(bodies) if is_bare else envelopes(bodies), given, "infer")
    assert [found[at] for at in range(len(bodies)) if at != 1] == [(rows, False)] * (len(bodies) - 1)


@pytest.mark.parametrize(("given", "value", "pointer", "words"), REFUSED)
def test_read_when_a_line_is_in_a_wrong_form_then_it_fails_as_the_synchronous_call(
    given: Manifest, value: Any, pointer: str, words: str
) -> None:
    chunks = chunks_of("jsonl", envelopes([{"input": value}, {"input": value}]), rules(given))
    faults = faults_of(chunks)
    assert [(fault.position, fault.param) for fault in faults] == [(0, pointer), (1, pointer)]
    assert words in faults[0].message
    assert "toy:1 takes" in faults[0].message


def test_read_when_lines_are_rows_of_a_table_then_each_is_one_row() -> None:
    lines = [{"age": at / 2, "k": at, "name": str(at)} for at in range(70)]
    found = rows_by_line(jsonl(lines), TABLE)
    assert [found[at] for at in range(70)] == [([[[at / 2]], [at], [[str(at)]]], True) for at in range(70)]


def test_read_when_a_line_names_another_model_or_field_then_it_alone_fails() -> None:
    bodies = [{"input": [1, 2, 3], "model": "toy:1"}, {"input": [1, 2, 3], "model": "other"}, {"input": 1, "x": 2}]
    faults = faults_of(chunks_of("jsonl", envelopes(bodies), rules(ROWS)))
    assert [(fault.position, fault.param) for fault in faults] == [(1, "#/model"), (2, "#")]


def test_read_when_the_input_has_the_name_of_a_field_then_the_body_is_read_one_way() -> None:
    given = COLUMN.model_copy(update={"inputs": (COLUMN.inputs[0].model_copy(update={"name": "input"}),)})
    assert rows_by_line(jsonl([{"input": [30, 40]}, {"input": {"input": 7}}]), given) == {
        0: ([[[30], [40]]], False),
        1: ([[[7]]], True),
    }


@pytest.mark.parametrize("number", ["-9223372036854775809", "18446744073709551616", "-1" + "0" * 30])
@pytest.mark.parametrize("line", ['{"input": {"x": [1, %s]}}', '{"x": [1, %s]}', '{"x_0": 1, "x_1": %s}'])
def test_read_when_a_whole_number_is_beyond_64_bits_then_it_is_out_of_range(number: str, line: str) -> None:
    given = rules(manifest(inputs=(spec("x", "int64", 2),), outputs=(spec("y"),)))
    (fault,) = faults_of(chunks_of("jsonl", (line % number).encode() + b"\n", given))
    assert "is outside of int64, which holds -9223372036854775808 to 9223372036854775807" in fault.message
