"""Whether a row's outcome depends on other rows: neighbours are changed out of recognition, rows change places.

The same number of rows with the row at the same place must give the same numbers. Knows no file and no manifest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ferry.tensors import Array
from worker.equality import TOLERANCE, move_between
from worker.inspection import neighbours
from worker.inspection.comparison import is_rounding, largest_strict_move, rounding_move, strict_move, usual_magnitude
from worker.inspection.layout import Layout, Source
from worker.inspection.made_up_rows import Rows, count, take
from worker.inspection.runs import Runner
from worker.inspection.session import ORT_ERRORS, brief

Bounds = Mapping[str, tuple[int, int]]
# Up to this number of rows each is watched by itself; above, the first, the last, and every other one.
_MAX_SINGLES = 4
_INFERENCE_MODE = "re-export in inference mode, quantize statically, or export with batch_first=True"
_REAL_INPUTS = f"if this is rounding of made-up values, give real ones with --example FILE.npz; else {_INFERENCE_MODE}"
_NO_ROWS = "the axis is no batch axis: re-export with a free batch axis in front (batch_first=True)"
_RANDOM = "the same rows give other results in each run: the model draws random numbers"


@dataclass(frozen=True, slots=True)
class Setting:
    """Rows that are tried together: their source, their number, and bounds for whole numbers of neighbours.

    texts: for each input of text the texts of an example; used where the model refuses made-up ones.
    """

    source: Source
    n_rows: int
    bounds: Bounds
    texts: Mapping[str, Array] = field(default_factory=dict)


class InfluenceFoundError(Exception):
    """A row's outcome depends on other rows. `what` is a clause with the output and the change."""

    def __init__(self, what: str, remedy: str = _INFERENCE_MODE) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class RandomModelError(Exception):
    """The same rows gave other results."""


