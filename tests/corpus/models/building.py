"""Builds the small graphs of the corpus from onnx's text form, and the jobs they are run with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx

Array = np.ndarray
Label = Literal["independent", "mixes"]
Feed = dict[str, Array]

# Neighbours of very different size: what mixes then shows in the results.
_SCALES = (1.0, 20.0, 0.1, 5.0)


@dataclass(frozen=True, slots=True)
class Case:
    """One graph.

    `label` is "independent" when the answer of each row is the same in any batch along `batch_axes` (input name to
    axis), "mixes" when it is not or when rows cannot be told apart. `make_job` returns the inputs of one job by seed.
    """

    name: str
    kind: str
    label: Label
    model: onnx.ModelProto
    batch_axes: Mapping[str, int]
    make_job: Callable[[int], Feed]
    fixed_rows: int | None = field(default=None)


def graph(
    text: str, *, opset: int = 17, ml: bool = False, microsoft: bool = False, **weights: Array
) -> onnx.ModelProto:
    """Parse `(inputs) => (outputs) { nodes }` and add the weights as initializers."""
    parsed = onnx.parser.parse_graph(f"corpus {text}")
    parsed.initializer.extend(onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())
    opsets = [onnx.helper.make_opsetid("", opset)]
    opsets += [onnx.helper.make_opsetid("ai.onnx.ml", 3)] if ml else []
    opsets += [onnx.helper.make_opsetid("com.microsoft", 1)] if microsoft else []
    return onnx.helper.make_model(parsed, opset_imports=opsets, ir_version=10 if opset > 19 else 8)


def weights(*shape: int, seed: int = 7) -> Array:
    """Return random weights of float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    """Return a tensor of int64 with one axis: axes, shapes and indices."""
    return np.array(numbers, np.int64)


def floats(**shapes: tuple[int | None, ...]) -> Callable[[int], Feed]:
    """Return a maker of jobs with inputs of float32; None is the number of rows, 1 to 3."""

    def make(seed: int) -> Feed:
        rng = np.random.default_rng(seed)
        rows, scale = 1 + seed % 3, _SCALES[seed % len(_SCALES)]
        return {
            name: (rng.normal(size=_with_rows(shape, rows)) * scale).astype(np.float32)
            for name, shape in shapes.items()
        }

    return make


def whole_numbers(low: int, high: int, **shapes: tuple[int | None, ...]) -> Callable[[int], Feed]:
    """Return a maker of jobs with inputs of int64 from `low` to below `high`."""

    def make(seed: int) -> Feed:
        rng = np.random.default_rng(seed)
        rows = 1 + seed % 3
        return {name: rng.integers(low, high, _with_rows(shape, rows)) for name, shape in shapes.items()}

    return make


def both(*makers: Callable[[int], Feed]) -> Callable[[int], Feed]:
    """Return a maker of jobs that have the inputs of several makers."""
    return lambda seed: {name: array for make in makers for name, array in make(seed).items()}


def texts(**shapes: tuple[int | None, ...]) -> Callable[[int], Feed]:
    """Return a maker of jobs with inputs of one word each."""
    words = np.array(["good", "bad", "fine", "plain", "other"], dtype=object)

    def make(seed: int) -> Feed:
        rng = np.random.default_rng(seed)
        return {name: words[rng.integers(0, 5, _with_rows(shape, 1 + seed % 3))] for name, shape in shapes.items()}

    return make


def _with_rows(shape: tuple[int | None, ...], rows: int) -> tuple[int, ...]:
    return tuple(rows if size is None else size for size in shape)
