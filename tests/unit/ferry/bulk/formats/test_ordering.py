"""Outputs in the order of the input, compared with a slow way of putting them there."""

import io

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferry.bulk.formats.base import Asked, ChunkRows, Group, PartResult, RowFault, unrun_faults
from ferry.bulk.formats.error_lines import write_errors
from ferry.bulk.formats.jsonl_output import write_lines
from ferry.bulk.formats.ordering import OutputRows
from ferry.bulk.formats.registry import OUTPUT_FORMATS, format_named
from ferry.bulk.formats.table_output import to_table
from ferry.json_outputs import json_ready, top_labels
from ferry.json_tensors import Rows
from ferry.manifest import Manifest
from ferry.oip import InferRequest, infer_response
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import LABELS, TOY, chunks_of, fake_model, npy, rows_of, rules

Y = TOY.outputs[0]
CANCELLED = ("batch_cancelled", "The batch was cancelled.")


@st.composite
def parts(draw) -> PartResult:
    """Rows in some groups, some of them faulty in reading and some in the run."""
    n = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from(["a", "b", "unread"]), min_size=n, max_size=n))
    sizes = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    failed = draw(st.sets(st.integers(0, n - 1)))
    groups, outputs = [], []
    for kind in "ab":
        positions = tuple(p for p in range(n) if kinds[p] == kind)
        total = sum(sizes[p] for p in positions)
        if not positions:
            continue
        asked = [draw(st.sampled_from([None, Asked("", ((0, False),)), Asked("q", ((0, False),))])) for _ in positions]
        singles = [sizes[p] == 1 and draw(st.booleans()) for p in positions]
        groups.append(Group(positions, [], tuple(sizes[p] for p in positions), singles, asked))
        outputs.append([np.random.default_rng(total).random((total, 3), dtype=np.float32)])
    if outputs and draw(st.booleans()):
        outputs[0][0][0] = np.nan
    ids = [f'r"{p}],[ö' for p in range(n)]
    unread = tuple(RowFault(p, "invalid_input", "no") for p in range(n) if kinds[p] == "unread")
    rows = ChunkRows(ids, range(5, 5 + n), tuple(groups), unread)
    return PartResult(rows, outputs, tuple(RowFault(p, "model_error", "no", None, 500) for p in failed))


def slowly(part: PartResult) -> list[tuple[int, int, int, np.ndarray]]:
    """Return (position, group, place in it, output rows) of rows that have output, in order."""
    faulty = {fault.position for fault in part.all_faults()}
    found = []
    for number, group in enumerate(part.rows.groups):
        start = 0
        for place, (position, count) in enumerate(zip(group.positions, group.counts, strict=True)):
            if position not in faulty:
                found.append((position, number, place, part.outputs[number][0][start : start + count]))
            start += count
    return sorted(found, key=lambda each: each[0])


@settings(deadline=None, max_examples=150)
@given(parts())
def test_output_rows_when_groups_and_faults_are_any_then_as_the_slow_way(part: PartResult) -> None:
    rows, expected = OutputRows(part), slowly(part)
    assert rows.positions.tolist() == [position for position, _, _, y in expected for _ in y]
    np.testing.assert_array_equal(rows.output(0, Y), np.concatenate([np.empty((0, 3)), *(y for *_, y in expected)]))
    good = {position: y for position, _, _, y in expected}
    sizes = {p: n for group in part.rows.groups for p, n in zip(group.positions, group.counts, strict=True)}
    nothing = {position: np.full((sizes.get(position, 1), 3), np.nan) for position in range(len(part.rows.ids))}
    whole = np.concatenate([good.get(position, nothing[position]) for position in nothing])
    np.testing.assert_array_equal(rows.aligned(0, Y), whole)


