"""What rules share: their type, and the words for faults that several of them find."""

from collections.abc import Callable, Sequence

from worker.inspection.batch_axis.node import Node
from worker.inspection.batch_axis.values import Value

# A rule returns the output, or the outputs in order. It raises MixesError or UnclearError.
Rule = Callable[[Node], Value | Sequence[Value]]

ROW_CONSTANT = (
    "combines each row with a stored value of its own, chosen by the row's position in the batch",
    "store values per inner position only; if axis 0 is a sequence, add a batch axis in front of it",
)
FIXED_SIZE = (
    "has a fixed number of rows built in",
    "re-export with a free batch axis (dynamic_axes / dynamic_shapes)",
)
OVER_ROWS = "keep the batch axis out of the operation's axes"
EVALUATION = "export in evaluation mode (model.eval())"
BATCH_FIRST = "export with batch_first=True, so that axis 0 is the batch axis"
