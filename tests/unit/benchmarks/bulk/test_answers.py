from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.bulk.answers import Truth, read_answers
from benchmarks.peers.openai_lines import write_answers
from benchmarks.system import WrongAnswerError

SCORES = np.eye(4, 10, dtype=np.float32)
TRUTH = Truth(SCORES, np.array([0, 1, 2, 9]))


def test_check_when_rows_repeat_then_the_share_of_right_classes_comes() -> None:
    assert TRUTH.check(np.concatenate([SCORES, SCORES[:2]]), 6) == pytest.approx(5 / 6, abs=1e-5)


@pytest.mark.parametrize(
    "wrong", [SCORES[:3], SCORES[[1, 0, 2, 3]], np.where(SCORES > 0, np.nan, SCORES), SCORES + 0.01]
)
def test_check_when_rows_are_missing_swapped_or_otherwise_then_it_is_said(wrong: np.ndarray) -> None:
    with pytest.raises(WrongAnswerError):
        TRUTH.check(wrong, 4)


def lines(path: Path, ids: list[str]) -> Path:
    path.write_bytes(write_answers(ids, SCORES[: len(ids)]))
    return path


def test_read_answers_when_lines_are_in_order_then_scores_come(tmp_path: Path) -> None:
    paths = [lines(tmp_path / "a.jsonl", ["row-1", "row-2"]), lines(tmp_path / "b.jsonl", ["row-3"])]
    np.testing.assert_array_equal(read_answers(paths, is_ordered=True), SCORES[[0, 1, 0]])


def test_read_answers_when_lines_are_out_of_order_then_ids_put_them_right(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", ["row-2", "row-1"])
    np.testing.assert_array_equal(read_answers([path], is_ordered=False), SCORES[[1, 0]])
    with pytest.raises(WrongAnswerError, match="row 0 is not where it was"):
        read_answers([path], is_ordered=True)


@pytest.mark.parametrize("ids", [["row-1", "row-1"], ["row-1", "row-3"]])
def test_read_answers_when_a_line_is_doubled_or_missing_then_it_is_said(tmp_path: Path, ids: list[str]) -> None:
    with pytest.raises(WrongAnswerError, match="missing or doubled"):
        read_answers([lines(tmp_path / "a.jsonl", ids)], is_ordered=False)


def test_read_answers_when_parquet_has_ids_then_their_order_is_checked(tmp_path: Path) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(SCORES.reshape(-1)), 10)
    for name, ids in (("right", ["1", "2", "3", "4"]), ("wrong", ["1", "3", "2", "4"])):
        pq.write_table(pa.table({"custom_id": ids, "probabilities": column}), tmp_path / f"{name}.parquet")
    np.testing.assert_array_equal(read_answers([tmp_path / "right.parquet"], is_ordered=True), SCORES)
    with pytest.raises(WrongAnswerError, match="row 1"):
        read_answers([tmp_path / "wrong.parquet"], is_ordered=True)
