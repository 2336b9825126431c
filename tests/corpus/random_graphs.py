"""Random small graphs for the property that no neighbour has influence: a chain of operators, some over the batch axis.

A graph is a list of `Step`s on a tensor (N, WIDTH). Whether its rows influence each other is told by running it, not by
its steps: a later step may undo an earlier one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tests.corpus.models import Case

WIDTH = 4
# Steps that keep rows apart.
APART = (
    "dense", "bias", "relu", "tanh", "softmax_inside", "normalize_inside", "heads", "columns", "twice", "minmax_inside",
    "sort_inside", "attention_inside", "total_inside", "where_row",
)  # fmt: skip
# Steps through which rows meet.
MIXING = (
    "minus_mean", "softmax_over_rows", "total_over_rows", "attention_over_rows", "sort_rows", "minus_first",
    "scale_by_max", "gate_by_max", "neighbour_above",
)  # fmt: skip
# What the trial must find: every mixing step shows on ordinary numbers but for the gate.
SHARE_MIXING = 0.45


@dataclass(frozen=True)
class Step:
    """One operator or a few; `seed` of its weights."""

    kind: str
    seed: int


def random_steps(seed: int) -> list[Step]:
    """Return 1 to 6 steps; of nearly half of the graphs one mixes."""
    chance = random.Random(seed)
    steps = [Step(chance.choice(APART), chance.randrange(1000)) for _ in range(chance.randint(1, 6))]
    if chance.random() < SHARE_MIXING:
        steps.insert(chance.randint(0, len(steps)), Step(chance.choice(MIXING), chance.randrange(1000)))
    return steps


def case_of(steps: Sequence[Step], name: str = "random") -> Case:
    """Build the graph of some steps; its label is what a run shows."""
    model = _model(steps)
    return Case(name, "random graph", "mixes" if rows_meet(model) else "independent", model, {"x": 0}, _job)


def rows_meet(model: onnx.ModelProto) -> bool:
    """Say whether the answer of a row changes with its neighbours, at the same place and number of rows."""
    session = _session(model)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(5, WIDTH)).astype(np.float32)
        (before,) = session.run(None, {"x": rows})
        for factor in (0.0, -1.0, 255.0, 0.05):
            for kept in range(5):
                changed = rows * np.float32(factor) + np.float32(factor != 0) * np.float32(0.5)
                changed[kept] = rows[kept]
                (after,) = session.run(None, {"x": changed})
                scale = max(float(np.abs(before[kept]).max()), 1e-6)
                if float(np.abs(before[kept] - after[kept]).max()) > 1e-5 * scale:
                    return True
    return False


def _job(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = (1.0, 200.0, 0.05, 5.0)[seed % 4]
    return {"x": (rng.normal(size=(1 + seed % 3, WIDTH)) * scale).astype(np.float32)}


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Builder:
    """Collects nodes and weights; `x` is the tensor so far, (N, WIDTH)."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.x = "x"

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"t{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *numbers: int) -> str:
        return self.weight(np.array(numbers, np.int64))


def _model(steps: Sequence[Step]) -> onnx.ModelProto:
    builder = _Builder()
    for step in steps:
        builder.x = _apply(builder, step.kind, np.random.default_rng(step.seed))
    builder.nodes.append(helper.make_node("Identity", [builder.x], ["y"]))
    shape = ["N", WIDTH]
    graph = helper.make_graph(
        builder.nodes, "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        builder.weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _apply(b: _Builder, kind: str, rng: np.random.Generator) -> str:  # noqa: C901  a table of steps
    x = b.x
    square = rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) / WIDTH
    one = np.float32(1)
    if kind in _SIMPLE:
        return b.node(*_SIMPLE[kind][:1], x, **_SIMPLE[kind][1])
    if kind == "dense":
        return b.node("MatMul", x, b.weight(square))
    if kind == "bias":
        return b.node("Add", x, b.weight(square[0]))
    if kind == "normalize_inside":
        return b.node("LayerNormalization", x, b.weight(np.ones(WIDTH, np.float32)), axis=-1)
    if kind == "heads":
        split = b.node("Reshape", x, b.ints(0, 2, WIDTH // 2))
        turned = b.node("Transpose", split, perm=[0, 2, 1])
        return b.node("Reshape", turned, b.ints(-1, WIDTH))
    if kind == "columns":
        return b.node("Gather", x, b.ints(*rng.permutation(WIDTH)), axis=1)
    if kind == "twice":
        return b.node("MatMul", b.node("Concat", x, x, axis=1), b.weight(np.concatenate([square, square])))
    if kind == "minmax_inside":
        return b.node("Sub", x, b.node("ReduceMin", x, axes=[1], keepdims=1))
    if kind in ("sort_inside", "sort_rows"):
        inside = kind == "sort_inside"
        count = b.ints(WIDTH) if inside else b.node("Gather", b.node("Shape", x), b.ints(0))
        return b.node("TopK", x, count, outputs=2, axis=1 if inside else 0)
    if kind == "attention_inside":
        column = b.node("Unsqueeze", x, b.ints(2))
        scores = b.node("Softmax", b.node("MatMul", column, b.node("Transpose", column, perm=[0, 2, 1])), axis=-1)
        return b.node("Squeeze", b.node("MatMul", scores, column), b.ints(2))
    if kind in ("total_inside", "total_over_rows"):
        return b.node("CumSum", x, b.weight(np.array(1 if kind == "total_inside" else 0)))
    if kind == "where_row":
        largest = b.node("ReduceMax", x, axes=[1], keepdims=1)
        return b.node("Where", b.node("Greater", largest, b.weight(one)), b.node("Tanh", x), x)
    if kind == "minus_mean":
        return b.node("Sub", x, b.node("ReduceMean", x, axes=[0], keepdims=1))
    if kind == "attention_over_rows":
        scores = b.node("Softmax", b.node("MatMul", x, b.node("Transpose", x, perm=[1, 0])), axis=-1)
        return b.node("MatMul", scores, x)
    if kind == "minus_first":
        return b.node("Sub", x, b.node("Slice", x, b.ints(0), b.ints(1), b.ints(0)))
    if kind == "scale_by_max":
        magnitude = b.node("ReduceMax", b.node("Abs", x), keepdims=0)
        return b.node("Div", x, b.node("Add", magnitude, b.weight(one)))
    if kind == "gate_by_max":
        is_large = b.node("Greater", b.node("ReduceMax", x, keepdims=0), b.weight(np.float32(100)))
        return b.node("Where", is_large, b.node("Div", x, b.weight(np.float32(255))), x)
    assert kind == "neighbour_above"
    padded = b.node("Pad", x, b.ints(1, 0, 0, 0))
    return b.node("Add", x, b.node("Slice", padded, b.ints(0), b.ints(-1), b.ints(0)))


_SIMPLE: dict[str, tuple[str, dict[str, object]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "softmax_inside": ("Softmax", {"axis": 1}),
    "softmax_over_rows": ("Softmax", {"axis": 0}),
}
