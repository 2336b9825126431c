"""Small ONNX models for tests, each built on the spot with the onnx package; none comes from a file.

Every function returns a ModelProto; `save` writes one. The first group is batched, each model for one thing that must
work; the second group is served one job a run; the third group is refused, each for one reason. Axis names: N
rows, W any width.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Old enough for every onnxruntime a user may have.
OPSET = 17
IR_VERSION = 8

Shape = Sequence[int | str | None] | None

# The manifest's dtypes in onnx's words.
ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


def save(proto: onnx.ModelProto, path: Path) -> Path:
    """Write a model and return where."""
    path.write_bytes(proto.SerializeToString())
    return path


def value(name: str, element_type: int = TensorProto.FLOAT, shape: Shape = ("N", 3)) -> onnx.ValueInfoProto:
    """Return an input or output of a graph; without `shape` its rank is not declared."""
    return helper.make_tensor_value_info(name, element_type, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    *,
    initializers: Sequence[onnx.TensorProto] = (),
    opsets: dict[str, int] | None = None,
    ir_version: int = IR_VERSION,
) -> onnx.ModelProto:
    """Wrap nodes into a model, unchecked, since half of them are wrong on purpose."""
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(initializers))
    wanted = {"": OPSET} | (opsets or {})
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in wanted.items()],
        ir_version=ir_version,
    )


def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(array, name)


# --- batched


def doubled(shape: Shape = ("N", 3)) -> onnx.ModelProto:
    """Give y = x + x (float32)."""
    return model([helper.make_node("Add", ["x", "x"], ["y"])], [value("x", shape=shape)], [value("y", shape=shape)])


def two_inputs_two_outputs() -> onnx.ModelProto:
    """Give total (N, 2) = a + b (float32) and rank (N, 3) = doubled k (int64): neighbours of different dtypes."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["total"]), helper.make_node("Add", ["k", "k"], ["rank"])],
        [value("a", shape=("N", 2)), value("b", shape=("N", 2)), value("k", TensorProto.INT64, ("N", 3))],
        [value("total", shape=("N", 2)), value("rank", TensorProto.INT64, ("N", 3))],
    )


def categories(*, is_mixed: bool = False) -> onnx.ModelProto:
    """Give y (N, 1, 2) = age (N, 1) where place (N, 1, text) is "here" or "there", else 0; it takes no other place.

    With `is_mixed` the mean of all ages is taken off first.
    """
    mean = helper.make_node("ReduceMean", ["age"], ["mean"], keepdims=0)
    less = helper.make_node("Sub", ["age", "mean"], ["less"])
    encode = helper.make_node(
        "OneHotEncoder", ["place"], ["one"], domain="ai.onnx.ml", cats_strings=["here", "there"], zeros=0
    )
    deep = helper.make_node("Unsqueeze", ["less" if is_mixed else "age", "axes"], ["deep"])
    times = helper.make_node("Mul", ["one", "deep"], ["y"])
    return model(
        [*([mean, less] if is_mixed else []), encode, deep, times],
        [value("place", TensorProto.STRING, ("N", 1)), value("age", shape=("N", 1))],
        [value("y", shape=("N", 1, 2))],
        initializers=[constant("axes", np.array([2], np.int64))],
        opsets={"ai.onnx.ml": 2},
    )


def string_input() -> onnx.ModelProto:
    """Give label (N, 1, int64) = 0 for "no", 1 for "yes", -1 otherwise, and echo (N, 1, string) = text."""
    encode = helper.make_node(
        "LabelEncoder",
        ["text"],
        ["label"],
        domain="ai.onnx.ml",
        keys_strings=["no", "yes"],
        values_int64s=[0, 1],
        default_int64=-1,
    )
    return model(
        [encode, helper.make_node("Identity", ["text"], ["echo"])],
        [value("text", TensorProto.STRING, ("N", 1))],
        [value("label", TensorProto.INT64, ("N", 1)), value("echo", TensorProto.STRING, ("N", 1))],
        opsets={"ai.onnx.ml": 2},
    )


def fixed_batch(n_rows: int) -> onnx.ModelProto:
    """Give y = x + x (n_rows, 3): the batch axis is fixed."""
    return doubled((n_rows, 3))


def identity(dtype: str, shape: Shape = ("N", 2)) -> onnx.ModelProto:
    """Give y = x of one of the manifest's dtypes."""
    return raw_identity(ELEMENT_TYPES[dtype], shape)


