"""The rules, one small graph for each way in which an operator keeps rows apart, mixes them, or cannot be judged."""

import numpy as np
import pytest

from tests.corpus.models.building import graph, ints, weights
from worker.inspection.batch_axis import walk

_F8, _F45 = "float[N,8]", "float[N,4,5]"


def _unary(body: str, given: str = _F8, result: str = "float[A]", axis: int = 0, opset: int = 17, **stored):
    return graph(f"({given} x) => ({result} y) {{ {body} }}", opset=opset, **stored), {"x": axis}


def _pair(body: str, one: str, other: str, axes=(0, 0), **stored):
    return graph(f"({one} x, {other} z) => (float[A] y) {{ {body} }}", **stored), {"x": axes[0], "z": axes[1]}


def _microsoft(body: str, given: str = "float[N,4,8]", axis: int = 0, **stored):
    return graph(f"({given} x) => (float[A] y) {{ {body} }}", microsoft=True, **stored), {"x": axis}


def _ml(body: str, given: str = "float[N,3]", axis: int = 0, **stored):
    return graph(f"({given} x) => (float[A] y) {{ {body} }}", ml=True, **stored), {"x": axis}


_PERMUTED = "t = Transpose<perm=[1,0,2]>(x)"
_SCALE = {"s": np.float32(0.1), "z": np.uint8(0)}

