"""How large whole numbers may be: ids of a table raise above its size, and a trial wants ids that differ widely."""

from collections.abc import Mapping

import numpy as np

from worker.inspection.layout import Layout, Source
from worker.inspection.made_up_rows import Plan
from worker.inspection.runs import Runner
from worker.inspection.session import ORT_ERRORS

# Above the vocabularies of most text models. A number may also be a size, so the steps are small at first: a run that
# takes much longer than the last one ends the search before memory does.
_STEPS = (2, 4, 16, 64, 255, 1024, 4096, 16_384, 65_535)
_SLOWER_TIMES = 5
_SLOWER_S = 0.05
# Part of the gap between a number that runs and one that raises at which the search is done.
_CLOSE_ENOUGH = 32


def find_tops(runner: Runner, layout: Layout, plan: Plan, source: Source, *, limit_s: float) -> Mapping[str, int]:
    """Return for each input of whole numbers the largest one that ran; 1 where no larger one did.

    `limit_s`: when to stop, in seconds of `Runner.spent_s`.
    """
    return {
        each.name: _top(runner, layout, each.name, source, limit_s)
        for each in plan.inputs
        if each.numpy_dtype.kind in "iu"
    }


def _top(runner: Runner, layout: Layout, name: str, source: Source, limit_s: float) -> int:
    rows = source(layout.inputs.fixed_rows or 1)
    usual_s = runner.last_run_s

    def runs(number: int) -> bool:
        try:
            layout.run(runner, {**rows, name: np.full_like(rows[name], number)})
        except ORT_ERRORS:
            return False
        return runner.last_run_s <= _SLOWER_TIMES * usual_s + _SLOWER_S

    good, bad = 1, 0
    for number in (step for step in _STEPS if step <= np.iinfo(rows[name].dtype).max):
        if runner.spent_s > limit_s or not runs(number):
            bad = number
            break
        good = number
    while bad - good > max(1, good // _CLOSE_ENOUGH) and runner.spent_s <= limit_s:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if runs(middle) else (good, middle)
    return good
