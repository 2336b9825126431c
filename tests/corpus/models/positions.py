"""Rows that see the place or the content of other rows: positions, references, rolls, gathers, padding."""

import numpy as np

from tests.corpus.models.building import Case, both, floats, graph, ints, weights, whole_numbers

_X = {"x": 0}
_ROW8 = floats(x=(None, 8))
_INF = 2**31 - 1


def _rows8(body: str, **rest) -> object:
    return graph(f"(float[N,8] x) => (float[N,8] y) {{ {body} }}", **rest)


def _lengths(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    n_rows = 1 + seed % 3
    return {"x": rng.normal(size=(n_rows, 6, 2)).astype(np.float32), "n": rng.integers(1 + seed % 5, 7, (n_rows,))}


CASES = [
    Case("position_added_fixed_4", "position", "mixes", graph(
        "(float[4,8] x) => (float[4,8] y) { y = Add(x, p) }", p=weights(4, 8)), _X, floats(x=(4, 8)), 4),
    Case("position_added_inside", "position", "independent", graph(
        "(float[N,4,8] x) => (float[N,4,8] y) { y = Add(x, p) }", p=weights(4, 8)), _X, floats(x=(None, 4, 8))),
    Case("position_table_cut_to_the_rows", "position", "mixes", _rows8(
        "s = Shape<start=0, end=1>(x) p = Slice(table, zero, s, zero) y = Add(x, p)",
        table=weights(64, 8), zero=ints(0)), _X, _ROW8),
    Case("position_table_cut_to_the_time", "position", "independent", graph(
        """(float[N,T,8] x) => (float[N,T,8] y) {
            s = Shape<start=1, end=2>(x) p = Slice(table, zero, s, zero) y = Add(x, p) }""",
        table=weights(64, 8), zero=ints(0)), _X, floats(x=(None, 5, 8))),
    Case("row_number_added", "position", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            s = Shape(x) n = Gather(s, zero) r = Range(zero, n, one) f = Cast<to=1>(r) c = Unsqueeze(f, ones)
            y = Add(x, c) }""", zero=np.int64(0), one=np.int64(1), ones=ints(1)), _X, _ROW8),
    Case("time_number_added", "position", "independent", graph(
        """(float[N,T,8] x) => (float[N,T,8] y) {
            s = Shape(x) n = Gather(s, one) r = Range(zero, n, one) f = Cast<to=1>(r) c = Unsqueeze(f, ones)
            y = Add(x, c) }""", zero=np.int64(0), one=np.int64(1), ones=ints(1)), _X, floats(x=(None, 5, 8))),
    Case("position_embedding_by_row_number", "position", "mixes", graph(
        """(float[N,8] x) => (float[N,8] y) {
            s = Shape(x) n = Gather(s, zero) r = Range(zero, n, one) p = Gather(table, r) y = Add(x, p) }""",
        zero=np.int64(0), one=np.int64(1), table=weights(64, 8)), _X, _ROW8),
    Case("first_row_reference", "reference", "mixes", _rows8(
        "f = Gather<axis=0>(x, first) y = Sub(x, f)", first=ints(0)), _X, _ROW8),
    Case("first_row_by_slice", "reference", "mixes", _rows8(
        "f = Slice(x, zero, one, zero) y = Sub(x, f)", zero=ints(0), one=ints(1)), _X, _ROW8),
    Case("first_feature_reference", "reference", "independent", _rows8(
        "f = Gather<axis=1>(x, first) y = Sub(x, f)", first=ints(0)), _X, _ROW8),
    Case("roll_between_rows", "roll", "mixes", _rows8(
        "a = Slice(x, last, inf, zero) b = Slice(x, zero, last, zero) r = Concat<axis=0>(a, b) y = Add(x, r)",
        last=ints(-1), inf=ints(_INF), zero=ints(0)), _X, _ROW8),
    Case("roll_inside", "roll", "independent", _rows8(
        "a = Slice(x, last, inf, one) b = Slice(x, zero, last, one) r = Concat<axis=1>(a, b) y = Add(x, r)",
        last=ints(-1), inf=ints(_INF), zero=ints(0), one=ints(1)), _X, _ROW8),
    Case("rows_reversed", "roll", "mixes", _rows8(
        "r = Slice(x, last, low, zero, last) y = Add(x, r)", last=ints(-1), low=ints(-_INF), zero=ints(0)), _X, _ROW8),
    Case("whole_slice_of_the_rows", "roll", "independent", graph(
        "(float[N,8] x) => (float[N,4] y) { y = Slice(x, starts, ends, axes) }",
        starts=ints(0, 2), ends=ints(_INF, 6), axes=ints(0, 1)), _X, _ROW8),
    Case("difference_of_neighbours", "roll", "mixes", _rows8(
        """a = Slice(x, one, inf, zero) f = Slice(x, zero, one, zero) b = Slice(x, zero, last, zero)
        d = Sub(a, b) y = Concat<axis=0>(f, d)""",
        one=ints(1), inf=ints(_INF), zero=ints(0), last=ints(-1)), _X, _ROW8),
    Case("rows_picked_by_an_input", "gather", "mixes", graph(
        "(float[N,8] x, int64[N] i) => (float[N,8] y) { y = Gather<axis=0>(x, i) }"), {"x": 0, "i": 0},
        both(_ROW8, lambda seed: {"i": np.arange(1 + seed % 3)[::-1].copy()})),
    Case("embedding_by_id", "gather", "independent", graph(
        "(int64[N,3] ids) => (float[N,3,4] y) { y = Gather(table, ids) }", table=weights(50, 4)),
        {"ids": 0}, whole_numbers(0, 50, ids=(None, 3))),
    Case("picked_inside_the_row", "gather", "independent", graph(
        "(float[N,8] x, int64[N,2] i) => (float[N,2] y) { y = GatherElements<axis=1>(x, i) }"), {"x": 0, "i": 0},
        both(_ROW8, whole_numbers(0, 8, i=(None, 2)))),
    Case("picked_across_the_rows", "gather", "mixes", graph(
        "(float[N,8] x, int64[N,8] i) => (float[N,8] y) { y = GatherElements<axis=0>(x, i) }"), {"x": 0, "i": 0},
        both(_ROW8, whole_numbers(-1, 0, i=(None, 8)))),
    Case("last_step_by_row_number", "gather", "independent", graph(
        """(float[N,6,2] x, int64[N] n) => (float[N,2] y) {
            s = Shape(x) rows = Gather(s, zero) r = Range(zero, rows, one) l = Sub(n, one)
            a = Unsqueeze(r, ones) b = Unsqueeze(l, ones) i = Concat<axis=1>(a, b) y = GatherND(x, i) }""",
        zero=np.int64(0), one=np.int64(1), ones=ints(1)), {"x": 0, "n": 0}, _lengths),
    Case("picked_with_batch_dims", "gather", "independent", graph(
        "(float[N,6,2] x, int64[N,1] i) => (float[N,2] y) { y = GatherND<batch_dims=1>(x, i) }"), {"x": 0, "i": 0},
        both(floats(x=(None, 6, 2)), whole_numbers(0, 6, i=(None, 1)))),
    Case("padding_to_the_longest", "padding", "mixes", graph(
        """(float[N,6,2] x, int64[N] n) => (float[N,M,2] y) {
            m = ReduceMax<axes=[0], keepdims=1>(n) y = Slice(x, zero, m, one) }""",
        opset=17, zero=ints(0), one=ints(1)), {"x": 0, "n": 0}, _lengths),
    Case("masking_to_the_length", "padding", "independent", graph(
        """(float[N,6,2] x, int64[N] n) => (float[N,6,2] y) {
            c = Unsqueeze(n, ones) k = Less(steps, c) m = Unsqueeze(k, twos) y = Where(m, x, nothing) }""",
        steps=np.arange(6), ones=ints(1), twos=ints(2), nothing=np.float32(0)), {"x": 0, "n": 0}, _lengths),
    Case("a_row_added_in_front", "padding", "mixes", graph(
        "(float[N,8] x) => (float[M,8] y) { y = Concat<axis=0>(token, x) }", token=weights(1, 8)), _X, _ROW8),
    Case("class_token_in_front", "padding", "independent", graph(
        """(float[N,4,8] x) => (float[N,5,8] y) {
            s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, inner) c = Expand(token, t)
            y = Concat<axis=1>(c, x) }""",
        inner=ints(1, 8), token=weights(1, 1, 8)), _X, floats(x=(None, 4, 8))),
    Case("rows_padded", "padding", "mixes", graph(
        "(float[N,8] x) => (float[M,8] y) { y = Pad(x, pads) }", pads=ints(1, 0, 0, 0)), _X, _ROW8),
    Case("features_padded", "padding", "independent", graph(
        "(float[N,8] x) => (float[N,10] y) { y = Pad(x, pads) }", pads=ints(0, 1, 0, 1)), _X, _ROW8),
    Case("written_into_the_first_row", "scatter", "mixes", _rows8(
        "y = ScatterND(x, i, u)", i=np.array([[0]]), u=weights(1, 8)), _X, _ROW8),
    Case("written_inside_the_row", "scatter", "independent", graph(
        "(float[N,8] x, int64[N,2] i, float[N,2] u) => (float[N,8] y) { y = ScatterElements<axis=1>(x, i, u) }"),
        {"x": 0, "i": 0, "u": 0},
        both(floats(x=(None, 8), u=(None, 2)), lambda seed: {"i": np.tile(ints(5, 2), (1 + seed % 3, 1))})),
    Case("made_up_ids_do_not_run", "reference", "mixes", graph(
        """(int64[N,3] ids) => (float[N,3,4] y) {
            i = Sub(ids, k) e = Gather(table, i) m = ReduceMean<axes=[0]>(e) y = Sub(e, m) }""",
        k=np.int64(1000), table=weights(50, 4)), {"ids": 0}, whole_numbers(1000, 1049, ids=(None, 3))),
    Case("ids_from_1000", "reference", "independent", graph(
        """(int64[N,3] ids) => (float[N,3,4] y) {
            i = Sub(ids, k) e = Gather(table, i) m = ReduceMean<axes=[1]>(e) y = Sub(e, m) }""",
        k=np.int64(1000), table=weights(50, 4)), {"ids": 0}, whole_numbers(1000, 1049, ids=(None, 3))),
]  # fmt: skip
