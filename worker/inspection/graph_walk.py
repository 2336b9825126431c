"""What a walk of the graph says of the rows, as the decision needs it. Knows no operator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


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


# Takes the batch axis of each input that has rows.
Walk = Callable[[Mapping[str, int]], Finding]


def cannot_tell(_batch_axes: Mapping[str, int]) -> Finding:
    """Return the finding where no graph is walked: the trial decides alone."""
    return Finding(Verdict.UNKNOWN)
