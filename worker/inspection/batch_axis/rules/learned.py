"""The ai.onnx.ml domain: trees, linear models and the preparation of their features. Rows lie on axis 0."""

from dataclasses import replace

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, rank_of
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.sizes import Size
from worker.inspection.batch_axis.values import Value

_CLASSIFIERS = ["LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"]
_REGRESSORS = ["LinearRegressor", "SVMRegressor", "TreeEnsemble", "TreeEnsembleRegressor"]
_ELEMENTWISE = ["Binarizer", "CategoryMapper", "LabelEncoder"]
_SHAPE = "give it (rows, features)"
# Each has one stored value per feature, on the last axis.
_PER_FEATURE = ["Imputer", "Scaler"]


def _samples(node: Node) -> Value:
    """Return the input, (rows, features)."""
    value = node.input()
    if value.rows is not None and value.rows.axis != 0:
        raise MixesError("takes the rows for features", _SHAPE)
    if value.rows is not None and rank_of(value) == 1:
        raise MixesError("takes all rows for the features of one", _SHAPE)
    return value


def _classifier(node: Node) -> list[Value]:
    value = _samples(node)
    count = None if value.rows is None else value.rows.size
    labels = node.attribute("classlabels_int64s") or node.attribute("classlabels_ints")
    labels = labels or node.attribute("classlabels_strings") or ()
    width = Size(len(labels)) if labels and node.op_type != "SVMClassifier" else None
    return [node.out(value.rows, (count,)), node.out(value.rows, (count, width), 1)]


def _regressor(node: Node) -> Value:
    value = _samples(node)
    return node.out(value.rows, (None if value.rows is None else value.rows.size, None))


def _elementwise(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, value.dims)


def _per_feature(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and value.rows.axis == rank_of(value) - 1:
        raise MixesError("takes all rows for the features of one", _SHAPE)
    return node.out(value.rows, value.dims)


def _normalizer(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and (value.rows.axis != 0 or value.rank == 1):
        raise MixesError("normalises over the batch axis", _SHAPE)
    return node.out(value.rows, value.dims)


def _one_hot(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, None if value.dims is None else (*value.dims, None))


def _zip_map(node: Node) -> Value:
    return Value(rows=_samples(node).rows)


def _feature_vectorizer(node: Node) -> Value:
    values = node.present()
    if any(value.rows is not None and (value.rows.axis != 0 or value.rank == 1) for value in values):
        raise MixesError("takes all rows for the features of one", _SHAPE)
    rows = {value.rows for value in values}
    if len(rows) > 1:
        raise UnclearError("puts rows together with a stored value")
    return node.out(values[0].rows, (None, None))


def _text_counts(node: Node) -> Value:
    """TfIdfVectorizer counts n-grams along the last axis."""
    value = node.input()
    if value.rows is None:
        return node.out(None)
    if value.padding is not None and value.padding in node.attribute("pool_strings", []):
        raise UnclearError("counts the words that fill up shorter texts", "take the fill word out of the vocabulary")
    if rank_of(value) != 2 or value.rows.axis != 0:
        raise MixesError("takes the rows for the words of one text", "give it (rows, words)")
    return node.out(value.rows, (value.rows.size, None))


def _split_text(node: Node) -> list[Value]:
    """Tokenizer and StringSplit: a new last axis, filled up to the longest text of the batch."""
    value = node.input()
    tokens = node.out(value.rows, None if value.dims is None else (*value.dims, None))
    padding = node.attribute("pad_value", b"")
    return [replace(tokens, padding=padding), node.out(value.rows, value.dims, 1)]


RULES: dict[tuple[str, str], Rule] = {
    **{("ai.onnx.ml", name): _classifier for name in _CLASSIFIERS},
    **{("ai.onnx.ml", name): _regressor for name in _REGRESSORS},
    **{("ai.onnx.ml", name): _elementwise for name in _ELEMENTWISE},
    **{("ai.onnx.ml", name): _per_feature for name in _PER_FEATURE},
    ("ai.onnx.ml", "Normalizer"): _normalizer,
    ("ai.onnx.ml", "OneHotEncoder"): _one_hot,
    ("ai.onnx.ml", "FeatureVectorizer"): _feature_vectorizer,
    ("ai.onnx.ml", "ZipMap"): _zip_map,
    ("", "TfIdfVectorizer"): _text_counts,
    ("", "StringSplit"): _split_text,
    ("com.microsoft", "Tokenizer"): _split_text,
}
