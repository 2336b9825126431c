"""A group of a chunk's rows on its way through the model, in either execution mode. Knows no chunk and no queue."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ferry.bulk.formats.base import Group, RowFault
from ferry.errors import ModelError
from ferry.manifest import NonFinite, TensorSpec
from ferry.tensors import Array, without_batch_axis
from worker.execution import Executable
from worker.non_finite import blanked, faults, first_fault
from worker.outcomes import MAX_ERROR_CHARS

SERVER_ERROR = 500

# A group and its results: one array for each output.
Part = tuple[Group, list[Array]]


class NotFiniteError(ValueError):
    """The outputs of a job hold NaN or an infinity, and the manifest says that it fails then."""


class GroupRun:
    """One group on its way through the model."""

    def __init__(self, model: Executable, group: Group, first: int) -> None:
        self._model = model
        self._group = group
        self.first = first
        self.n_rows = len(group.arrays[0]) if group.arrays else 0
        self.at = 0
        self._outputs: list[Array] | None = None
        self._bad: dict[int, tuple[str, str]] = {}

    def run(self, n_rows: int) -> None:
        """Run the next rows in one batch; where it raises, in halves, until those at fault stand alone."""
        self._run(self.at, self.at + n_rows)
        self.at += n_rows

    def rows(self, n_rows: int) -> list[Array]:
        """Return the next rows, without running them."""
        return [array[self.at : self.at + n_rows] for array in self._group.arrays]

    def take(self, results: Sequence[Array]) -> None:
        """Take the results of the next rows, which ran in another batch."""
        self._keep(self.at, results)
        self.at += len(results[0])

    def fail(self, row: int, code: str, message: str) -> None:
        """Say that a row has no result."""
        self._bad.setdefault(row, (code, message))

    def parts(self) -> list[Part]:
        """Return the group with all its results; rows at fault mean nothing. Shape: (rows, *inner) each."""
        if self._outputs is None:
            return [(self._group, [_nothing(spec, self.n_rows) for spec in self._model.outputs.specs])]
        return [(self._group, self._outputs)]

    def faults(self) -> list[RowFault]:
        """Return a fault for each position with a row at fault."""
        if not self._bad:
            return []
        ends = np.cumsum(np.asarray(self._group.counts, dtype=np.int64))
        found: dict[int, RowFault] = {}
        for row in sorted(self._bad):
            position = self._group.positions[int(np.searchsorted(ends, row, side="right"))]
            code, message = self._bad[row]
            found.setdefault(position, RowFault(position, code, message, status=SERVER_ERROR))
        return list(found.values())

    def _run(self, start: int, end: int) -> None:
        try:
            results = self._model.run([array[start:end] for array in self._group.arrays])
            self._keep(start, results)
        except Exception as error:  # noqa: BLE001  whatever the model does is the affair of these rows
            if end - start == 1:
                self.fail(start, ModelError.code, f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])
                return
        else:
            return
        middle = (start + end) // 2
        self._run(start, middle)
        self._run(middle, end)

    def _keep(self, start: int, results: Sequence[Array]) -> None:
        specs, n_rows = self._model.outputs.specs, len(results[0])
        if self._model.non_finite is NonFinite.NULL:
            results = blanked(results)
        elif self._model.non_finite is NonFinite.FAIL:
            for index, fault in faults(specs, results, [1] * n_rows).items():
                self.fail(start + index, ModelError.code, fault)
        if self._outputs is None:
            self._outputs = [_room(spec, self.n_rows, result) for spec, result in zip(specs, results, strict=True)]
        for whole, result, spec in zip(self._outputs, results, specs, strict=True):
            if result.shape[1:] != whole.shape[1:]:
                detail = f"output {spec.name!r} has rows of shape {result.shape[1:]}, before them {whole.shape[1:]}"
                raise ValueError(detail)
        for whole, result in zip(self._outputs, results, strict=True):
            whole[start : start + n_rows] = result


class WholeGroupRun(GroupRun):
    """One group of a model that runs whole jobs: each of its rows is a job, and answers may differ in shape.

    A row that came without a batch axis (`singles`) gets one of size 1 to run, and its results lose it again.
    """

    def __init__(self, model: Executable, group: Group, first: int) -> None:
        super().__init__(model, group, first)
        self._results: dict[int, list[Array]] = {}

    def parts(self) -> list[Part]:
        """Return groups whose results have one shape each, and the rows that failed in one of their own."""
        by_shapes: dict[object, list[int]] = {}
        for row in range(self.n_rows):
            results = self._results.get(row)
            by_shapes.setdefault(results and tuple(result.shape for result in results), []).append(row)
        found = []
        for shapes, rows in by_shapes.items():
            if shapes is None:
                outputs = [_nothing(spec, len(rows)) for spec in self._model.outputs.specs]
            else:
                columns = zip(*(self._results[row] for row in rows), strict=True)
                outputs = [np.stack(column) for column in columns]
            found.append((self._only(rows), outputs))
        return found

    def _run(self, start: int, end: int) -> None:
        for row in range(start, end):
            try:
                self._results[row] = self._run_job(row)
            except NotFiniteError as error:
                self.fail(row, ModelError.code, str(error))
            except Exception as error:  # noqa: BLE001  whatever the model does, this row alone fails
                self.fail(row, ModelError.code, f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS])

    def _run_job(self, row: int) -> list[Array]:
        is_single = self._group.singles[row]
        # With the dots a job of one element is an array too.
        own = [array[row, ...] for array in self._group.arrays]
        arrays = [
            np.expand_dims(array, spec.batch_axis) if is_single and spec.batch_axis is not None else array
            for spec, array in zip(self._model.inputs.specs, own, strict=True)
        ]
        specs, results = self._model.outputs.specs, self._model.run_whole(arrays)
        if self._model.non_finite is NonFinite.NULL:
            results = blanked(results)
        elif self._model.non_finite is NonFinite.FAIL and (fault := first_fault(specs, results)):
            raise NotFiniteError(fault)
        if is_single:
            results = [without_batch_axis(spec, result) for spec, result in zip(specs, results, strict=True)]
        return results

    def _only(self, rows: Sequence[int]) -> Group:
        group = self._group
        if len(rows) == self.n_rows:
            return group
        return replace(
            group,
            positions=[group.positions[row] for row in rows],
            arrays=[array[rows] for array in group.arrays],
            counts=[1] * len(rows),
            singles=[group.singles[row] for row in rows],
            asked=[group.asked[row] for row in rows],
        )


def _room(spec: TensorSpec, n_rows: int, like: Array) -> Array:
    return np.zeros((n_rows, *like.shape[1:]), object if spec.is_string else like.dtype)


def _nothing(spec: TensorSpec, n_rows: int) -> Array:
    shape = (n_rows, *(size or 0 for size in spec.inner_shape))
    return np.full(shape, "", object) if spec.is_string else np.zeros(shape, spec.numpy_dtype)
