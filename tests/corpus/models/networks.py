"""Parts of neural networks: attention, recurrent layers, convolution, Einsum, merged and split axes."""

import numpy as np

from tests.corpus.models.building import Case, both, floats, graph, ints, weights, whole_numbers

_X = {"x": 0}
_ROW8 = floats(x=(None, 8))
_SEQUENCE = floats(x=(None, 5, 8))
_LSTM = {"w": weights(1, 24, 4), "r": weights(1, 24, 6)}
_TWO_LSTM = {"w": weights(2, 24, 4), "r": weights(2, 24, 6)}


def _first_and_second(seed: int) -> dict[str, np.ndarray]:
    return {"x": floats(x=(7, None, 4))(seed)["x"]}


CASES = [
    Case("self_attention_over_axis_0", "attention", "mixes", graph(
        """(float[T,8] x) => (float[T,8] y) {
            k = Transpose<perm=[1,0]>(x) s = MatMul(x, k) a = Softmax<axis=1>(s) y = MatMul(a, x) }"""), _X, _ROW8),
    Case("self_attention_inside", "attention", "independent", graph(
        """(float[N,T,8] x) => (float[N,T,8] y) {
            k = Transpose<perm=[0,2,1]>(x) s = MatMul(x, k) a = Softmax<axis=2>(s) y = MatMul(a, x) }"""),
        _X, _SEQUENCE),
    Case("attention_with_heads", "attention", "independent", graph(
        """(float[N,T,8] x) => (float[N,T,8] y) {
            q = MatMul(x, wq) s = Shape(x) n = Gather(s, zero) t = Gather(s, one)
            n1 = Unsqueeze(n, axis) t1 = Unsqueeze(t, axis) split = Concat<axis=0>(n1, t1, heads)
            h = Reshape(q, split) p = Transpose<perm=[0,2,1,3]>(h) k = Transpose<perm=[0,2,3,1]>(h)
            e = MatMul(p, k) a = Softmax<axis=-1>(e) o = MatMul(a, p) b = Transpose<perm=[0,2,1,3]>(o)
            joined = Concat<axis=0>(n1, t1, width) y = Reshape(b, joined) }""",
        wq=weights(8, 8), zero=np.int64(0), one=np.int64(1), axis=ints(0), heads=ints(2, 4), width=ints(8)),
        _X, _SEQUENCE),
    Case("attention_heads_merged_with_rows", "attention", "independent", graph(
        """(float[T,N,8] x) => (float[T,N,8] y) {
            s = Shape(x) t = Slice(s, zero, one) n = Slice(s, one, two)
            n2 = Mul(n, heads) split = Concat<axis=0>(t, n2, width)
            h = Reshape(x, split) p = Transpose<perm=[1,0,2]>(h) k = Transpose<perm=[1,2,0]>(h)
            e = BatchlessProduct(p, k) a = Softmax<axis=-1>(e) o = MatMul(a, p) b = Transpose<perm=[1,0,2]>(o)
            y = Reshape(b, s) }""".replace("BatchlessProduct", "MatMul"),
        zero=ints(0), one=ints(1), two=ints(2), heads=ints(2), width=ints(4)), {"x": 1}, floats(x=(7, None, 8))),
    Case("attention_over_the_wrong_axis", "attention", "mixes", graph(
        """(float[N,T,8] x) => (float[N,T,8] y) {
            q = Transpose<perm=[1,0,2]>(x) k = Transpose<perm=[1,2,0]>(x) s = MatMul(q, k) a = Softmax<axis=2>(s)
            o = MatMul(a, q) y = Transpose<perm=[1,0,2]>(o) }"""), _X, _SEQUENCE),
    Case("similarity_of_all_pairs", "attention", "mixes", graph(
        "(float[N,8] x) => (float[N,M] y) { y = Gemm<transB=1>(x, x) }"), _X, _ROW8),
    Case("fused_attention", "attention", "independent", graph(
        "(float[N,5,8] x) => (float[N,5,8] y) { y = com.microsoft.Attention<num_heads=2>(x, w, b) }",
        microsoft=True, w=weights(8, 24), b=weights(24)), _X, _SEQUENCE),
    Case("lstm_time_first", "recurrent", "mixes", graph(
        "(float[T,1,4] x) => (float[T,1,6] y) { a = LSTM<hidden_size=6>(x, w, r) y = Squeeze(a, one) }",
        one=ints(1), **_LSTM), _X, floats(x=(5, 1, 4))),
    Case("lstm_batch_second", "recurrent", "independent", graph(
        "(float[T,N,4] x) => (float[T,N,6] y) { a = LSTM<hidden_size=6>(x, w, r) y = Squeeze(a, one) }",
        one=ints(1), **_LSTM), {"x": 1}, _first_and_second),
    Case("lstm_batch_first_by_transpose", "recurrent", "independent", graph(
        """(float[N,T,4] x) => (float[N,T,6] y) {
            t = Transpose<perm=[1,0,2]>(x) a = LSTM<hidden_size=6>(t, w, r) b = Squeeze(a, one)
            y = Transpose<perm=[1,0,2]>(b) }""", one=ints(1), **_LSTM), _X, floats(x=(None, 5, 4))),
    Case("lstm_both_directions", "recurrent", "independent", graph(
        """(float[N,T,4] x) => (float[N,T,12] y) {
            t = Transpose<perm=[1,0,2]>(x) a = LSTM<hidden_size=6, direction="bidirectional">(t, w, r)
            b = Transpose<perm=[2,0,1,3]>(a) s = Shape(x) h = Slice(s, zero, two) f = Concat<axis=0>(h, width)
            y = Reshape(b, f) }""", zero=ints(0), two=ints(2), width=ints(12), **_TWO_LSTM),
        _X, floats(x=(None, 5, 4))),
    Case("gru_over_rows", "recurrent", "mixes", graph(
        """(float[N,4] x) => (float[N,6] y) {
            t = Unsqueeze(x, one) a = GRU<hidden_size=6>(t, w, r) y = Squeeze(a, rest) }""",
        one=ints(1), rest=ints(1, 2), w=weights(1, 18, 4), r=weights(1, 18, 6)), _X, floats(x=(None, 4))),
    Case("gru_last_state", "recurrent", "independent", graph(
        """(float[N,T,4] x) => (float[N,6] y) {
            t = Transpose<perm=[1,0,2]>(x) a, b = GRU<hidden_size=6>(t, w, r) y = Squeeze(b, zero) }""",
        zero=ints(0), w=weights(1, 18, 4), r=weights(1, 18, 6)), _X, floats(x=(None, 5, 4))),
    Case("convolution_over_rows", "convolution", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            t = Transpose<perm=[1,0]>(x) u = Unsqueeze(t, one) c = Conv<kernel_shape=[3], pads=[1,1]>(u, w)
            s = Squeeze(c, one) y = Transpose<perm=[1,0]>(s) }""", one=ints(1), w=weights(1, 1, 3)), _X, _ROW8),
    Case("convolution_inside", "convolution", "independent", graph(
        """(float[N,8] x) => (float[N,8] y) {
            u = Unsqueeze(x, one) c = Conv<kernel_shape=[3], pads=[1,1]>(u, w) y = Squeeze(c, one) }""",
        one=ints(1), w=weights(1, 1, 3)), _X, _ROW8),
    Case("pooling_over_rows", "convolution", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            t = Transpose<perm=[1,0]>(x) u = Unsqueeze(t, zero) c = MaxPool<kernel_shape=[3], pads=[1,1]>(u)
            s = Squeeze(c, zero) y = Transpose<perm=[1,0]>(s) }""", zero=ints(0)), _X, _ROW8),
    Case("small_image_classifier", "convolution", "independent", graph(
        """(float[N,3,8,8] x) => (float[N,5] y) {
            a = Conv<kernel_shape=[3,3], strides=[2,2]>(x, w) b = Relu(a) c = GlobalAveragePool(b) f = Flatten(c)
            l = Gemm<transB=1>(f, g, h) y = Softmax<axis=1>(l) }""",
        w=weights(4, 3, 3, 3), g=weights(5, 4), h=weights(5)), _X, floats(x=(None, 3, 8, 8))),
    Case("image_scaled_up", "convolution", "independent", graph(
        """(float[N,3,6,6] x) => (float[N,3,12,12] y) {
            s = Shape(x) a = Slice(s, zero, two) b = Concat<axis=0>(a, size)
            y = Resize<mode="linear">(x, none, none, b) }""",
        zero=ints(0), two=ints(2), size=ints(12, 12), none=np.zeros(0, np.float32)), _X, floats(x=(None, 3, 6, 6))),
    Case("einsum_inside", "einsum", "independent", graph(
        '(float[N,5,8] x) => (float[N,5,5] y) { y = Einsum<equation="btd,bsd->bts">(x, x) }'), _X, _SEQUENCE),
    Case("einsum_over_rows", "einsum", "mixes", graph(
        '(float[N,8] x) => (float[N,8] y) { g = Einsum<equation="bd,be->de">(x, x) y = MatMul(x, g) }'), _X, _ROW8),
    Case("einsum_of_all_pairs", "einsum", "mixes", graph(
        '(float[N,8] x) => (float[N,M] y) { y = Einsum<equation="bd,cd->bc">(x, x) }'), _X, _ROW8),
    Case("einsum_with_weights", "einsum", "independent", graph(
        '(float[N,5,8] x) => (float[N,5,3] y) { y = Einsum<equation="...d,dk->...k">(x, w) }', w=weights(8, 3)),
        _X, _SEQUENCE),
    Case("merged_with_time_and_split", "merged", "independent", graph(
        """(float[N,T,8] x) => (float[N,T,4] y) {
            s = Shape(x) n = Slice(s, zero, one) t = Slice(s, one, two) flat = Reshape(x, rows)
            g = Gemm(flat, w) back = Concat<axis=0>(n, t, width) y = Reshape(g, back) }""",
        zero=ints(0), one=ints(1), two=ints(2), rows=ints(-1, 8), w=weights(8, 4), width=ints(4)), _X, _SEQUENCE),
    Case("merged_with_time_and_softmax", "merged", "mixes", graph(
        """(float[N,5,8] x) => (float[N,5,8] y) {
            flat = Reshape(x, rows) a = Softmax<axis=0>(flat) y = Reshape(a, back) }""",
        rows=ints(-1, 8), back=ints(-1, 5, 8)), _X, _SEQUENCE),
    Case("merged_and_not_split", "merged", "mixes", graph(
        "(float[N,5,8] x) => (float[M,8] y) { y = Reshape(x, rows) }", rows=ints(-1, 8)), _X, _SEQUENCE),
    Case("split_in_another_order", "merged", "mixes", graph(
        """(float[N,4,8] x) => (float[A,4,8] y) {
            s = Shape(x) n = Slice(s, zero, one) shape = Concat<axis=0>(four, n, eight)
            a = Reshape(x, shape) y = Transpose<perm=[1,0,2]>(a) }""",
        zero=ints(0), one=ints(1), four=ints(4), eight=ints(8)), _X, floats(x=(None, 4, 8))),
    Case("flatten", "merged", "independent", graph(
        "(float[N,3,4] x) => (float[N,5] y) { f = Flatten<axis=1>(x) y = MatMul(f, w) }", w=weights(12, 5)),
        _X, floats(x=(None, 3, 4))),
    Case("flatten_from_axis_0", "merged", "mixes", graph(
        "(float[N,3,4] x) => (float[1,M] y) { y = Flatten<axis=0>(x) }"), _X, floats(x=(None, 3, 4))),
    Case("flipped_copy_averaged", "merged", "independent", graph(
        """(float[N,8] x) => (float[N,8] y) {
            r = Slice(x, last, low, one, last) a = Concat<axis=0>(x, r) b = Relu(a)
            c, d = Split<axis=0>(b) e = Add(c, d) y = Mul(e, half) }""",
        last=ints(-1), low=ints(-(2**31)), one=ints(1), half=np.float32(0.5)), _X, _ROW8),
    Case("two_inputs", "elementwise", "independent", graph(
        "(float[N,8] x, float[N,1] z) => (float[N,8] y) { a = Mul(x, z) y = Tanh(a) }"), {"x": 0, "z": 0},
        floats(x=(None, 8), z=(None, 1))),
    Case("row_values_against_columns", "elementwise", "mixes", graph(
        "(float[N,3] x, float[N] z) => (float[N,3] y) { t = Transpose<perm=[1,0]>(x) u = Unsqueeze(z, one) "
        "a = MatMul(t, u) b = Transpose<perm=[1,0]>(a) y = Sub(x, b) }", one=ints(1)), {"x": 0, "z": 0},
        floats(x=(None, 3), z=(None,))),
    Case("one_hot", "elementwise", "independent", graph(
        "(int64[N] i) => (float[N,5] y) { y = OneHot<axis=-1>(i, depth, v) }",
        depth=np.int64(5), v=np.array([0, 1], np.float32)), {"i": 0}, whole_numbers(0, 5, i=(None,))),
    Case("shared_input", "elementwise", "independent", graph(
        "(float[N,8] x, float[8] k) => (float[N,8] y) { y = Mul(x, k) }"), {"x": 0},
        both(_ROW8, lambda seed: {"k": weights(8)})),
]  # fmt: skip
