"""Numbered members of a line of JSON (x_0, x_1, ... or x.0, x[0]) put together to the input that they are elements of.

Data frames write them: `to_json(orient="records", lines=True)`. Knows names, no values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ferry.bulk.formats.columns import numbered_columns
from ferry.manifest import Manifest


class NumberedMembers:
    """The numbered members that the inputs of a model can have."""

    def __init__(self, manifest: Manifest) -> None:
        self._inputs = [
            (spec.name, [size or 0 for size in spec.inner_shape], numbered_columns(spec))
            for spec in manifest.inputs
            if spec.batch_axis is not None
        ]

    def gathered(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a line's members, where all elements of an input are there with one row of it in their place."""
        for name, shape, ways in self._inputs:
            for names in ways:
                if names[0] in fields and name not in fields and all(each in fields for each in names):
                    left_out = set(names)
                    rest = {key: value for key, value in fields.items() if key not in left_out}
                    fields = rest | {name: _nested([fields[each] for each in names], shape)}
                    break
        return fields


def _nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """Return elements in row order as nested lists."""
    if not shape:
        return values[0]
    if len(shape) == 1:
        return list(values)
    step = math.prod(shape[1:])
    return [_nested(values[start : start + step], shape[1:]) for start in range(0, len(values), step)]
