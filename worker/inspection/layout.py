"""Where the rows of inputs and outputs lie in the model's own layout, as runs with several numbers of rows show it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ferry.tensors import Array
from worker.inspection.batch_axes import BatchAxes
from worker.inspection.made_up_rows import Rows, count
from worker.inspection.runs import Feed, Runner

# Makes so many rows.
Source = Callable[[int], Rows]
# The number of rows of a run and its outputs, in the model's own layout.
Run = tuple[int, list[Array]]

# What tells an axis that follows the rows from one that has the same size by chance.
_ROW_COUNTS = (1, 2, 3)


class NotRowsError(Exception):
    """The outputs of a model do not follow its rows. The message is one sentence with the output and the remedy."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The batch axis of each input, and of each output in order."""

    inputs: BatchAxes
    output_names: tuple[str, ...]
    outputs: tuple[int, ...]

    def run(self, runner: Runner, rows: Rows) -> list[Array]:
        """Run rows once; the outputs have the rows first, too.

        Raises:
            NotRowsError: an output has another number of rows.
            Exception: as `Runner.run`.
        """
        n_rows = count(rows)
        results = []
        for name, axis, output in zip(
            self.output_names, self.outputs, runner.run(feed_of(self.inputs, rows)), strict=True
        ):
            if output.ndim <= axis or output.shape[axis] != n_rows:
                raise NotRowsError(_not_followed(name, n_rows, output))
            results.append(np.moveaxis(output, axis, 0))
        return results


def feed_of(choice: BatchAxes, rows: Rows) -> Feed:
    """Return rows as the model takes them."""
    return {
        name: np.ascontiguousarray(np.moveaxis(array, 0, choice.axes[name])) if choice.axes[name] else array
        for name, array in rows.items()
    }


def run_counts(runner: Runner, choice: BatchAxes, source: Source, runs: list[Run]) -> None:
    """Append runs of 1, 2 and 3 rows, or one of as many rows as the batch axis is fixed at, to `runs`."""
    for n_rows in (choice.fixed_rows,) if choice.fixed_rows else _ROW_COUNTS:
        outputs = runner.run(feed_of(choice, source(n_rows)))
        runs.append((n_rows, outputs))


def find_layout(choice: BatchAxes, names: Sequence[str], runs: Sequence[Run]) -> Layout:
    """Return where the rows of each output lie, from the runs of `run_counts`.

    Raises:
        NotRowsError: an output has no axis that follows the number of rows, or two.
    """
    axes = []
    for index, name in enumerate(names):
        seen = [(n_rows, outputs[index]) for n_rows, outputs in runs]
        last_rows, last = seen[-1]
        ranks = {array.ndim for _, array in seen}
        following = [
            axis
            for axis in range(last.ndim if len(ranks) == 1 else 0)
            if all(array.shape[axis] == n_rows for n_rows, array in seen)
        ]
        if not following:
            raise NotRowsError(_not_followed(name, last_rows, last))
        if len(following) > 1 and choice.fixed_rows is None:
            raise NotRowsError(
                f"output {name!r} has {len(following)} axes that follow the number of rows: for {last_rows} rows its "
                f"shape is {last.shape}; re-export with one batch axis in every output"
            )
        axes.append(following[0])
    return Layout(choice, tuple(names), tuple(axes))


def _not_followed(name: str, n_rows: int, output: Array) -> str:
    return (
        f"output {name!r} does not follow the rows: for {n_rows} row{'s' if n_rows > 1 else ''} its shape is "
        f"{output.shape}; re-export with outputs of shape (batch, ...)"
    )
