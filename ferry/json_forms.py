"""The forms in which people write the input of a job in JSON, brought to one: a value for each input, by its name.

Beside that one form (`{"x": [[1, 2]]}`) a model with one input takes the bare value (`[[1, 2]]`), and a model whose
inputs have their rows first takes a list of rows (`[{"age": 30}, {"age": 40}]`). What a model takes is shown in errors.
Knows the manifest, and nothing of elements, shapes and HTTP.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ferry.json_elements import WrongFormError, kind_of, show
from ferry.manifest import Manifest, TensorSpec

# An example with so many elements is spelled out; of a larger one each axis shows one entry, a short last axis all.
_MAX_ELEMENTS = 8
_MAX_ENTRIES = 4
# The rows, and the one element of each.
_COLUMN_AXES = 2
# Inputs that an example spells out.
_MAX_INPUTS = 8


class NamedInputs(NamedTuple):
    """A value for each input.

    are_rows: it was a list of rows, so that every value has the batch axis, as the first. is_bare: the value itself.
    """

    values: Mapping[str, Any]
    are_rows: bool = False
    is_bare: bool = False

    def pointer_to(self, name: str, pointer: str) -> str:
        """Return where the value of an input is, in the whole at `pointer`."""
        return pointer if self.is_bare else f"{pointer}/{escape_pointer(name)}"


def named_inputs(manifest: Manifest, value: Any, pointer: str) -> NamedInputs:
    """Return the value of every input of the model, by its name.

    Raises:
        WrongFormError: it has none of the forms, or other inputs than the model.
    """
    if isinstance(value, Mapping):
        _check_names(manifest, value, pointer)
        return NamedInputs(value)
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return NamedInputs(_by_name(manifest, value, pointer), are_rows=True)
    if len(manifest.inputs) == 1 and value is not None:
        return NamedInputs({manifest.inputs[0].name: value}, is_bare=True)
    raise WrongFormError.at(pointer, f"expected an object of inputs by name, got {kind_of(value)}")


def takes_rows(manifest: Manifest) -> bool:
    """Say whether a list of rows has one reading: every input has its rows along the first axis."""
    return (manifest.is_batched or manifest.has_rows) and all(spec.batch_axis == 0 for spec in manifest.inputs)


def is_column(spec: TensorSpec) -> bool:
    """Say whether a row of an input is a list of one element, so that it can be written without the list."""
    return len(spec.shape) == _COLUMN_AXES and spec.batch_axis is not None and spec.shape[1 - spec.batch_axis] == 1


def column_shape(spec: TensorSpec, n_rows: int) -> tuple[int, ...]:
    """Return the shape of rows of one element in the layout of the model, whose input `is_column`."""
    return (1, n_rows) if spec.batch_axis else (n_rows, 1)


def accepted_form(manifest: Manifest) -> str:
    """Return what the `input` of a job for this model looks like, as the end of an error."""
    specs = manifest.inputs[:_MAX_INPUTS]
    more = ["..."] if len(manifest.inputs) > _MAX_INPUTS else []
    named = ", ".join([*(f"{json.dumps(spec.name)}: {_example(spec)}" for spec in specs), *more])
    forms = [f"{{{named}}}"]
    if len(manifest.inputs) == 1:
        forms.append(_example(specs[0]))
    elif takes_rows(manifest) and all(spec.inner_shape in {(), (1,)} for spec in manifest.inputs):
        cells = ", ".join([*(f"{json.dumps(spec.name)}: {_element(spec)}" for spec in specs), *more])
        forms.append(f"[{{{cells}}}]")
    return f"{manifest.ref} takes {' or '.join(forms)}"


def accepted_row(spec: TensorSpec) -> str:
    """Return what one row of an input looks like, without the batch axis."""
    return _nested([1 if size is None else size for size in spec.inner_shape], _element(spec))


def filler_of(spec: TensorSpec) -> float | str | bool:
    """Return an element that an input takes: the least of its range, 0, false or "text"."""
    if spec.is_string:
        return "text"
    if spec.dtype == "bool":
        return False
    least = spec.range[0] if spec.range else 0
    return float(least) if spec.dtype.startswith("float") else math.ceil(least)


def _check_names(manifest: Manifest, value: Mapping[str, Any], pointer: str) -> None:
    names = [spec.name for spec in manifest.inputs]
    if value.keys() == set(names):
        return
    listed = ", ".join(repr(name) for name in names)
    for name in value:
        if name not in names:
            detail = f"{manifest.ref} has no input {show(name)}; its inputs are {listed}"
            raise WrongFormError.at(f"{pointer}/{escape_pointer(name)}", detail)
    for name in names:
        if name not in value:
            detail = f"input {name!r} is missing; {manifest.ref} needs {listed}"
            raise WrongFormError.at(f"{pointer}/{escape_pointer(name)}", detail)


def _by_name(manifest: Manifest, rows: Sequence[Any], pointer: str) -> Mapping[str, Any]:
    """Return the columns of a list of rows."""
    if not takes_rows(manifest):
        detail = f"got a list of rows, but not every input of {manifest.ref} has its rows along the first axis"
        raise WrongFormError.at(pointer, detail)
    names = {spec.name for spec in manifest.inputs}
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise WrongFormError.at(f"{pointer}/{at}", f"expected a row as an object, got {kind_of(row)}")
        if row.keys() != names:
            _check_names(manifest, row, f"{pointer}/{at}")
    return {name: column_of(rows, name) for name in names}


def column_of(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the cells of one input with the batch axis, as one array where they all are arrays that fit together."""
    cells = [row[name] for row in rows]
    arrays = [cell for cell in cells if isinstance(cell, np.ndarray)]
    if not arrays:
        return cells
    if len(arrays) == len(cells) and len({(array.shape, array.dtype) for array in arrays}) == 1:
        return np.stack(arrays)
    return [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in cells]


def _example(spec: TensorSpec) -> str:
    """Return one row of an input with the batch axis, in the model's own layout."""
    if spec.has_any_rank:
        return f"[{_element(spec)}, ...]"
    return _nested([1 if size is None else size for size in spec.shape], _element(spec))


def _nested(shape: Sequence[int], element: str) -> str:
    text, is_small = element, math.prod(shape) <= _MAX_ELEMENTS
    for place, size in enumerate(reversed(shape)):
        if is_small or (size <= _MAX_ENTRIES and place == 0):
            text = f"[{', '.join([text] * size)}]"
        elif size == 1:
            text = f"[{text}]"
        else:
            text = f"[{text}, ... {size} in all]"
    return text


def _element(spec: TensorSpec) -> str:
    return json.dumps(filler_of(spec))


def escape_pointer(name: str) -> str:
    """Escape a member name for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
