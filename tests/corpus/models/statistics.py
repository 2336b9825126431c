"""Statistics over the whole tensor, and the same per row."""

import numpy as np

from tests.corpus.models.building import Case, floats, graph, ints, weights

_X = {"x": 0}
_ROW8 = floats(x=(None, 8))
_IMAGE = floats(x=(None, 3, 6, 6))


def _rows8(body: str, **rest) -> object:
    return graph(f"(float[N,8] x) => (float[N,8] y) {{ {body} }}", **rest)


CASES = [
    Case("min_max_over_everything", "min-max", "mixes", graph(
        """(float[N,3,6,6] x) => (float[N,3,6,6] y) {
            low = ReduceMin<keepdims=0>(x) high = ReduceMax<keepdims=0>(x)
            a = Sub(x, low) b = Sub(high, low) y = Div(a, b) }"""), _X, _IMAGE),
    Case("min_max_per_row", "min-max", "independent", graph(
        """(float[N,3,6,6] x) => (float[N,3,6,6] y) {
            low = ReduceMin<axes=[1,2,3]>(x) high = ReduceMax<axes=[1,2,3]>(x)
            a = Sub(x, low) b = Sub(high, low) y = Div(a, b) }"""), _X, _IMAGE),
    Case("l2_norm_over_everything", "norm", "mixes", _rows8("n = ReduceL2<keepdims=0>(x) y = Div(x, n)"), _X, _ROW8),
    Case("l2_norm_per_row", "norm", "independent", _rows8("n = ReduceL2<axes=[-1]>(x) y = Div(x, n)"), _X, _ROW8),
    Case("l2_norm_per_row_opset_21", "norm", "independent", _rows8(
        "n = ReduceL2(x, axes) y = Div(x, n)", opset=21, axes=ints(-1)), _X, _ROW8),
    Case("lp_normalization_over_rows", "norm", "mixes", _rows8("y = LpNormalization<axis=0, p=2>(x)"), _X, _ROW8),
    Case("lp_normalization_inside", "norm", "independent", _rows8("y = LpNormalization<axis=1, p=2>(x)"), _X, _ROW8),
    Case("batch_statistics", "batch norm", "mixes", _rows8(
        """m = ReduceMean<axes=[0]>(x) d = Sub(x, m) s = Mul(d, d) v = ReduceMean<axes=[0]>(s)
        w = Add(v, eps) r = Sqrt(w) y = Div(d, r)""", eps=np.float32(1e-5)), _X, _ROW8),
    Case("batch_norm_training", "batch norm", "mixes", graph(
        """(float[N,4,3] x) => (float[N,4,3] y) {
            y, m, v = BatchNormalization<training_mode=1>(x, s, b, mean, var) }""",
        s=np.ones(4, np.float32), b=weights(4), mean=weights(4), var=np.ones(4, np.float32)),
        _X, floats(x=(None, 4, 3))),
    Case("batch_norm_inference", "batch norm", "independent", graph(
        "(float[N,4,3] x) => (float[N,4,3] y) { y = BatchNormalization(x, s, b, mean, var) }",
        s=np.ones(4, np.float32), b=weights(4), mean=weights(4), var=np.ones(4, np.float32)),
        _X, floats(x=(None, 4, 3))),
    Case("instance_norm", "instance norm", "independent", graph(
        "(float[N,2,5] x) => (float[N,2,5] y) { y = InstanceNormalization(x, s, b) }",
        s=weights(2), b=weights(2)), _X, floats(x=(None, 2, 5))),
    Case("instance_norm_over_rows", "instance norm", "mixes", graph(
        """(float[N,2,5] x) => (float[N,2,5] y) {
            t = Transpose<perm=[1,2,0]>(x) n = InstanceNormalization(t, s, b) y = Transpose<perm=[2,0,1]>(n) }""",
        s=weights(5), b=weights(5)), _X, floats(x=(None, 2, 5))),
    Case("mean_variance_with_default_axes", "instance norm", "mixes", graph(
        "(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = MeanVarianceNormalization(x) }"), _X, _IMAGE),
    Case("mean_variance_inside", "instance norm", "independent", graph(
        "(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = MeanVarianceNormalization<axes=[1,2,3]>(x) }"), _X, _IMAGE),
    Case("group_statistics_of_rows", "group", "mixes", graph(
        """(float[N,4] x) => (float[N,4] y) {
            g = Reshape(x, shape) m = ReduceMean<axes=[1]>(g) d = Sub(g, m) y = Reshape(d, back) }""",
        shape=ints(-1, 2, 4), back=ints(-1, 4)), _X, lambda seed: {
            "x": np.concatenate([floats(x=(2, 4))(seed + step)["x"] for step in range(1 + seed % 2)])}),
    Case("group_statistics_inside", "group", "independent", graph(
        """(float[N,8] x) => (float[N,8] y) {
            g = Reshape(x, shape) m = ReduceMean<axes=[2]>(g) d = Sub(g, m) y = Reshape(d, back) }""",
        shape=ints(-1, 2, 4), back=ints(-1, 8)), _X, _ROW8),
    Case("layer_norm", "layer norm", "independent", _rows8(
        "y = LayerNormalization<axis=-1>(x, s, b)", s=weights(8), b=weights(8)), _X, _ROW8),
    Case("layer_norm_from_axis_0", "layer norm", "mixes", graph(
        "(float[4,8] x) => (float[4,8] y) { y = LayerNormalization<axis=0>(x, s, b) }",
        s=weights(4, 8), b=weights(4, 8)), _X, floats(x=(4, 8)), 4),
    Case("softmax_over_rows", "softmax", "mixes", _rows8("y = Softmax<axis=0>(x)"), _X, _ROW8),
    Case("softmax_inside", "softmax", "independent", _rows8("y = Softmax<axis=1>(x)"), _X, _ROW8),
    Case("softmax_opset_11_flattens_rows", "softmax", "mixes", graph(
        "(float[N,2,4] x) => (float[N,2,4] y) { y = Softmax<axis=0>(x) }", opset=11), _X, floats(x=(None, 2, 4))),
    Case("softmax_opset_11_default", "softmax", "independent", graph(
        "(float[N,2,4] x) => (float[N,2,4] y) { y = Softmax(x) }", opset=11), _X, floats(x=(None, 2, 4))),
    Case("log_softmax_opset_13_default", "softmax", "independent", _rows8("y = LogSoftmax(x)", opset=13), _X, _ROW8),
    Case("running_sum_over_rows", "cumsum", "mixes", _rows8("y = CumSum(x, axis)", axis=np.int64(0)), _X, _ROW8),
    Case("running_sum_inside", "cumsum", "independent", _rows8("y = CumSum(x, axis)", axis=np.int64(1)), _X, _ROW8),
    Case("sort_over_rows", "sort", "mixes", _rows8(
        "s = Shape(x) n = Gather(s, zero) k = Unsqueeze(n, zeros) y, i = TopK<axis=0>(x, k)",
        zero=np.int64(0), zeros=ints(0)), _X, _ROW8),
    Case("top_3_inside", "sort", "independent", graph(
        "(float[N,8] x) => (float[N,3] y, int64[N,3] i) { y, i = TopK<axis=-1>(x, k) }", k=ints(3)), _X, _ROW8),
    Case("best_row", "sort", "mixes", graph(
        "(float[N,8] x) => (float[N,8] y) { i = ArgMax<axis=0, keepdims=1>(x) f = Cast<to=1>(i) y = Sub(x, f) }"),
        _X, _ROW8),
    Case("best_class", "sort", "independent", graph(
        "(float[N,8] x) => (int64[N] y) { y = ArgMax<axis=1, keepdims=0>(x) }"), _X, _ROW8),
    Case("divided_by_the_number_of_rows", "batch size", "mixes", _rows8(
        "s = Shape(x) n = Gather(s, zero) f = Cast<to=1>(n) y = Div(x, f)", zero=np.int64(0)), _X, _ROW8),
    Case("divided_by_the_number_of_features", "batch size", "independent", _rows8(
        "s = Shape(x) n = Gather(s, one) f = Cast<to=1>(n) y = Div(x, f)", one=np.int64(1)), _X, _ROW8),
]  # fmt: skip
