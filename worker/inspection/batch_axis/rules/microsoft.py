"""Fused operators of onnxruntime (com.microsoft), as its transformer optimiser writes them: rows lie on axis 0."""

from worker.inspection.batch_axis.findings import MixesError, UnclearError
from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.rules.images import RULES as IMAGES
from worker.inspection.batch_axis.rules.reductions import RULES as REDUCTIONS
from worker.inspection.batch_axis.rules.sequences import first_axis
from worker.inspection.batch_axis.values import Value

_ATTENTION = "attends over the batch axis"


def _skip_norm(node: Node) -> list[Value]:
    """Skip connections with layer normalisation over the last axis: input, skip, then parameters."""
    value, skip = node.input(0), node.input(1)
    if value.rows is None and skip.rows is None:
        return [node.out(None, None, index) for index in range(len(node.proto.output))]
    if value.rows != skip.rows or value.rank is None or value.rows is None:
        raise UnclearError("adds a tensor whose batch axis is not known to be the same")
    if value.rows.axis == value.rank - 1:
        raise MixesError("takes its statistics over the batch axis", "normalise over inner axes only")
    return [
        node.out(value.rows, value.dims if index in (0, 3) else None, index) for index in range(len(node.proto.output))
    ]


def _nhwc_pool(node: Node) -> Value:
    value = node.input()
    if value.rows is not None and value.rows.axis != 0:
        raise MixesError("combines neighbours along the batch axis", "put the batch axis first")
    return node.out(value.rows)


RULES: dict[tuple[str, str], Rule] = {
    **{("com.microsoft", name): _skip_norm for name in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")},
    ("com.microsoft", "LayerNormalization"): REDUCTIONS["", "LayerNormalization"],
    ("com.microsoft", "SimplifiedLayerNormalization"): REDUCTIONS["", "LayerNormalization"],
    ("com.microsoft", "EmbedLayerNormalization"): first_axis(data=(0, 1, 7, 8), what=_ATTENTION),
    ("com.microsoft", "Attention"): first_axis(0, 1, data=(0, 3, 5), what=_ATTENTION),
    ("com.microsoft", "QAttention"): first_axis(0, 1, data=(0, 5), what=_ATTENTION),
    ("com.microsoft", "MultiHeadAttention"): first_axis(data=(0, 1, 2, 4, 5, 6, 7), what=_ATTENTION),
    ("com.microsoft", "GroupQueryAttention"): first_axis(data=(0, 1, 2, 3, 4, 5), what=_ATTENTION),
    ("com.microsoft", "RotaryEmbedding"): first_axis(data=(0, 1), what=_ATTENTION),
    ("", "Attention"): first_axis(data=(0, 1, 2, 4, 5), what=_ATTENTION),
    ("", "RotaryEmbedding"): first_axis(data=(0, 1, 2, 3), what=_ATTENTION),
    ("com.microsoft", "NhwcMaxPool"): _nhwc_pool,
    ("com.microsoft", "NhwcConv"): first_axis(what="combines neighbours along the batch axis"),
    ("com.microsoft", "NhwcFusedConv"): first_axis(data=(0, 3), what="combines neighbours along the batch axis"),
    ("com.microsoft", "QLinearConv"): first_axis(what="combines neighbours along the batch axis"),
    ("com.microsoft", "QLinearAveragePool"): IMAGES["", "AveragePool"],
    ("com.microsoft", "GroupNorm"): first_axis(what="takes its statistics over the batch axis"),
    ("com.microsoft", "SkipGroupNorm"): first_axis(data=(0, 3), what="takes its statistics over the batch axis"),
}
