"""Classical models of ai.onnx.ml and text features, as scikit-learn converters write them."""

import numpy as np
import onnx

from tests.corpus.models.building import Case, floats, graph, ints, texts, weights

_X = {"x": 0}
_ROW3 = floats(x=(None, 3))
_LINEAR = """coefficients=[0.1, 0.4, -0.2, -0.3, 0.2, 0.6], intercepts=[0.1, -0.1], classlabels_ints=[0, 1],
    post_transform="SOFTMAX", multi_class=1"""
_TREE = """nodes_treeids=[0,0,0], nodes_nodeids=[0,1,2], nodes_featureids=[1,0,0], nodes_values=[0.2,0.0,0.0],
    nodes_modes=["BRANCH_LEQ","LEAF","LEAF"], nodes_truenodeids=[1,0,0], nodes_falsenodeids=[2,0,0]"""
_COUNTS = """mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0, ngram_counts=[0], ngram_indexes=[0,1,2],
    pool_strings=["good","bad","fine"]"""


def _zip_map() -> onnx.ModelProto:
    model = graph(
        f"""(float[N,3] x) => (int64[N] label, float[N,2] p) {{
            label, q = ai.onnx.ml.LinearClassifier<{_LINEAR}>(x)
            p = ai.onnx.ml.ZipMap<classlabels_int64s=[0, 1]>(q) }}""",
        ml=True,
    )
    element = onnx.helper.make_map_type_proto(
        onnx.TensorProto.INT64, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    model.graph.output[1].CopyFrom(onnx.helper.make_value_info("p", onnx.helper.make_sequence_type_proto(element)))
    return model


CASES = [
    Case("tree_ensemble", "trees", "independent", graph(
        f"""(float[N,3] x) => (float[N,1] y) {{
            y = ai.onnx.ml.TreeEnsembleRegressor<{_TREE}, n_targets=1, target_treeids=[0,0], target_nodeids=[1,2],
                target_ids=[0,0], target_weights=[1.0,-1.0]>(x) }}""", ml=True), _X, _ROW3),
    Case("tree_of_the_batch_mean", "trees", "mixes", graph(
        f"""(float[N,3] x) => (float[N,1] y) {{ m = ReduceMean<axes=[0]>(x) d = Sub(x, m)
            y = ai.onnx.ml.TreeEnsembleRegressor<{_TREE}, n_targets=1, target_treeids=[0,0], target_nodeids=[1,2],
                target_ids=[0,0], target_weights=[1.0,-1.0]>(d) }}""", ml=True), _X, _ROW3),
    Case("linear_classifier_with_zip_map", "linear", "independent", _zip_map(), _X, _ROW3),
    Case("scaler_and_regressor", "linear", "independent", graph(
        """(float[N,3] x) => (float[N,1] y) {
            s = ai.onnx.ml.Scaler<offset=[0.1,0.2,0.3], scale=[1.0,2.0,3.0]>(x)
            n = ai.onnx.ml.Normalizer<norm="L2">(s)
            y = ai.onnx.ml.LinearRegressor<coefficients=[0.3,0.1,-0.4], intercepts=[0.5], targets=1>(n) }""",
        ml=True), _X, _ROW3),
    Case("rows_as_features", "linear", "mixes", graph(
        """(float[4] x) => (float[1,1] y) {
            y = ai.onnx.ml.LinearRegressor<coefficients=[0.3,0.1,-0.4,0.2], intercepts=[0.5], targets=1>(x) }""",
        ml=True), _X, floats(x=(4,)), 4),
    Case("name_of_the_best_class", "labels", "independent", graph(
        """(float[N,3] x) => (string[N] y) {
            i = ArgMax<axis=1, keepdims=1>(x) a = ai.onnx.ml.ArrayFeatureExtractor(names, i) y = Reshape(a, flat) }""",
        ml=True, names=np.array(["a", "b", "c"], dtype=object), flat=ints(-1)), _X, _ROW3),
    Case("two_rows_picked", "labels", "mixes", graph(
        """(float[N,3] x) => (float[N,3] y) {
            t = Transpose<perm=[1,0]>(x) a = ai.onnx.ml.ArrayFeatureExtractor(t, first) b = Transpose<perm=[1,0]>(a)
            y = Sub(x, b) }""", ml=True, first=ints(0)), _X, _ROW3),
    Case("word_counts", "text", "independent", graph(
        f"""(string[N,4] x) => (float[N,2] y) {{
            c = TfIdfVectorizer<{_COUNTS}>(x) y = MatMul(c, w) }}""", w=weights(3, 2)), _X, texts(x=(None, 4))),
    Case("word_counts_of_all_rows", "text", "mixes", graph(
        f"""(string[N,4] x) => (float[N,3] y) {{
            f = Reshape(x, flat) c = TfIdfVectorizer<{_COUNTS}>(f) r = TfIdfVectorizer<{_COUNTS}>(x)
            y = Sub(r, c) }}""",
        flat=ints(-1)), _X, texts(x=(None, 4))),
    Case("texts_split_and_counted", "text", "independent", graph(
        f"""(string[N,1] x) => (float[N,2] y) {{
            f = Reshape(x, flat) s = com.microsoft.Tokenizer<mark=0, mincharnum=1, pad_value="#", separators=["o"]>(f)
            c = TfIdfVectorizer<{_COUNTS}>(s) y = MatMul(c, w) }}""",
        microsoft=True, flat=ints(-1), w=weights(3, 2)), _X, texts(x=(None, 1))),
    Case("texts_split", "text", "mixes", graph(
        """(string[N] x) => (string[N,M] y, int64[N] n) { y, n = StringSplit<delimiter="o">(x) }""", opset=20),
        _X, texts(x=(None,))),
    Case("label_encoder", "text", "independent", graph(
        """(string[N] x) => (int64[N] y) {
            y = ai.onnx.ml.LabelEncoder<keys_strings=["good","bad"], values_int64s=[1,2], default_int64=-1>(x) }""",
        ml=True), _X, texts(x=(None,))),
    Case("stop_words_left_out", "text", "mixes", graph(
        """(string[N] x) => (string[M] y) { y = StringNormalizer<stopwords=["good"], is_case_sensitive=1>(x) }"""),
        _X, texts(x=(None,))),
    Case("text_unchanged", "text", "independent", graph(
        """(string[N] x) => (string[N] y) { y = StringNormalizer<is_case_sensitive=1>(x) }"""),
        _X, texts(x=(None,))),
    Case("features_joined", "linear", "independent", graph(
        """(float[N,3] x, float[N,2] z) => (float[N,1] y) {
            f = ai.onnx.ml.FeatureVectorizer<inputdimensions=[3,2]>(x, z) y = MatMul(f, w) }""",
        ml=True, w=weights(5, 1)), {"x": 0, "z": 0}, floats(x=(None, 3), z=(None, 2))),
]  # fmt: skip