INDEPENDENT = {
    "bias of one row": _unary("y = Add(x, b)", b=weights(1, 8)),
    "scalar": _unary("y = Mul(x, b)", b=np.float32(2)),
    "rows on another axis": _unary("y = Add(x, b)", "float[4,N,5]", axis=1, b=weights(4, 1, 5)),
    "two inputs of different rank": _pair("y = Add(x, z)", "float[5,N,8]", "float[N,8]", (1, 0)),
    "prelu": _unary("y = PRelu(x, b)", b=weights(8)),
    "clip": _unary("y = Clip(x, low)", low=np.float32(0)),
    "power of a sum": _unary("a = Sum(x, x) y = Pow(a, b)", b=np.float32(2)),
    "matmul with weights": _unary("y = MatMul(x, w)", _F45, w=weights(5, 3)),
    "matmul with a vector": _unary("y = MatMul(x, w)", _F45, w=weights(5)),
    "matmul with weights on the left": _unary("y = MatMul(w, x)", _F45, w=weights(3, 4)),
    "batched products": _pair("y = MatMul(x, z)", _F45, "float[N,5,6]"),
    "gemm with transposed rows": _unary("y = Gemm<transA=1>(x, w)", "float[8,N]", axis=1, w=weights(8, 3)),
    "einsum with implicit result": _unary('y = Einsum<equation="bd,dk">(x, w)', w=weights(8, 3)),
    "einsum with ellipsis in the middle": _unary('y = Einsum<equation="b...d,dk->b...k">(x, w)', _F45, w=weights(5, 3)),
    "reduction from the right": _unary("y = ReduceSum<keepdims=0>(x, a)", _F45, a=ints(-1)),
    "reduction of nothing": _unary("y = ReduceSum<noop_with_empty_axes=1>(x)"),
    "reduction by opset 18": _unary("y = ReduceMean(x, a)", opset=18, a=ints(1)),
    "reduction before the rows": _unary("y = ReduceMax<axes=[0], keepdims=0>(x)", "float[4,N,5]", axis=1),
    "softmax of opset 11 over inner axes": _unary("y = Softmax<axis=2>(x)", _F45, opset=11),
    "layer norm with several outputs": _unary("y, m, v = LayerNormalization<axis=1>(x, s)", s=weights(8)),
    "batch norm of opset 9": _unary(
        "y = BatchNormalization(x, s, s, s, s)", _F45, opset=9, s=np.ones(4, np.float32)
    ),
    "group norm": _unary("y = GroupNormalization<num_groups=2>(x, s, s)", _F45, opset=21, s=weights(4)),
    "local response": _unary("y = LRN<size=3>(x)", "float[N,3,4,4]"),
    "kernel of 1 over the rows": _unary(
        "y = Conv<kernel_shape=[1]>(x, w)", "float[1,3,N]", axis=2, w=weights(2, 3, 1)
    ),
    "transposed convolution": _unary("y = ConvTranspose<strides=[2]>(x, w)", "float[N,3,6]", w=weights(3, 2, 2)),
    "global pool": _unary("y = GlobalMaxPool(x)", "float[N,3,6]"),
    "resize by scales": _unary(
        "y = Resize(x, none, k)", "float[N,3,6,6]", none=np.zeros(0, np.float32), k=np.array([1, 1, 2, 2], np.float32)
    ),
    "depth to space": _unary("y = DepthToSpace<blocksize=2>(x)", "float[N,4,6,6]"),
    "transpose back": _unary(f"{_PERMUTED} a = Relu(t) y = Transpose<perm=[1,0,2]>(a)", _F45),
    "rows stay on axis 1": _unary(f"{_PERMUTED} y = Relu(t)", _F45),
    "squeeze and unsqueeze": _unary("a = Unsqueeze(x, i) b = Relu(a) y = Squeeze(b, i)", i=ints(0)),
    "unsqueeze from the right": _unary("y = Unsqueeze(x, i)", i=ints(-1)),
    "squeeze of opset 11": _unary("y = Squeeze<axes=[1]>(x)", "float[N,1,8]", opset=11),
    "flatten after the rows": _unary("y = Flatten<axis=1>(x)", _F45),
    "reshape with 0": _unary("y = Reshape(x, s)", _F45, s=ints(0, -1)),
    "reshape with leading 1": _unary("y = Reshape(x, s)", s=ints(1, -1, 8)),
    "reshape by its own shape": _unary("s = Shape(x) y = Reshape(x, s)", _F45),
    "reshape of a free time axis": _unary(
        "a = Reshape(x, s) b = MatMul(a, w) h = Shape<start=0, end=2>(x) i = Concat<axis=0>(h, k) y = Reshape(b, i)",
        "float[N,T,8]", s=ints(-1, 8), w=weights(8, 4), k=ints(4),
    ),
    "heads merged with rows and split": _unary(
        "a = Reshape(x, s) b = Softmax<axis=-1>(a) y = Reshape(b, i)", "float[N,2,4,4]", s=ints(-1, 4, 4),
        i=ints(-1, 2, 4, 4),
    ),
    "rows behind time merged and split": _unary(
        "a = Reshape(x, s) b = MatMul(a, w) h = Shape<start=0, end=2>(x) i = Concat<axis=0>(h, k) y = Reshape(b, i)",
        "float[T,N,8]", axis=1, s=ints(-1, 8), w=weights(8, 4), k=ints(4),
    ),
    "fixed rows reshaped by numbers": _unary("y = Reshape(x, s)", "float[4,2,8]", s=ints(4, 16)),
    "fixed rows reshaped by -1": _unary("y = Reshape(x, s)", "float[4,2,8]", s=ints(-1, 16)),
    "tile inside": _unary("y = Tile(x, r)", r=ints(1, 3)),
    "expand of the rows": _unary("y = Expand(x, s)", "float[N,1,5]", s=ints(1, 4, 1)),
    "concat of a row with itself": _unary("y = Concat<axis=1>(x, x)"),
    "split inside": _unary("a, b = Split<axis=1>(x) y = Add(a, b)"),
    "slice of opset 9": _unary("y = Slice<axes=[1], starts=[0], ends=[4]>(x)", opset=9),
    "slice up to the number of rows": _unary(
        "n = Shape<start=0, end=1>(x) y = Slice(x, zero, n, zero)", zero=ints(0)
    ),
    "pad of opset 10": _unary("y = Pad<pads=[0,1,0,1]>(x)", opset=10),
    "gather inside": _unary("y = Gather<axis=1>(x, i)", i=np.int64(3)),
    "gather before the rows": _unary("y = Gather<axis=0>(x, i)", "float[4,N,5]", axis=1, i=ints(0, 2)),
    "embedding on axis 1": _unary("y = Gather<axis=1>(table, x)", "int64[N]", table=weights(3, 50)),
    "gather nd from a table": _unary("y = GatherND(table, x)", "int64[N,1]", table=weights(50, 4)),
    "where with a mask of rows": _unary("m = Greater(x, t) y = Where(m, x, t)", t=np.float32(0)),
    "shape of an inner axis in the arithmetic": _unary(
        "s = Shape(x) t = Gather(s, one) f = Cast<to=1>(t) r = Sqrt(f) y = Div(x, r)", "float[N,T]", one=np.int64(1)
    ),
    "zeros of the batch size": _unary(
        "s = Shape(x) z = ConstantOfShape(s) f = Cast<to=1>(z) y = Add(x, f)"
    ),
    "expand written by torch": _unary(
        """s = Shape(x) w = Slice(s, zero, one) t = Concat<axis=0>(w, eight) n = Shape(t) o = ConstantOfShape<value =
        int64[1] {1}>(n) m = Mul(o, minus) e = Equal(t, m) c = Where(e, o, t) k = Expand(b, c) y = Add(x, k)""",
        zero=ints(0), one=ints(1), eight=ints(8), minus=ints(-1), b=weights(1, 8),
    ),
    "initial state of the batch size": _unary(
        """n = Shape<start=1, end=2>(x) s = Concat<axis=0>(one, n, six) h = ConstantOfShape(s)
        y = LSTM<hidden_size=6>(x, w, r, , , h, h)""",
        "float[T,N,4]", axis=1, one=ints(1), six=ints(6), w=weights(1, 24, 4), r=weights(1, 24, 6),
    ),
    "rnn with the batch first": _unary(
        "y = RNN<hidden_size=6, layout=1>(x, w, r)", _F45, w=weights(1, 6, 5), r=weights(1, 6, 6)
    ),
    "reverse sequence": _pair(
        "y = ReverseSequence<batch_axis=0, time_axis=1>(x, z)", _F45, "int64[N]"
    ),
    "grid sample": _pair("y = GridSample(x, z)", "float[N,3,4,4]", "float[N,2,2,2]"),
    "lower triangle": _unary("y = Trilu(x)", _F45),
    "integer product": _unary("y = MatMulInteger(x, w)", "uint8[N,8]", w=np.ones((8, 4), np.int8)),
    "quantised per channel": _unary(
        "q = QuantizeLinear<axis=1>(x, s, z) y = DequantizeLinear<axis=1>(q, s, z)",
        s=np.ones(8, np.float32), z=np.zeros(8, np.uint8),
    ),
    "branches of the same form": _unary(
        """s = Shape(x) t = Gather(s, one) c = Equal(t, one)
        y = If(c) <then_branch = a () => (float[N,T] p) { p = Neg(x) }, else_branch = b () => (float[N,T] q) {
        q = Abs(x) }>""", "float[N,T]", one=np.int64(1),
    ),
    "scan over time": _unary(
        """t = Transpose<perm=[1,0,2]>(x) n = Shape<start=0, end=1>(x) z = Concat<axis=0>(n, five)
        s = ConstantOfShape(z) l, y = Scan(s, t) <num_scan_inputs=1, body = b (float[N,5] p, float[N,5] q) =>
        (float[N,5] r, float[N,5] o) { r = Add(p, q) o = Identity(r) }>""", _F45, five=ints(5),
    ),
    "unused random node": _unary("r = RandomNormal<shape=[8]>() y = Relu(x)"),
    "fused product": _microsoft("y = com.microsoft.FusedMatMul<transB=1>(x, w)", w=weights(3, 8)),
    "bias and gelu": _microsoft("y = com.microsoft.BiasGelu(x, b)", b=weights(8)),
    "skip and norm": _microsoft("y = com.microsoft.SkipLayerNormalization(x, x, b)", b=weights(8)),
    "quantised attention": _microsoft(
        "y = com.microsoft.QAttention<num_heads=2>(x, w, b, s, s)", "uint8[N,4,8]",
        w=np.ones((8, 24), np.int8), b=weights(24), s=np.float32(0.1),
    ),
    "quantised sum": _microsoft("y = com.microsoft.QLinearAdd(x, s, z, b, s, z, s, z)", "uint8[N,8]",
                                b=np.zeros(8, np.uint8), **_SCALE),
    "scaler": _ml("y = ai.onnx.ml.Scaler<offset=[0.0], scale=[2.0]>(x)"),
    "imputer": _ml("y = ai.onnx.ml.Imputer<imputed_value_floats=[0.0]>(x)"),
    "one hot of a column": _ml("y = ai.onnx.ml.OneHotEncoder<cats_int64s=[0,1]>(x)", "int64[N]"),
}  # fmt: skip