def raw_identity(element_type: int, shape: Shape = ("N", 2)) -> onnx.ModelProto:
    """Give y = x of any of onnx's element types, also those that are not served."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", element_type, shape)], [value("y", element_type, shape)])


def dynamic_inner_axis() -> onnx.ModelProto:
    """Give y (N, W) = x + x and mean (N, 1) over W: rows of any width, one width per run."""
    return model(
        [
            helper.make_node("Add", ["x", "x"], ["y"]),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        ],
        [value("x", shape=("N", "W"))],
        [value("y", shape=("N", "W")), value("mean", shape=("N", 1))],
    )


def two_inputs_of_one_width() -> onnx.ModelProto:
    """Give y = a + b, both (N, W): the width is free, but the same in both (tokens and their mask, say)."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [value("a", shape=("N", "W")), value("b", shape=("N", "W"))],
        [value("y", shape=("N", "W"))],
    )


def wide_kernel() -> onnx.ModelProto:
    """Give the valid convolution of x (N, 1, W) with 20 ones: raises on rows narrower than 20."""
    return model(
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        [value("x", shape=("N", 1, "W"))],
        [value("y", shape=("N", 1, "V"))],
        initializers=[constant("kernel", np.ones((1, 1, 20), np.float32))],
    )


def initializer_among_inputs(ir_version: int = IR_VERSION) -> onnx.ModelProto:
    """Give y = x + bias + shift, where both are graph inputs with a default: IR version 3 wanted that, later ones may.

    `shift` is a sparse one where the format knows them.
    """
    proto = model(
        [helper.make_node("Add", ["x", "bias"], ["z"]), helper.make_node("Add", ["z", "shift"], ["y"])],
        [value("x"), value("bias", shape=(3,)), value("shift", shape=(3,))],
        [value("y")],
        initializers=[constant("bias", np.ones(3, np.float32))],
        opsets={"": 8} if ir_version < 4 else None,
        ir_version=ir_version,
    )
    if ir_version < 4:
        proto.graph.initializer.append(constant("shift", np.ones(3, np.float32)))
    else:
        values, places = constant("shift", np.ones(1, np.float32)), constant("", np.array([1], np.int64))
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))
    return proto


def classes(n_classes: int) -> onnx.ModelProto:
    """Give scores (N, n_classes) = softmax(x @ w) for x (N, 3)."""
    weights = np.linspace(-1, 1, 3 * n_classes, dtype=np.float32).reshape(3, n_classes)
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["scores"], axis=1)],
        [value("x")],
        [value("scores", shape=("N", n_classes))],
        initializers=[constant("w", weights)],
    )


def undeclared_output() -> onnx.ModelProto:
    """Give y (N, 6), reached through a Reshape whose target no shape inference knows and no size declares."""
    return model(
        [
            helper.make_node("Concat", ["x", "x"], ["z"], axis=1),
            helper.make_node("Identity", ["shape"], ["target"]),
            helper.make_node("Reshape", ["z", "target"], ["y"]),
        ],
        [value("x")],
        [value("y", shape=("N", "unk__7"))],
        initializers=[constant("shape", np.array([-1, 6], np.int64))],
    )


def raises_on_big_index(offset: int = 0) -> onnx.ModelProto:
    """Give y (N, 2) = table[index + offset] for index (N,): raises unless 0 <= index + offset < 10.

    With offset 100 it raises on small numbers too, hence on all rows that a trial makes up.
    """
    return model(
        [helper.make_node("Add", ["index", "offset"], ["i"]), helper.make_node("Gather", ["table", "i"], ["y"])],
        [value("index", TensorProto.INT64, ("N",))],
        [value("y", shape=("N", 2))],
        initializers=[
            constant("table", np.arange(20, dtype=np.float32).reshape(10, 2)),
            constant("offset", np.array(offset, np.int64)),
        ],
    )


def reciprocal() -> onnx.ModelProto:
    """Give y = 1 / x (N, 3): Infinity for 0, NaN for NaN."""
    return model([helper.make_node("Reciprocal", ["x"], ["y"])], [value("x")], [value("y")])


def maps(keys: Sequence[int] | Sequence[str] = (0, 1, 2)) -> onnx.ModelProto:
    """Give label (N, int64) and scores, a list of {key: score} as scikit-learn classifiers do, for scores x (N, K)."""
    named = {"classlabels_strings": keys} if isinstance(keys[0], str) else {"classlabels_int64s": keys}
    key_type = TensorProto.STRING if isinstance(keys[0], str) else TensorProto.INT64
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", **named),
    ]
    outputs = [value("label", TensorProto.INT64, ("N",)), map_output("scores", key_type)]
    return model(nodes, [value("x", shape=("N", len(keys)))], outputs, opsets={"ai.onnx.ml": 1})