@settings(deadline=None, max_examples=150)
@given(parts(), st.sampled_from(["infer", "predictions"]), st.sampled_from([LABELS, ()]))
def test_write_lines_when_rows_are_any_then_the_synchronous_answers(part: PartResult, endpoint: str, labels) -> None:
    given_rules = rules(manifest(inputs=TOY.inputs, outputs=TOY.outputs, labels=labels), endpoint=endpoint)
    out = io.BytesIO()
    expected = slowly(part)
    assert write_lines(out, part, given_rules) == len(expected)
    lines = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert [line["custom_id"] for line in lines] == [part.rows.ids[position] for position, *_ in expected]
    assert [line["id"] for line in lines] == [f"batch_req_{position + 5}" for position, *_ in expected]
    for line, (_, number, place, y) in zip(lines, expected, strict=True):
        group = part.rows.groups[number]
        if endpoint == "infer":
            asked = group.asked[place]
            request = InferRequest(Rows([], len(y), single=False), asked.id if asked else "", ((0, False),))
            body = infer_response(given_rules.manifest, request, [y])[0]
        else:
            single = group.singles[place]
            answers = {"labels": top_labels(labels, y, single=single), "output": {"y": json_ready(y, single=single)}}
            body = {"model": "toy", "version": "1", "status": "succeeded", "error": None} | answers
        assert line["response"]["body"] == orjson.loads(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize(
    ("out", "y", "expected"),
    [
        (spec("y", "float32"), np.array([0.1, np.nan], np.float32), [0.10000000149011612, None]),
        (spec("y", "string"), np.array(["a],[b", "ö"], object), ["a],[b", "ö"]),
        (spec("y", "string", 2), np.array([["a", "],["], ["", '"']], object), [["a", "],["], ["", '"']]),
        (spec("y", "bool", 1, 2), np.array([[[True, False]], [[False, True]]]), [[[True, False]], [[False, True]]]),
        (spec("y", "int64", 2, 0), np.zeros((2, 2, 0), np.int64), [[[], []], [[], []]]),
        (spec("y", "int8", 1), np.array([[1], [-2]], np.int8), [[1], [-2]]),
    ],
)  # fmt: skip
def test_write_lines_when_outputs_are_of_any_dtype_and_shape_then_nested_as_they_are(out, y, expected) -> None:
    (rows,) = chunks_of("npy", npy(rows_of(2)), rules(manifest(inputs=TOY.inputs, outputs=(out,))))
    written = io.BytesIO()
    write_lines(written, PartResult(rows, [[y]]), rules(manifest(inputs=TOY.inputs, outputs=(out,))))
    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    assert [line["response"]["body"]["output"]["y"] for line in lines] == expected


def test_outputs_when_the_labels_are_of_another_output_than_the_first_then_from_its_scores() -> None:
    outputs = (spec("other", "float32", 3), spec("scores", "float32", 3))
    model = Manifest(
        **manifest(inputs=TOY.inputs, outputs=outputs, labels=LABELS).model_dump() | {"labels_of": "scores"}
    )
    (rows,) = chunks_of("npy", npy(rows_of(2)), rules(model))
    other, scores = np.array([[9, 0, 0]] * 2, np.float32), np.array([[0, 0, 5], [0, 6, 0]], np.float32)
    part, out = PartResult(rows, [[other, scores]]), io.BytesIO()
    table = to_table(part, rules(model), flat=True)
    assert table.column("label").to_pylist() == ["yes", "maybe"]
    assert table.column("score").to_pylist() == [5, 6]
    write_lines(out, part, rules(model))
    lines = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert [line["response"]["body"]["labels"] for line in lines] == ["yes", "maybe"]


def test_unrun_faults_when_some_rows_are_faulty_then_the_others_get_one() -> None:
    rows = ChunkRows(["a", "b", "c"], [1, 2, 3], (), (RowFault(1, "invalid_input", "no"),))
    assert unrun_faults(rows, *CANCELLED) == (RowFault(0, *CANCELLED), RowFault(2, *CANCELLED))


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
def test_write_part_when_no_row_of_a_chunk_was_run_then_each_is_in_the_error_file(name: str) -> None:
    first, last = chunks_of("npy", npy(rows_of(7)), rules())
    made = PartResult(first, [[fake_model(first.groups[0].arrays[0])]])
    never = PartResult(last, [], unrun_faults(last, *CANCELLED))
    writer, raw, errors = format_named(name), [], io.BytesIO()
    for part in (made, never):
        out = io.BytesIO()
        n_failed = 0 if name in ("npy", "npz") else len(part.faults)
        assert writer.write_part(out, part, rules()) == len(part.rows.ids) - n_failed
        assert write_errors(errors, part, rules()) == len(part.faults)
        raw.append(out.getvalue())
    assert [orjson.loads(line)["custom_id"] for line in errors.getvalue().splitlines()] == ["5", "6", "7"]
    whole = io.BytesIO()
    writer.assemble([lambda part=part: io.BytesIO(part) for part in raw], whole)
    if name == "npy":
        y = np.load(io.BytesIO(whole.getvalue()))
        assert (y.shape, np.isnan(y).any(axis=1).tolist()) == ((7, 3), [False] * 4 + [True] * 3)
