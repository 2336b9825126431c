"""Whether a row's outcome depends on its neighbours: then it must run without any. Knows no file and no manifest."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from ferry.errors import ModelRefusedError
from ferry.tensors import Array
from worker.inspection.made_up_rows import Feed, take

# Part of an output's largest value by which kernels for one row and for several may differ: rounding of float32 in
# deep networks stays well below it, a row that sees its neighbours is far above.
_NEIGHBOUR_TOLERANCE = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-6}


@dataclass(frozen=True, slots=True)
class Dependence:
    """Why equal rows had unequal outcomes, for the manifest's notes; `max_rows` of one run where that must be less."""

    note: str
    max_rows: int | None = None


def find_dependence(
    session: ort.InferenceSession, rows: Feed, together: list[Array], fixed_rows: int | None
) -> Dependence | None:
    """Compare what rows gave together with what the first and the last give alone; None where that is the same.

    Alone means a run of one row, or copies of it where the batch axis is fixed. A model that answers the same rows
    differently each time (sampling) is not judged.

    Raises:
        ModelRefusedError: when rows depend on each other and `fixed_rows` leaves none alone.
    """
    again = session.run(None, rows)
    if any(_has_changed(one, other) for one, other in zip(together, again, strict=True)):
        return Dependence("the same rows give other results in each run: the model draws random numbers")
    for index in (0, len(together[0]) - 1):
        alone = session.run(None, take(rows, [index] * (fixed_rows or 1)))
        position = index if fixed_rows else 0
        pairs = zip(together, alone, strict=True)
        if not any(_has_changed(many[index : index + 1], one[position : position + 1]) for many, one in pairs):
            continue
        if fixed_rows is not None:
            raise ModelRefusedError(
                f"a row's outcome depends on the rows beside it, and the batch axis is fixed at {fixed_rows}, so none "
                "can run alone; re-export with a free batch axis, in inference mode (batch normalization not training)"
            )
        return Dependence(
            "a row's outcome depends on the rows beside it (batch statistics, dynamic quantization), so rows run one "
            "at a time; re-export in inference mode, or quantize statically, for full speed",
            max_rows=1,
        )
    return None


def _has_changed(one: Array, other: Array) -> bool:
    """Say whether two outcomes of the same rows differ by more than rounding."""
    if one.shape != other.shape:
        return True
    tolerance = _NEIGHBOUR_TOLERANCE.get(one.dtype.name)
    if tolerance is None:
        return not np.array_equal(one, other)
    finite = np.abs(one[np.isfinite(one)])
    largest = float(finite.max()) if finite.size else 0.0
    return not np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