def maps_that_cannot_be_tried() -> onnx.ModelProto:
    """Give scores, a list of maps, from a table that has no row for any made-up index."""
    proto = raises_on_big_index(100)
    proto.graph.node.append(
        helper.make_node("ZipMap", ["y"], ["scores"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    )
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    proto.graph.output[0].CopyFrom(map_output("scores"))
    return proto


def map_output(name: str, key_type: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    """Return an output that is a list of maps from a class to its score."""
    scores = helper.make_map_type_proto(key_type, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return helper.make_value_info(name, helper.make_sequence_type_proto(scores))


def changes_case(locale: str) -> onnx.ModelProto:
    """Give y = the text x (N) in lower case, as scikit-learn's text models do."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale=locale)
    shape = ("N",)
    return model([node], [value("x", TensorProto.STRING, shape)], [value("y", TensorProto.STRING, shape)])


# --- served one job a run: rows influence each other, or there are none


def no_batch_output() -> onnx.ModelProto:
    """Give y (3,): the mean over all rows."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)
    return model([node], [value("x")], [value("y", shape=(3,))])


def different_fixed_batches() -> onnx.ModelProto:
    """Take a (2, 3) and b (4, 3)."""
    return model(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        [value("a", shape=(2, 3)), value("b", shape=(4, 3))],
        [value("y", shape=(6, 3))],
    )


def scalar_input() -> onnx.ModelProto:
    """Take x (N, 3) and a scalar factor."""
    return model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])], [value("x"), value("factor", shape=())], [value("y")]
    )


def mixes_rows(n_rows: int | str = "N") -> onnx.ModelProto:
    """Give y = x minus the batch's mean, as batch normalization left in training mode does."""
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [value("x", shape=(n_rows, 3))],
        [value("y", shape=(n_rows, 3))],
    )


def draws_random_numbers() -> onnx.ModelProto:
    """Give y = x + noise: never the same twice."""
    return model(
        [helper.make_node("RandomNormalLike", ["x"], ["noise"]), helper.make_node("Add", ["x", "noise"], ["y"])],
        [value("x")],
        [value("y")],
    )


def built_in_batch_of_one() -> onnx.ModelProto:
    """Give y (N, 3) through a Reshape to (1, 3): declared free, but more than one row raises."""
    return model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x")],
        [value("y")],
        initializers=[constant("shape", np.array([1, 3], np.int64))],
    )


def leans_on_neighbours(part: float = 1e-4) -> onnx.ModelProto:
    """Give y = x * (1 + part) if any number of the batch is above 1, else x: neighbours, also NaN, move it no more."""
    return model(
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "limit"], ["is_large"]),
            helper.make_node("Cast", ["is_large"], ["one"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["one", "part"], ["p"]),
            helper.make_node("Mul", ["x", "p"], ["z"]),
            helper.make_node("Add", ["x", "z"], ["y"]),
        ],
        [value("x")],
        [value("y")],
        initializers=[constant("part", np.float32(part)), constant("limit", np.float32(1))],
    )


def adds_by_place(n_rows: int = 4) -> onnx.ModelProto:
    """Give y = x + p, with a p for each place: axis 0 is a sequence that no neighbour changes."""
    places = np.arange(3 * n_rows, dtype=np.float32).reshape(n_rows, 3)
    return model(
        [helper.make_node("Add", ["x", "p"], ["y"])],
        [value("x", shape=(n_rows, 3))],
        [value("y", shape=(n_rows, 3))],
        initializers=[constant("p", places)],
    )


def decides_over_the_batch(operator: str, limit: float) -> onnx.ModelProto:
    """Give y = x / 255 where the largest ("ReduceMax") or smallest ("ReduceMin") number of the batch is above limit."""
    return model(
        [
            helper.make_node(operator, ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "limit"], ["is_large"]),
            helper.make_node("Div", ["x", "k"], ["z"]),
            helper.make_node("Where", ["is_large", "z", "x"], ["y"]),
        ],
        [value("x")],
        [value("y")],
        initializers=[constant("limit", np.float32(limit)), constant("k", np.float32(255))],
    )