@dataclass(slots=True)
class InfluenceTrial:
    """Looks for influence in one setting after the other and keeps what it learns.

    `max_move`: the largest change by the number of rows; `place_move`: by the place of a row. Both may be rounding.
    """

    runner: Runner
    layout: Layout
    max_move: float = 0.0
    place_move: float = 0.0
    place_output: str = ""
    alone_move: float = 0.0
    alone_output: str = ""
    kinds_run: set[str] = field(default_factory=set)
    first_error: str = ""
    _refuses_texts: bool = False
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def try_all(self, settings: Iterable[Setting]) -> None:
        """Try every setting; one that does not run is passed over.

        Raises:
            InfluenceFoundError, RandomModelError: at the first sign.
            OutOfTimeError: the time is up before all were tried.
            NotRowsError: an output does not follow the rows.
        """
        for setting in settings:
            rows = setting.source(setting.n_rows)
            try:
                reference = self._reference(rows)
            except ORT_ERRORS as error:
                self.first_error = self.first_error or brief(str(error))
                continue
            for check in self._checks(setting, rows, reference):
                try:
                    check()
                except ORT_ERRORS as error:
                    # A model may refuse values, which is no influence.
                    self.first_error = self.first_error or brief(str(error))

    def has_run_enough(self, *, is_complete: bool) -> bool:
        """Whether enough kinds of changed neighbours have run: half of them; the essential ones where time was up."""
        is_half = 2 * len(self.kinds_run) >= len(neighbours.KINDS)
        return is_half or (not is_complete and self.kinds_run.issuperset(neighbours.ESSENTIAL))

    def _reference(self, rows: Rows) -> list[Array]:
        reference = self.layout.run(self.runner, rows)
        again = self.layout.run(self.runner, rows)
        if largest_strict_move(reference, again)[0] > TOLERANCE:
            raise RandomModelError(_RANDOM)
        return reference

    def _checks(self, setting: Setting, rows: Rows, reference: list[Array]) -> Iterator[Callable[[], object]]:
        """Yield the checks of one setting, the essential ones first."""
        kinds = (*neighbours.ESSENTIAL, *(kind for kind in neighbours.KINDS if kind not in neighbours.ESSENTIAL))
        for kept in _kept_sets(setting.n_rows):
            for kind in kinds:
                yield partial(self._change, setting, rows, reference, kept, kind)
            if len(kept) < setting.n_rows:
                copies = take(rows, [kept[0]] * setting.n_rows)
                yield partial(self._compare, rows, reference, kept, copies, "copies of it")
        for shift in sorted({1, setting.n_rows // 2, setting.n_rows - 1} - {0}):
            yield partial(self._roll, rows, reference, shift)
        if setting.n_rows > 1:
            # Whether a place matters may depend on values.
            for kind in kinds:
                yield partial(self._roll_when, kind, setting, rows)
        if self.layout.inputs.fixed_rows is None:
            for index in sorted({0, setting.n_rows // 2, setting.n_rows - 1}):
                yield partial(self._alone, rows, reference, index)
            # Rounding shows most where numbers are small, and where terms of both signs cancel.
            for kind in ("times 0.05", "noise"):
                yield partial(self._alone_when, kind, setting, rows)

    def _change(self, setting: Setting, rows: Rows, reference: list[Array], kept: list[int], kind: str) -> None:
        try:
            is_other = self._compare(rows, reference, kept, self._changed(setting, rows, kind), kind)
        except ORT_ERRORS:
            if self._refuses_texts or not setting.texts:
                raise
            # An encoder of categories takes no text that it was not trained with.
            self._refuses_texts = True
            is_other = self._compare(rows, reference, kept, self._changed(setting, rows, kind), kind)
        if is_other:
            self.kinds_run.add(kind)

    def _changed(self, setting: Setting, rows: Rows, kind: str) -> Rows:
        texts = setting.texts if self._refuses_texts else {}
        return neighbours.changed_rows(rows, kind, setting.bounds, self._random, texts)

    def _compare(self, rows: Rows, reference: list[Array], kept: list[int], others: Rows, kind: str) -> bool:
        """Run the kept rows beside others and compare; returns whether the neighbours were other ones at all."""
        mixed = {name: array.copy() for name, array in others.items()}
        for name, array in mixed.items():
            array[kept] = rows[name][kept]
        if all(_is_same(mixed[name], rows[name]) for name in rows):
            return False
        results = self.layout.run(self.runner, mixed)
        for index in kept:
            move, output = largest_strict_move(_row(reference, index), _row(results, index))
            if move > TOLERANCE:
                raise InfluenceFoundError(
                    f"a row's outcome changed with its neighbours (output {self.layout.output_names[output]!r}, "
                    f"{count(rows)} rows in a run, neighbours: {kind})"
                )
        return True

    def _roll(self, rows: Rows, reference: list[Array], shift: int) -> None:
        n_rows = count(rows)
        places = [(index - shift) % n_rows for index in range(n_rows)]
        rolled = self.layout.run(self.runner, take(rows, places))
        for place, index in enumerate(places):
            for name, one, other in zip(self.layout.output_names, reference, rolled, strict=True):
                here, there = one[index : index + 1], other[place : place + 1]
                if strict_move(here, there) <= TOLERANCE:
                    continue
                move = rounding_move(here, there, usual_magnitude(one))
                if not is_rounding(move, one.dtype.name):
                    raise InfluenceFoundError(
                        f"a row's outcome depends on its place in the run (output {name!r}, {n_rows} rows in a run)",
                        _NO_ROWS,
                    )
                if move > self.place_move:
                    self.place_move, self.place_output = move, name

    def _roll_when(self, kind: str, setting: Setting, rows: Rows) -> None:
        changed = self._changed(setting, rows, kind)
        self._roll(changed, self.layout.run(self.runner, changed), 1)

    def _alone(self, rows: Rows, reference: list[Array], index: int) -> None:
        alone = self.layout.run(self.runner, take(rows, [index]))
        for name, one, other in zip(self.layout.output_names, reference, alone, strict=True):
            move = rounding_move(one[index : index + 1], other, usual_magnitude(one))
            if move == float("inf"):
                raise InfluenceFoundError(
                    f"a row's outcome is another one when it runs alone (output {name!r}, {count(rows)} rows in a run)",
                    _REAL_INPUTS,
                )
            if not is_rounding(move, one.dtype.name) and move > self.alone_move:
                self.alone_move, self.alone_output = move, name
            # Recorded as a part of this answer's own magnitude, as a client would compare it.
            self.max_move = max(self.max_move, move_between(one[index : index + 1], other))

    def _alone_when(self, kind: str, setting: Setting, rows: Rows) -> None:
        changed = self._changed(setting, rows, kind)
        reference = self.layout.run(self.runner, changed)
        for index in range(setting.n_rows):
            self._alone(changed, reference, index)


def _kept_sets(n_rows: int) -> list[list[int]]:
    # The last row first: in a sequence the first one may depend on none of the others.
    if n_rows <= _MAX_SINGLES:
        return [[index] for index in reversed(range(n_rows))]
    return [[n_rows - 1], [0], list(range(0, n_rows, 2)), list(range(1, n_rows, 2))]


def _row(outputs: Sequence[Array], index: int) -> list[Array]:
    # A slice, since an element of an array of text is no array.
    return [output[index : index + 1] for output in outputs]


def _is_same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
