"""Operators whose work or whose output size depends on values of all rows, and operators that draw random numbers."""

from worker.inspection.batch_axis.findings import UnclearError
from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.rules.base import Rule
from worker.inspection.batch_axis.values import Value

_SIZE = "gives an output whose size depends on the values of all rows"
_FIXED_OUTPUT = "return outputs of a fixed size, and select after the answer"
_RANGE = "takes the range of its scale over the whole batch (dynamic quantisation)"
_STATIC = "quantise statically (quantize_static)"
_RANDOM = "draws random numbers"
_NO_RANDOM = "export without sampling, or send the random values as an input"

_VALUE_SIZED = ["NonZero", "NonMaxSuppression", "Unique", "Compress"]
_MICROSOFT_VALUE_SIZED = ["Unique", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"]
_DYNAMIC = ["DynamicQuantizeMatMul", "DynamicQuantizeLinear"]
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})


def _gated(what: str, remedy: str) -> Rule:
    """Return the rule of an operator that cannot be judged from the graph when its first input depends on rows."""

    def rule(node: Node) -> list[Value]:
        if any(value.data or value.unknown for value in node.present()):
            raise UnclearError(what, remedy, overrules=True)
        return [node.out(None, None, index) for index in range(len(node.proto.output))]

    return rule


def _random(_: Node) -> Value:
    raise UnclearError(_RANDOM, _NO_RANDOM, overrules=True)


RULES: dict[tuple[str, str], Rule] = {
    **{("", name): _gated(_SIZE, _FIXED_OUTPUT) for name in _VALUE_SIZED},
    **{("com.microsoft", name): _gated(_SIZE, _FIXED_OUTPUT) for name in _MICROSOFT_VALUE_SIZED},
    ("", "DynamicQuantizeLinear"): _gated(_RANGE, _STATIC),
    **{("com.microsoft", name): _gated(_RANGE, _STATIC) for name in _DYNAMIC},
    ("com.microsoft", "DynamicQuantizeLSTM"): _gated(_RANGE, _STATIC),
    **{("", name): _random for name in RANDOM},
}
# These are judged even behind a node that could not be followed.
GATED = frozenset(RULES)
