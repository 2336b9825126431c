"""The rules, one module per family of operators. Knows nothing of how a graph is walked."""

from worker.inspection.batch_axis.rules import (
    broadcasting,
    constants,
    contractions,
    gated,
    gathering,
    images,
    joining,
    layout,
    learned,
    microsoft,
    quantisation,
    reductions,
    reshape,
    sequences,
)
from worker.inspection.batch_axis.rules.base import Rule

_MODULES = (
    broadcasting,
    constants,
    contractions,
    gated,
    gathering,
    images,
    joining,
    layout,
    learned,
    microsoft,
    quantisation,
    reductions,
    reshape,
    sequences,
)
# By domain ("" is ai.onnx) and operator.
RULES: dict[tuple[str, str], Rule] = {key: rule for module in _MODULES for key, rule in module.RULES.items()}
# Inputs that give sizes, bounds or axes and hold no data: what they say of the number of rows is no influence.
SHAPE_INPUTS: dict[tuple[str, str], tuple[int, ...]] = {
    ("", "Reshape"): (1,),
    ("", "Expand"): (1,),
    ("", "ConstantOfShape"): (0,),
    ("", "Slice"): (1, 2, 3, 4),
    ("", "Split"): (1,),
    ("", "Squeeze"): (1,),
    ("", "Unsqueeze"): (1,),
    ("", "Tile"): (1,),
    ("", "Pad"): (1, 3),
    ("", "Resize"): (1, 2, 3),
    ("", "Upsample"): (1,),
    ("", "TopK"): (1,),
    ("", "OneHot"): (1,),
    ("", "CumSum"): (1,),
    ("", "CastLike"): (1,),
    ("", "EyeLike"): (0,),
    ("", "AffineGrid"): (1,),
    ("", "CenterCropPad"): (1,),
}
# The entries of their results are those of the first input, whatever the shape inputs say.
SAME_CONTENT = frozenset(
    {("", name) for name in ("CastLike", "ConstantOfShape", "Expand", "Reshape", "Squeeze", "Tile", "Unsqueeze")}
)
# They change the shape alone: what fills up a tensor fills up their result.
KEEPS_ENTRIES = frozenset({("", name) for name in ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")})
