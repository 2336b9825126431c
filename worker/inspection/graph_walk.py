"""What a walk of the graph says of the rows, as the decision needs it. Knows no operator."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import onnx


class Verdict(StrEnum):
    """What the graph alone shows."""

    INDEPENDENT = "independent"
    MIXES = "mixes"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict and the node that decided it; `overrules_trial`: a passed trial proves nothing at this node."""

    verdict: Verdict
    node: str = ""
    op_type: str = ""
    reason: str = ""
    remedy: str = ""
    overrules_trial: bool = False


def walk(model: onnx.ModelProto, batch_axes: Mapping[str, int]) -> Finding:
    """Say what the graph shows; `batch_axes` names the batch axis of each input that has rows."""
    del model, batch_axes
    return Finding(Verdict.UNKNOWN)