MIXES = {
    "bias of each row": _unary("y = Add(x, b)", "float[4,8]", b=weights(4, 8)),
    "rows against columns": _pair("y = Add(x, z)", "float[N,1]", "float[N]"),
    "rows summed by a product": _unary("y = MatMul(w, x)", w=weights(3, 4)),
    "rows of both sides": _pair("t = Transpose<perm=[1,0]>(z) y = MatMul(x, t)", _F8, _F8),
    "gemm over rows": _unary("y = Gemm<transA=1>(x, w)", "float[4,8]", w=weights(4, 3)),
    "gemm with a bias of each row": _unary("y = Gemm(x, w, b)", "float[4,8]", w=weights(8, 3), b=weights(4, 3)),
    "reduction over all axes": _unary("y = ReduceMean(x)"),
    "reduction over rows from the right": _unary("y = ReduceMean<axes=[-2]>(x)"),
    "largest row": _unary("y = ArgMax(x)"),
    "softmax over rows after transpose": _unary("t = Transpose(x) y = Softmax(t)"),
    "softmax of opset 11 over the time of all rows": _unary("y = Softmax<axis=0>(x)", _F45, opset=11),
    "hardmax": _unary("y = Hardmax<axis=0>(x)"),
    "batch norm with rows as channels": _unary(
        "t = Transpose<perm=[1,0,2]>(x) y = BatchNormalization(t, s, s, s, s)", "float[4,3,5]", s=weights(4)
    ),
    "batch norm of opset 6": _unary("y = BatchNormalization(x, s, s, s, s)", _F45, opset=6, s=weights(4)),
    "convolution with rows as channels": _unary("y = Conv(x, w)", "float[1,4,8]", axis=1, w=weights(2, 4, 3)),
    "padded kernel of 1 over the rows": _unary(
        "y = Conv<kernel_shape=[1], pads=[1,1]>(x, w)", "float[1,3,N]", axis=2, w=weights(2, 3, 1)
    ),
    "global pool over rows": _unary("y = GlobalAveragePool(x)", "float[1,3,N]", axis=2),
    "resize over rows": _unary(
        "y = Resize(x, none, k)", "float[N,3]", none=np.zeros(0, np.float32), k=np.array([2, 1], np.float32)
    ),
    "flatten into one": _unary("y = Flatten<axis=2>(x)", _F45),
    "reshape into pairs of rows": _unary("y = Reshape(x, s)", s=ints(-1, 2, 8)),
    "reshape into two halves": _unary("y = Reshape(x, s)", s=ints(2, -1)),
    "reshape to one vector": _unary("a = Reshape(x, s) y = Softmax<axis=0>(a)", s=ints(-1)),
    "concat of two batches": _pair("y = Concat<axis=0>(x, z)", _F8, _F8),
    "copies of the rows": _unary("y = Tile(x, r)", r=ints(2, 1)),
    "slice that drops a row": _unary("y = Slice(x, one, inf, zero)", one=ints(1), inf=ints(2**40), zero=ints(0)),
    "slice of every second row": _unary(
        "y = Slice(x, zero, inf, zero, two)", zero=ints(0), inf=ints(2**40), two=ints(2)
    ),
    "split of the rows": _unary("y, z = Split<axis=0>(x)", "float[4,8]"),
    "one row": _unary("y = Gather(x, i)", i=np.int64(0)),
    "rows picked for each row": _pair("y = Gather<axis=1>(x, z)", _F8, "int64[N]"),
    "gather nd of rows": _unary("y = GatherND(x, i)", i=np.array([[0], [1]])),
    "scatter into rows": _unary("y = ScatterElements<axis=0>(x, i, u)", i=np.zeros((1, 8), np.int64), u=weights(1, 8)),
    "inner size by the number of rows": _unary(
        "n = Shape<start=0, end=1>(x) y, i = TopK(x, n)", "float[N,99]"
    ),
    "only a count": _unary("s = Shape(x) y = Cast<to=1>(s)"),
    "a constant output": _unary("y = Identity(b)", b=weights(3)),
    "time reversed over rows": _pair("y = ReverseSequence<batch_axis=1, time_axis=0>(x, z)", _F45, "int64[N]"),
    "lower triangle of rows": _unary("y = Trilu(x)"),
    "transform over rows": _unary("y = DFT<axis=0>(x)", "float[N,8,1]"),
    "scale of each row": _unary("y = QuantizeLinear<axis=0>(x, s)", "float[4,8]", s=np.ones(4, np.float32)),
    "fused product over rows": _microsoft("y = com.microsoft.FusedMatMul<transA=1>(x, w)", "float[4,8]",
                                          w=weights(4, 3)),
    "attention over the batch": _microsoft(
        "y = com.microsoft.Attention<num_heads=2>(x, w)", "float[4,N,8]", axis=1, w=weights(8, 24)
    ),
    "normaliser of one vector": _ml("y = ai.onnx.ml.Normalizer(x)", "float[N]"),
    "scaler of one vector": _ml("y = ai.onnx.ml.Scaler<offset=[0.0], scale=[2.0]>(x)", "float[N]"),
}  # fmt: skip