def counts_large_rows(limit: float) -> onnx.ModelProto:
    """Add to each number above limit its row's place in the run, from 1."""
    return model(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("ConstantOfShape", ["s"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
            helper.make_node("CumSum", ["ones", "axis"], ["place"]),
            helper.make_node("Greater", ["x", "limit"], ["is_large"]),
            helper.make_node("Cast", ["is_large"], ["gate"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["place", "gate"], ["added"]),
            helper.make_node("Add", ["x", "added"], ["y"]),
        ],
        [value("x")],
        [value("y")],
        initializers=[constant("limit", np.float32(limit)), constant("axis", np.array(0))],
    )


def sums_up() -> onnx.ModelProto:
    """Give the running sum of x (T, 3) over axis 0: only the last row depends on all others."""
    return model(
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        [value("x", shape=("T", 3))],
        [value("y", shape=("T", 3))],
        initializers=[constant("axis", np.array(0, np.int64))],
    )


def trims_to_the_longest() -> onnx.ModelProto:
    """Give the columns of x (N, W) that are not zero in every row: rows beside a longer one get longer."""
    return model(
        [
            helper.make_node("Abs", ["x"], ["a"]),
            helper.make_node("ReduceMax", ["a"], ["m"], axes=[0], keepdims=0),
            helper.make_node("Cast", ["m"], ["keep"], to=TensorProto.BOOL),
            helper.make_node("Compress", ["x", "keep"], ["y"], axis=1),
        ],
        [value("x", shape=("N", "W"))],
        [value("y", shape=("N", "V"))],
    )


def mixes_large_ids(above: int) -> onnx.ModelProto:
    """Give y (N, 3) = ids % 7 + 1 if any id of the batch is larger than `above`; raises on ids from 1000 on."""
    return model(
        [
            helper.make_node("Gather", ["table", "ids"], ["e"]),
            helper.make_node("ReduceMax", ["ids"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "above"], ["is_large"]),
            helper.make_node("Cast", ["is_large"], ["one"], to=TensorProto.INT64),
            helper.make_node("Add", ["e", "one"], ["y"]),
        ],
        [value("ids", TensorProto.INT64)],
        [value("y", TensorProto.INT64)],
        initializers=[constant("table", np.arange(1000) % 7), constant("above", np.array(above))],
    )


def mixes_text() -> onnx.ModelProto:
    """Give y (N, int64) = 1 if any text of the batch is "yes"."""
    proto = string_input()
    proto.graph.node[1].CopyFrom(helper.make_node("ReduceMax", ["label"], ["m"], keepdims=0))
    proto.graph.node.append(helper.make_node("Max", ["label", "m"], ["y"]))
    del proto.graph.output[:]
    proto.graph.output.append(value("y", TensorProto.INT64, ("N", 1)))
    return proto


def moves_with_count(part: float) -> onnx.ModelProto:
    """Give y = x * (1 + part * N): what rounding that depends on the number of rows does, made larger."""
    return model(
        [
            helper.make_node("Shape", ["x"], ["shape"], end=1),
            helper.make_node("Cast", ["shape"], ["n"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["n", "part"], ["p"]),
            helper.make_node("Mul", ["x", "p"], ["z"]),
            helper.make_node("Add", ["x", "z"], ["y"]),
        ],
        [value("x")],
        [value("y")],
        initializers=[constant("part", np.float32(part))],
    )


def cancels(part: float) -> onnx.ModelProto:
    """Give y (N, 1) = sum(x) + part * N * sum(|x|): a sum that rounds by its terms, which may be far above it."""
    return model(
        [
            helper.make_node("Shape", ["x"], ["shape"], end=1),
            helper.make_node("Cast", ["shape"], ["n"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["n", "part"], ["p"]),
            helper.make_node("Abs", ["x"], ["size"]),
            helper.make_node("Mul", ["size", "p"], ["moved"]),
            helper.make_node("Add", ["x", "moved"], ["terms"]),
            helper.make_node("ReduceSum", ["terms", "axes"], ["y"]),
        ],
        [value("x")],
        [value("y", shape=("N", 1))],
        initializers=[constant("part", np.float32(part)), constant("axes", np.array([1], np.int64))],
    )


def keeps_state(rows: str | None = "N") -> onnx.ModelProto:
    """Take x (N, T), a state (2, N, 8) and a scalar sr; give y (N, 1) = mean of x * sr, and next (2, N, 8).

    `rows` is the symbol of the batch axis, None for axes without names.
    """
    width = "T" if rows else None
    return model(
        [
            helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "rate"], ["z"]),
            helper.make_node("ReduceMean", ["z"], ["y"], axes=[1], keepdims=1),
            helper.make_node("Add", ["state", "y"], ["next"]),
        ],
        [value("x", shape=(rows, width)), value("state", shape=(2, rows, 8)), value("sr", TensorProto.INT64, ())],
        [value("y", shape=(rows, 1)), value("next", shape=(2, rows, 8))],
    )


def boxes() -> onnx.ModelProto:
    """Give the places (K, 2) of what is not zero in x (N, 3): K depends on values."""
    return model(
        [helper.make_node("NonZero", ["x"], ["at"]), helper.make_node("Transpose", ["at"], ["y"], perm=[1, 0])],
        [value("x")],
        [value("y", TensorProto.INT64, ("K", 2))],
    )


def fills_a_square() -> onnx.ModelProto:
    """Give y (n, n) of ones for the number n (1,): its size depends on a value."""
    return model(
        [helper.make_node("Concat", ["n", "n"], ["size"], axis=0), helper.make_node("Expand", ["one", "size"], ["y"])],
        [value("n", TensorProto.INT64, (1,))],
        [value("y", shape=("K", "L"))],
        initializers=[constant("one", np.float32(1))],
    )


def pairs() -> onnx.ModelProto:
    """Give y (N, N) = x @ x^T: two axes follow the rows."""
    return model(
        [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["x", "t"], ["y"])],
        [value("x")],
        [value("y", shape=("N", "N"))],
    )


EXTERNAL_FILE = "weights.bin"
EXTERNAL_BYTES = np.array([1, 2, 3], np.float32).tobytes()


def external_weights(place: str = "initializer", location: str = EXTERNAL_FILE, **extent: int) -> onnx.ModelProto:
    """Give y = x + w, with w = EXTERNAL_BYTES in another file.

    `place` of w: an initializer, a node's attribute, one inside a subgraph, or a sparse initializer that the model does
    not use. `extent`: offset and length in the file.
    """
    weights = constant("w", np.ones(3, np.float32))
    make_external(weights, location, **extent)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    initializers = [weights] if place == "initializer" else [constant("yes", np.array(True))]
    if place == "attribute":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    if place == "subgraph":
        inner = helper.make_graph(
            [helper.make_node("Constant", [], ["v"], value=weights)], "branch", [], [value("v", shape=(3,))]
        )
        nodes.insert(0, helper.make_node("If", ["yes"], ["w"], then_branch=inner, else_branch=inner))
    proto = model(nodes, [value("x")], [value("y")], initializers=initializers)
    if place == "sparse":
        indices = constant("", np.array([0, 1, 2], np.int64))
        proto.graph.node[0].input[1] = "dense"
        proto.graph.initializer.append(constant("dense", np.ones(3, np.float32)))
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(weights, indices, [3]))
    return proto


