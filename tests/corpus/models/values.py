"""Work decided by values: control flow, selection, dynamic quantisation, random numbers."""

import numpy as np

from tests.corpus.models.building import Case, floats, graph, ints, weights, whole_numbers

_X = {"x": 0}
_ROW8 = floats(x=(None, 8))
_MATRICES = {"w1": weights(8, 4, seed=1), "w2": weights(8, 4, seed=2)}


def _pictures(seed: int) -> dict[str, np.ndarray]:
    top = (1.0, 255.0)[seed % 2]
    return {"x": (np.random.default_rng(seed).random((1 + seed % 3, 3, 4, 4)) * top).astype(np.float32)}


def _boxes(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.random((1 + seed % 3, 6, 2)).astype(np.float32)
    return {
        "boxes": np.concatenate([corner, corner + 0.3], axis=2).astype(np.float32),
        "scores": rng.random((1 + seed % 3, 1, 6)).astype(np.float32),
    }


def _quantised_weights(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    full = weights(*shape)
    scale = np.float32(np.abs(full).max() / 127)
    return {"wq": np.clip(np.round(full / scale), -127, 127).astype(np.int8), "ws": scale, "wz": np.int8(0)}


CASES = [
    Case("is_it_0_to_255", "if", "mixes", graph(
        """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
            top = ReduceMax<keepdims=0>(x) big = Greater(top, one)
            y = If(big) <then_branch = a () => (float[N,3,4,4] t) { t = Div(x, k) },
                        else_branch = b () => (float[N,3,4,4] e) { e = Identity(x) }> }""",
        one=np.float32(1), k=np.float32(255)), _X, _pictures),
    Case("is_each_0_to_255", "if", "independent", graph(
        """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
            top = ReduceMax<axes=[1,2,3]>(x) big = Greater(top, one) d = Div(x, k) y = Where(big, d, x) }""",
        one=np.float32(1), k=np.float32(255)), _X, _pictures),
    Case("if_on_a_constant", "if", "independent", graph(
        """(float[N,8] x) => (float[N,8] y) {
            y = If(yes) <then_branch = a () => (float[N,8] t) { t = Neg(x) },
                        else_branch = b () => (float[N,8] e) { e = Identity(x) }> }""",
        yes=np.array(True)), _X, _ROW8),
    Case("if_on_the_first_value", "if", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            f = Reshape(x, flat) v = Gather(f, zero) big = Greater(v, none)
            y = If(big) <then_branch = a () => (float[N,8] t) { t = Neg(x) },
                        else_branch = b () => (float[N,8] e) { e = Identity(x) }> }""",
        flat=ints(-1), zero=np.int64(0), none=np.float32(0)), _X, _ROW8),
    Case("early_exit", "where", "mixes", graph(
        """(float[N,8] x) => (float[N,4] y) {
            small = MatMul(x, w1) large = MatMul(x, w2) p = Softmax<axis=1>(small)
            c = ReduceMax<axes=[1], keepdims=0>(p) worst = ReduceMin<keepdims=0>(c) sure = Greater(worst, t)
            y = Where(sure, small, large) }""", t=np.float32(0.6), **_MATRICES), _X, _ROW8),
    Case("early_exit_per_row", "where", "independent", graph(
        """(float[N,8] x) => (float[N,4] y) {
            small = MatMul(x, w1) large = MatMul(x, w2) p = Softmax<axis=1>(small)
            c = ReduceMax<axes=[1], keepdims=1>(p) sure = Greater(c, t) y = Where(sure, small, large) }""",
        t=np.float32(0.6), **_MATRICES), _X, _ROW8),
    Case("dynamic_quantisation", "quantisation", "mixes", graph(
        """(float[N,8] x) => (float[N,4] y) {
            q, s, z = DynamicQuantizeLinear(x) i = MatMulInteger(q, wq, z, wz) f = Cast<to=1>(i) k = Mul(s, ws)
            y = Mul(f, k) }""", **_quantised_weights((8, 4))), _X, _ROW8),
    Case("dynamic_quantisation_fused", "quantisation", "mixes", graph(
        "(float[N,8] x) => (float[N,4] y) { y = com.microsoft.DynamicQuantizeMatMul(x, wq, ws, wz) }",
        microsoft=True, **_quantised_weights((8, 4))), _X, _ROW8),
    Case("static_quantisation", "quantisation", "independent", graph(
        """(float[N,8] x) => (float[N,4] y) {
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(wq, ws, wz)
            y = MatMul(d, v) }""", s=np.float32(0.1), z=np.uint8(128), **_quantised_weights((8, 4))), _X, _ROW8),
    Case("static_quantisation_of_integers", "quantisation", "independent", graph(
        """(float[N,8] x) => (float[N,4] y) {
            q = QuantizeLinear(x, s, z) m = QLinearMatMul(q, s, z, wq, ws, wz, t, z) y = DequantizeLinear(m, t, z) }""",
        s=np.float32(0.1), t=np.float32(0.3), z=np.uint8(128), **_quantised_weights((8, 4))), _X, _ROW8),
    Case("quantised_by_the_largest_row", "quantisation", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            a = Abs(x) m = ReduceMax<keepdims=0>(a) s = Div(m, k) q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z) }""", k=np.float32(127), z=np.int8(0)), _X, _ROW8),
    Case("non_zero", "selection", "mixes", graph(
        "(float[N,4] x) => (int64[2,M] y) { p = Relu(x) y = NonZero(p) }"), _X, floats(x=(None, 4))),
    Case("positive_part", "selection", "independent", graph(
        "(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), _X, floats(x=(None, 4))),
    Case("compress_the_rows", "selection", "mixes", graph(
        """(float[N,4] x) => (float[M,4] y) {
            s = ReduceSum<keepdims=0>(x, one) k = Greater(s, none) y = Compress<axis=0>(x, k) }""",
        one=ints(1), none=np.float32(0)), _X, floats(x=(None, 4))),
    Case("unique_rows", "selection", "mixes", graph(
        "(int64[N] x) => (int64[M] y) { y = Unique(x) }"), _X, whole_numbers(0, 4, x=(None,))),
    Case("non_max_suppression", "selection", "mixes", graph(
        """(float[N,6,4] boxes, float[N,1,6] scores) => (int64[M,3] y) {
            y = NonMaxSuppression(boxes, scores, most, iou) }""",
        most=ints(3), iou=np.array([0.5], np.float32)), {"boxes": 0, "scores": 0}, _boxes),
    Case("best_boxes", "selection", "independent", graph(
        """(float[N,6,4] boxes, float[N,1,6] scores) => (float[N,3,4] y) {
            s = Squeeze(scores, one) v, i = TopK<axis=1>(s, k) u = Unsqueeze(i, two) n = Shape<start=0, end=1>(boxes)
            shape = Concat<axis=0>(n, inner) e = Expand(u, shape) y = GatherElements<axis=1>(boxes, e) }""",
        one=ints(1), two=ints(2), k=ints(3), inner=ints(3, 4)), {"boxes": 0, "scores": 0}, _boxes),
    Case("noise_added", "random", "mixes", graph(
        "(float[N,8] x) => (float[N,8] y) { r = RandomNormalLike(x) y = Add(x, r) }"), _X, _ROW8),
    Case("noise_as_an_input", "random", "independent", graph(
        "(float[N,8] x, float[N,8] r) => (float[N,8] y) { y = Add(x, r) }"), {"x": 0, "r": 0},
        floats(x=(None, 8), r=(None, 8))),
    Case("noise_of_fixed_shape", "random", "mixes", graph(
        "(float[N,8] x) => (float[N,8] y) { r = RandomUniform<shape=[8]>() y = Add(x, r) }"), _X, _ROW8),
    Case("drawn_class", "random", "mixes", graph(
        "(float[N,8] x) => (int32[N,1] y) { y = Multinomial<sample_size=1>(x) }"), _X, _ROW8),
    Case("dropout_in_training", "random", "mixes", graph(
        "(float[N,8] x) => (float[N,8] y) { y = Dropout(x, half, yes) }", half=np.float32(0.5), yes=np.array(True)),
        _X, _ROW8),
    Case("dropout_in_inference", "random", "independent", graph(
        "(float[N,8] x) => (float[N,8] y) { y = Dropout(x, half) }", half=np.float32(0.5)), _X, _ROW8),
    Case("loop_of_fixed_steps", "loop", "independent", graph(
        """(float[N,8] x) => (float[N,8] y) {
            y = Loop(steps, yes, x) <body = b (int64 i, bool c, float[N,8] s) => (bool d, float[N,8] t) {
                d = Identity(c) t = Tanh(s) }> }""", steps=np.int64(3), yes=np.array(True)), _X, _ROW8),
    Case("loop_until_all_are_small", "loop", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            y = Loop(steps, yes, x) <body = b (int64 i, bool c, float[N,8] s) => (bool d, float[N,8] t) {
                t = Mul(s, half) a = Abs(t) m = ReduceMax<keepdims=0>(a) d = Greater(m, one) }> }""",
        steps=np.int64(9), yes=np.array(True), half=np.float32(0.5), one=np.float32(1)), _X, _ROW8),
    Case("scan_carries_over_rows", "loop", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            last, y = Scan(start, x) <num_scan_inputs=1,
                body = b (float[8] s, float[8] v) => (float[8] t, float[8] o) { t = Add(s, v) o = Identity(t) }> }""",
        start=np.zeros(8, np.float32)), _X, _ROW8),
    Case("scan_compares_each_row", "loop", "independent", graph(
        """(float[N,8] x) => (float[N,5] y) {
            last, y = Scan(points, x) <num_scan_inputs=1,
                body = b (float[5,8] s, float[8] v) => (float[5,8] t, float[5] o) {
                    t = Identity(s) d = Sub(s, v) o = ReduceSumSquare<axes=[1], keepdims=0>(d) }> }""",
        points=weights(5, 8)), _X, _ROW8),
    Case("constant_non_zero", "selection", "independent", graph(
        """(float[N,8] x) => (float[N,2] y) { i = NonZero(mask) f = Squeeze(i, zero) y = Gather<axis=1>(x, f) }""",
        mask=np.array([0, 1, 0, 0, 0, 1, 0, 0], np.int64), zero=ints(0)), _X, _ROW8),
]  # fmt: skip
