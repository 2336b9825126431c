import numpy as np
import pytest

from worker.inspection.batch_axes import BatchAxes
from worker.inspection.layout import Layout, NotRowsError, Run, feed_of, find_layout
from worker.inspection.runs import Runner

FREE = BatchAxes({"x": 0})


def runs_of(*shapes: tuple[int, ...]) -> list[Run]:
    """Runs of 1, 2, 3 ... rows with one output of these shapes."""
    return [(n_rows, [np.zeros(shape)]) for n_rows, shape in enumerate(shapes, start=1)]


def test_find_layout_when_an_axis_follows_the_rows_then_it_is_the_batch_axis() -> None:
    assert find_layout(FREE, ["y"], runs_of((1, 5), (2, 5), (3, 5))).outputs == (0,)
    assert find_layout(FREE, ["y"], runs_of((2, 1, 4), (2, 2, 4), (2, 3, 4))).outputs == (1,)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((3,), (3,), (3,)), r"'y' does not follow the rows: for 3 rows its shape is \(3,\); re-export"),
        (((4, 2), (8, 2), (12, 2)), "does not follow the rows"),
        (((1,), (2, 1), (3, 1)), "does not follow the rows"),
        (((), (), ()), "does not follow the rows"),
        (((1, 1), (2, 2), (3, 3)), "2 axes that follow the number of rows"),
    ],
)
def test_find_layout_when_no_single_axis_follows_then_it_says_so(
    shapes: tuple[tuple[int, ...], ...], words: str
) -> None:
    with pytest.raises(NotRowsError, match=words):
        find_layout(FREE, ["y"], runs_of(*shapes))


def test_find_layout_when_the_number_of_rows_is_fixed_then_the_first_axis_of_that_size_is_taken() -> None:
    assert find_layout(BatchAxes({"x": 0}, 4), ["y"], [(4, [np.zeros((2, 4, 4))])]).outputs == (1,)


class Turned:
    """Gives y (3, N) for x (3, N); with `lost`, one row less."""

    def __init__(self, lost: int = 0) -> None:
        self.lost = lost

    def run(self, names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [feed["x"][:, self.lost :]]


def test_run_when_rows_lie_along_another_axis_then_they_come_back_first() -> None:
    layout = Layout(BatchAxes({"x": 1}), ("y",), (1,))
    rows = {"x": np.arange(6).reshape(2, 3)}
    assert feed_of(layout.inputs, rows)["x"].shape == (3, 2)
    assert layout.run(Runner(Turned()), rows)[0].tolist() == rows["x"].tolist()
    with pytest.raises(NotRowsError, match="for 2 rows"):
        layout.run(Runner(Turned(lost=1)), rows)