# Values of the whole batch decide, or chance does: a passed trial proves nothing.
OVERRULES = {
    "loop with a count from the batch": _unary(
        """a = ReduceSum<keepdims=0>(x, one) b = Cast<to=7>(a) n = Reshape(b, none)
        y = Loop(n, yes, x) <body = b (int64 i, bool c, float[1,8] s) => (bool d, float[1,8] t) {
        d = Identity(c) t = Tanh(s) }>""", "float[1,8]", one=ints(1), none=np.zeros(0, np.int64), yes=np.array(True),
    ),
    "random noise": _unary("r = RandomUniformLike(x) y = Add(x, r)"),
    "bernoulli": _unary("y = Bernoulli(x)"),
    "dropout of opset 6": _unary("y = Dropout(x)", opset=6),
    "range of the batch": _unary("y, s, z = DynamicQuantizeLinear(x)"),
    "positions of what is not 0": _unary("y = NonZero(x)"),
    "compressed": _pair("y = Compress<axis=0>(x, z)", _F8, "bool[N]"),
    "dynamic lstm": _microsoft(
        "y = com.microsoft.DynamicQuantizeLSTM<hidden_size=6>(x, w, w, , , , , s, z, s, z)", "float[T,N,4]", axis=1,
        w=np.ones((1, 4, 24), np.int8), s=np.ones(1, np.float32), z=np.zeros(1, np.int8),
    ),
    "gated node behind an unknown one": _microsoft("a = com.microsoft.SomethingNew(x) y = NonZero(a)"),
    "texts of different length compared": (
        graph("(string[N] x, string[N,M] z) => (bool[N,M] y) { t, n = StringSplit(x) y = Equal(t, z) }", opset=20),
        {"x": 0, "z": 0},
    ),
}  # fmt: skip