def make_external(tensor: onnx.TensorProto, location: str, **extent: int) -> None:
    """Let a tensor say that its values are in a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **{key: str(number) for key, number in extent.items()}}.items():
        tensor.external_data.add(key=key, value=text)


# --- refused


def custom_operator() -> onnx.ModelProto:
    """Use an operator of a library nobody has."""
    node = helper.make_node("Fancy", ["x"], ["y"], domain="acme.ops")
    return model([node], [value("x")], [value("y")], opsets={"acme.ops": 1})


def unknown_operator() -> onnx.ModelProto:
    """Use an operator that the ONNX standard does not have."""
    return model([helper.make_node("Fancy", ["x"], ["y"])], [value("x")], [value("y")])


def future_opset() -> onnx.ModelProto:
    """Ask for an opset that no onnxruntime has yet."""
    return model([helper.make_node("Add", ["x", "x"], ["y"])], [value("x")], [value("y")], opsets={"": 999})


def future_ir_version() -> onnx.ModelProto:
    """Be of a file format that no onnxruntime reads yet."""
    return model([helper.make_node("Add", ["x", "x"], ["y"])], [value("x")], [value("y")], ir_version=999)


def sequence_of_tensors() -> onnx.ModelProto:
    """Give what scikit-learn's multi-output classifiers do: a list of tensors."""
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["y"])
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return model([node], [value("x")], [output])


def corrupted() -> bytes:
    """Return the first half of a good file."""
    whole = bytes(classes(10).SerializeToString())
    return whole[: len(whole) // 2]
