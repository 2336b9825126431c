"""Every file of answers, from whomever, is read and held to what the model says. Knows the three formats, no system."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq

from benchmarks.bulk.data import row_id
from benchmarks.system import WrongAnswerError

OUTPUTS = ("probabilities", "y")  # as the mlp and the exported networks name theirs
TOLERANCE = 1e-4  # of a probability: sums of other batch sizes round otherwise


@dataclass(frozen=True, slots=True)
class Truth:
    """What the rows are, repeated as often as needed: scores (N, K) float32 of the model, classes (N,)."""

    scores: np.ndarray
    labels: np.ndarray

    def check(self, scores: np.ndarray, n_rows: int) -> float:
        """Hold answers in the order of the rows to what the model says; returns the share that are the right class.

        Raises:
            WrongAnswerError: rows are missing, out of order or answered otherwise.
        """
        if scores.shape != (n_rows, self.scores.shape[1]):
            raise WrongAnswerError(f"answers of shape {scores.shape} for {n_rows} rows")
        n_right = 0
        for first in range(0, n_rows, len(self.scores)):
            part = scores[first : first + len(self.scores)]
            wrong = np.abs(part - self.scores[: len(part)]).max(axis=1) > TOLERANCE
            if wrong.any() or not np.isfinite(part).all():
                row = first + int(np.argmax(wrong))
                raise WrongAnswerError(f"{int(wrong.sum())} answers are not the model's; the first is row {row}")
            n_right += int((part.argmax(axis=1) == self.labels[: len(part)]).sum())
        return round(n_right / n_rows, 5)


def read_answers(paths: Sequence[Path], *, is_ordered: bool) -> np.ndarray:
    """Return the scores of all files, one after the other; of lines out of order, by their custom_id. Shape: (N, K).

    Raises:
        WrongAnswerError: ids that are missing, doubled or out of order; rows without an answer.
    """
    suffix = paths[0].suffix
    if suffix == ".npy":
        return np.concatenate([np.load(path) for path in paths])
    if suffix == ".parquet":
        return np.concatenate([_read_parquet(path) for path in paths])
    return _read_jsonl(paths, is_ordered=is_ordered)


def _read_parquet(path: Path) -> np.ndarray:
    table = pq.read_table(path)
    name = next(name for name in OUTPUTS if name in table.column_names)
    column = table.column(name).combine_chunks()
    if "custom_id" in table.column_names:
        _check_order([str(number) for number in range(1, table.num_rows + 1)], table.column("custom_id").to_pylist())
    elements: np.ndarray = column.flatten().to_numpy()
    return elements.reshape(table.num_rows, elements.size // max(1, table.num_rows))


def _read_jsonl(paths: Sequence[Path], *, is_ordered: bool) -> np.ndarray:
    ids, scores = [], []
    for path in paths:
        with path.open("rb") as file:
            for text in file:
                line = orjson.loads(text)
                if line["error"] or line["response"]["status_code"] != 200:
                    raise WrongAnswerError(f"{line['custom_id']} has no answer: {text[:300]!r}")
                ids.append(line["custom_id"])
                scores.append(np.asarray(line["response"]["body"]["outputs"][0]["data"], np.float32).reshape(-1))
    wanted = [row_id(number) for number in range(1, len(ids) + 1)]
    table = np.stack(scores)
    if is_ordered:
        _check_order(wanted, ids)
        return table
    places = {custom_id: place for place, custom_id in enumerate(ids)}
    if len(places) < len(ids) or places.keys() != set(wanted):
        raise WrongAnswerError("lines are missing or doubled")
    return table[[places[custom_id] for custom_id in wanted]]


def _check_order(wanted: Sequence[str], ids: Sequence[str]) -> None:
    if list(ids) != list(wanted):
        first = next((n for n, pair in enumerate(zip(wanted, ids, strict=False)) if pair[0] != pair[1]), len(ids))
        raise WrongAnswerError(f"row {first} is not where it was in the input")
