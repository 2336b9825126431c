from functools import partial

import numpy as np
import pytest

from tests import onnx_models
from worker.inspection import signature
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.id_range import find_tops
from worker.inspection.layout import Layout
from worker.inspection.made_up_rows import make_up_rows
from worker.inspection.plans import first_plan
from worker.inspection.runs import Runner

CHOICE = BatchAxes({"x": 0})


class Table:
    """Gives x; raises on numbers from `size` on, and takes `slow_s` for those from `slow_from` on."""

    def __init__(self, size: int, *, slow_from: int = 10**9, slow_s: float = 0.0) -> None:
        self.size, self.slow_from, self.slow_s = size, slow_from, slow_s
        self.now = 0.0
        self.largest = 0

    def run(self, names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        number = int(feed["x"].max())
        self.largest = max(self.largest, number)
        self.now += self.slow_s if number >= self.slow_from else 0.0
        if number >= self.size:
            raise ValueError("no such id")
        return [feed["x"]]


def top(table: Table, dtype: str = "int64", limit_s: float = 5.0) -> int:
    plan = first_plan(signature.read(onnx_models.identity(dtype).graph), CHOICE)
    runner = Runner(table, clock=lambda: table.now)
    source = partial(make_up_rows, plan)
    return find_tops(runner, Layout(CHOICE, ("y",), (0,)), plan, source, limit_s=limit_s)["x"]


@pytest.mark.parametrize(
    ("size", "low", "high"), [(2, 1, 1), (3, 2, 2), (10, 9, 9), (1000, 960, 999), (10**6, 65_535, 65_535)]
)
def test_find_tops_when_ids_end_then_the_largest_that_runs_is_found(size: int, low: int, high: int) -> None:
    assert low <= top(Table(size)) <= high


def test_find_tops_when_the_dtype_ends_first_then_its_largest() -> None:
    assert top(Table(10**6), "uint8") == 255
    assert top(Table(10**6), "int8") == 64


def test_find_tops_when_large_numbers_make_runs_slow_then_larger_ones_are_not_tried() -> None:
    table = Table(10**6, slow_from=300, slow_s=1.0)
    assert 255 <= top(table) < 300
    assert table.largest == 1024


def test_find_tops_when_time_is_up_then_the_search_ends() -> None:
    assert top(Table(10**6), limit_s=-1.0) == 1


def test_find_tops_when_an_input_is_no_whole_number_then_it_has_none() -> None:
    plan = first_plan(signature.read(onnx_models.identity("float32").graph), CHOICE)
    runner = Runner(Table(1))
    assert find_tops(runner, Layout(CHOICE, ("y",), (0,)), plan, partial(make_up_rows, plan), limit_s=1) == {}
