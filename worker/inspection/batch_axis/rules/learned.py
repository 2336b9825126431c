"""The ai.onnx.ml domain: trees, linear models and the preparation of their features. Rows lie on axis 0."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node, rank_of
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.rules.sequences import first_axis
from worker.inspection.batch_axis.values import Value

_MODELS = ["LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"]
_ELEMENTWISE = ["Binarizer", "CategoryMapper", "LabelEncoder"]
# Each has one stored value per feature, on the last axis.
_PER_FEATURE = ["Imputer", "Scaler"]


def _elementwise(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, value.dims)


def _per_feature(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and value.rows.axis == rank_of(value) - 1:
        raise MixesError("takes the rows for the features of one row", "give it (rows, features)")
    return node.out(value.rows, value.dims)


def _normalizer(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and (value.rows.axis != 0 or value.rank == 1):
        raise MixesError("normalises over the batch axis", "give it (rows, features)")
    return node.out(value.rows, value.dims)


def _one_hot(node: Node) -> Value:
    value = node.input()
    return node.out(value.rows, None if value.dims is None else (*value.dims, None))


def _feature_vectorizer(node: Node) -> Value:
    values = node.present()
    if any(value.rows is not None and (value.rows.axis != 0 or value.rank == 1) for value in values):
        raise MixesError("takes the rows for the features of one row", "give it (rows, features)")
    rows = {value.rows for value in values}
    if len(rows) > 1:
        raise UnclearError("puts rows together with a stored value")
    return node.out(values[0].rows, (None, None))


def _text_counts(node: Node) -> Value:
    """TfIdfVectorizer counts n-grams along the last axis."""
    value = node.input()
    if value.rows is None:
        return node.out(None)
    if rank_of(value) != 2 or value.rows.axis != 0:
        raise MixesError("takes the rows for the words of one text", "give it (rows, words)")
    assert value.dims is not None
    return node.out(value.rows, (value.dims[0], None))


RULES: dict[tuple[str, str], Rule] = {
    **{("ai.onnx.ml", name): first_axis() for name in _MODELS},
    **{("ai.onnx.ml", name): _elementwise for name in _ELEMENTWISE},
    **{("ai.onnx.ml", name): _per_feature for name in _PER_FEATURE},
    ("ai.onnx.ml", "Normalizer"): _normalizer,
    ("ai.onnx.ml", "OneHotEncoder"): _one_hot,
    ("ai.onnx.ml", "FeatureVectorizer"): _feature_vectorizer,
    ("ai.onnx.ml", "ZipMap"): first_axis(),
    ("", "TfIdfVectorizer"): _text_counts,
}
