"""What the walk says of a model, and how a rule reports a node. Knows no rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What the graph alone shows."""

    INDEPENDENT = "independent"
    MIXES = "mixes"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict and the node that decided it.

    `node` is the node's name, or its operator and first output; empty for an independent model. `reason` is one
    sentence, `remedy` one short clause. `overrules_trial` is set for `UNKNOWN` at a value-gated, data-dependent or
    random node: a passed trial proves nothing there. `output_axes` gives the batch axis of each output, for an
    independent model only.
    """

    verdict: Verdict
    node: str = ""
    op_type: str = ""
    reason: str = ""
    remedy: str = ""
    overrules_trial: bool = False
    output_axes: Mapping[str, int] = field(default_factory=dict)


class MixesError(Exception):
    """A rule found that rows influence each other. `what` continues a sentence that starts with the node."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class UnclearError(Exception):
    """A rule cannot follow the batch axis through a node."""

    def __init__(self, what: str, remedy: str = "rely on the trial", *, overrules: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.overrules = overrules