# The graph alone does not say; the trial decides.
UNKNOWN = {
    "operator without a rule": _microsoft("y = com.microsoft.SomethingNew(x)"),
    "shape given as an input": (
        graph("(float[N,8] x, int64[2] s) => (float[A,B] y) { y = Reshape(x, s) }"), {"x": 0},
    ),
    "squeeze of every axis": _unary("y = Squeeze(x)", "float[N,1,8]"),
    "squeeze of the rows": _unary("y = Squeeze(x, a)", "float[N,8]", a=ints(0)),
    "constant number of rows": _unary("y = Reshape(x, s)", s=ints(1, 8)),
    "product of two sizes": _unary("y = Reshape(x, s)", "float[N,A,B]", s=ints(-1, 6)),
    "axis that does not exist": _unary("y = Softmax<axis=7>(x)"),
    "missing input": _unary("y = Add(x, nowhere)"),
}  # fmt: skip


def _params(cases):
    return pytest.mark.parametrize(("model", "axes"), cases.values(), ids=[name.replace(" ", "_") for name in cases])


@_params(INDEPENDENT)
def test_walk_when_rows_stay_apart_then_independent(model, axes):
    found = walk(model, axes)

    assert found.verdict == "independent", found.reason
    assert set(found.output_axes) == {output.name for output in model.graph.output}


@_params(MIXES)
def test_walk_when_rows_meet_then_mixes(model, axes):
    found = walk(model, axes)

    assert found.verdict == "mixes", found.reason
    assert found.remedy


@_params(OVERRULES)
def test_walk_when_values_of_the_batch_or_chance_decide_then_overrules_the_trial(model, axes):
    found = walk(model, axes)

    assert (found.verdict, found.overrules_trial) == ("cannot tell", True), found.reason
    assert found.remedy


@_params(UNKNOWN)
def test_walk_when_the_graph_does_not_say_then_leaves_it_to_the_trial(model, axes):
    found = walk(model, axes)

    assert (found.verdict, found.overrules_trial) == ("cannot tell", False), found.reason
