"""The inputs of a job from JSON: nested lists to checked arrays. Knows the manifest, nothing of HTTP or Redis.

A parser that already made an array of many numbers (api/json_arrays.py) spares the lists; when such an array is not
what the manifest says, it is taken apart again, so that errors are found and worded in one place.
Every fault names the field by a JSON pointer, says what was expected and what came.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferry.errors import InvalidInputError
from ferry.json_elements import WrongFormError, axes_of, cast, depth_of, fits, flatten, kind_of, to_array
from ferry.json_forms import (
    NamedInputs,
    accepted_form,
    accepted_row,
    column_of,
    column_shape,
    escape_pointer,
    is_column,
    named_inputs,
)
from ferry.manifest import Manifest, TensorSpec
from ferry.tensors import Array, model_layout, rows_first


@dataclass(frozen=True, slots=True)
class Rows:
    """The inputs of one job, in the manifest's order.

    Shape: batched, each array (n_rows, *inner). A whole job: each array as the model takes it, and n_rows is 1.
    single: the caller left the batch axis out.
    """

    arrays: list[Array]
    n_rows: int
    single: bool


def read_inputs(manifest: Manifest, value: Any, pointer: str = "#/input") -> Rows:
    """Check the input of a job, in any form of `ferry.json_forms`, against the manifest.

    The arrays are in the model's own layout. A value one axis short for every input is one row without its batch axis.
    Of a value there are nested lists, or an int64, uint64 or float64 array.

    Raises:
        InvalidInputError: with a pointer to the field at fault; where the form is wrong, with the form that is right.
    """
    try:
        named = named_inputs(manifest, value, pointer)
        try:
            return _read_named(manifest, named, pointer)
        except InvalidInputError as error:
            if named.are_rows:
                _raise_for_row(manifest, value, pointer)
                raise type(error).at(pointer, error.detail) from None
            raise
    except WrongFormError as error:
        detail = f"{error.detail}; {accepted_form(manifest)}"
        raise InvalidInputError.at(error.faults[0].pointer, detail) from None


def _read_named(manifest: Manifest, named: NamedInputs, pointer: str) -> Rows:
    is_batched = manifest.is_batched
    may_be_row = not named.are_rows and (is_batched or manifest.has_rows)
    arrays, singles = [], []
    for spec in manifest.inputs:
        where = named.pointer_to(spec.name, pointer)
        value = named.values[spec.name]
        array, is_single = _read_tensor(spec, value, where, is_batched=is_batched, may_be_row=may_be_row)
        arrays.append(rows_first(spec, array) if is_batched else array)
        singles.append(is_single)
    single = _agreed(singles, pointer) and not named.are_rows
    if not is_batched:
        return Rows(arrays, 1, single)
    n_rows = arrays[0].shape[0]
    if any(array.shape[0] != n_rows for array in arrays):
        counts = zip(manifest.inputs, arrays, strict=True)
        listed = ", ".join(f"{spec.name}: {array.shape[0]}" for spec, array in counts)
        raise InvalidInputError.at(pointer, f"inputs have different numbers of rows ({listed})")
    check_rows(manifest, n_rows, pointer)
    return Rows(arrays, n_rows, single)


def _agreed(singles: Sequence[bool | None], pointer: str) -> bool:
    """Return whether the inputs leave the batch axis out. None: an input of one element can be read both ways."""
    if len(singles) == 1:
        return singles[0] is not False
    sure = {single for single in singles if single is not None}
    if len(sure) > 1:
        raise WrongFormError.at(pointer, "some inputs have the batch axis and some do not; give it to all or to none")
    return sure.pop() if sure else True


def _raise_for_row(manifest: Manifest, rows: Sequence[Mapping[str, Any]], pointer: str) -> None:
    """Raise the error of one of a list of rows, with a pointer to it; return if no row is wrong by itself.

    Halves the rows until one is left: a check of each by itself takes 10 µs a row, this a few times the first check.
    It is the first wrong row, except where rows of different shapes come before it.
    """
    start, stop = 0, len(rows)
    while stop - start > 1:
        middle = (start + stop) // 2
        if _are_right(manifest, rows[start:middle], pointer):
            start = middle
        else:
            stop = middle
    for spec in manifest.inputs:
        where = f"{pointer}/{start}/{escape_pointer(spec.name)}"
        try:
            _read_tensor(spec, rows[start][spec.name], where, is_batched=manifest.is_batched, may_be_row=True)
        except InvalidInputError as error:
            raise type(error).at(where, f"row {start + 1}: {error.detail}") from None


def _are_right(manifest: Manifest, rows: Sequence[Mapping[str, Any]], pointer: str) -> bool:
    """Say whether rows are right together."""
    try:
        for spec in manifest.inputs:
            column = column_of(rows, spec.name)
            _read_tensor(spec, column, pointer, is_batched=manifest.is_batched, may_be_row=False)
    except InvalidInputError:
        return False
    return True


def check_rows(manifest: Manifest, n_rows: int, pointer: str) -> None:
    """Refuse a job without rows or with too many."""
    limit = manifest.batching.max_job_rows
    if n_rows == 0:
        raise InvalidInputError.at(pointer, "0 rows: a job needs at least one")
    if n_rows > limit:
        raise InvalidInputError.at(pointer, f"{n_rows} rows, the limit of {manifest.ref} is {limit}; send several jobs")


def read_flat_input(manifest: Manifest, value: Any, pointer: str) -> Rows:
    """Read the one input of a model: one row whose axes may be nested or flat. Without rows: the whole tensor, so too.

    Raises:
        InvalidInputError: with `pointer`; where the form is wrong, with the form that is right.
    """
    spec = manifest.inputs[0]
    try:
        if manifest.is_batched or manifest.has_rows:
            row = read_flat_row(spec, value, pointer)
            return Rows([row if manifest.is_batched else model_layout(spec, row)], 1, single=True)
        if spec.has_any_rank or None in spec.shape:  # a flat list would not say the shape
            array, _ = _read_tensor(spec, value, pointer, is_batched=False, may_be_row=False)
        else:
            array = read_shaped(spec, value, tuple(size or 0 for size in spec.shape), pointer)
    except WrongFormError as error:
        where, form = error.faults[0].pointer, accepted_row(spec)
        raise InvalidInputError.at(where, f"{error.detail}; {manifest.ref} takes {form}") from None
    return Rows([array], 1, single=False)


def read_flat_row(spec: TensorSpec, value: Any, pointer: str) -> Array:
    """Read one row whose axes may be nested or flattened; returns shape (1, *inner)."""
    shape = tuple(1 if size is None else size for size in spec.inner_shape)
    wanted = math.prod(shape)
    if isinstance(value, np.ndarray):
        array = cast(spec, value) if value.size == wanted and None not in spec.inner_shape else None
        if array is not None:
            return array.reshape((1, *shape))
        value = value.tolist()
    levels = flatten(value, depth_of(value), spec, pointer)
    if None in spec.inner_shape or len(levels.flat) != wanted:
        shown = " x ".join(str(size) for size in spec.inner_shape)
        raise WrongFormError.at(pointer, f"expected {wanted} numbers ({shown}, nested or flat), got {len(levels.flat)}")
    return to_array(spec, levels.flat, (1, *shape), pointer, row_axis=0)


def read_shaped(spec: TensorSpec, value: Any, shape: tuple[int, ...], pointer: str) -> Array:
    """Read a tensor whose shape the caller has said and checked; its lists may be nested or flat.

    A scalar may stand without a list.
    """
    if isinstance(value, np.ndarray):
        array = cast(spec, value) if value.size == math.prod(shape) else None
        if array is not None:
            return array.reshape(shape)
        value = value.tolist()
    if not isinstance(value, list):
        if shape or isinstance(value, dict):
            raise WrongFormError.at(pointer, f"expected a list, got {kind_of(value)}")
        value = [value]
    flat = flatten(value, depth_of(value), spec, pointer).flat
    if len(flat) != math.prod(shape):
        detail = f"{len(flat)} elements do not fill the shape {list(shape)}, which has {math.prod(shape)}"
        raise InvalidInputError.at(pointer, detail)
    return to_array(spec, flat, shape, pointer, row_axis=spec.batch_axis)


def _read_tensor(
    spec: TensorSpec, value: Any, pointer: str, *, is_batched: bool, may_be_row: bool
) -> tuple[Array, bool | None]:
    """Return a tensor in the model's layout, and whether its batch axis was left out; the array has it, of size 1.

    None: a list of one element, of an input that has one element a row, is a row and is the rows.
    """
    if isinstance(value, np.ndarray):
        array = _whole(spec, value, may_be_row=may_be_row)
        if array is not None:
            return array, _leaves_axis_out(spec, value.shape, may_be_row=may_be_row)
        value = value.tolist()
    if is_batched and value == []:
        return np.empty([size or 0 for size in spec.shape], spec.numpy_dtype), False
    levels = flatten(value, depth_of(value), spec, pointer)
    shape, is_row = _shape_of(spec, levels.shape, pointer, is_batched=is_batched, may_be_row=may_be_row)
    return to_array(spec, levels.flat, shape, pointer, row_axis=spec.batch_axis), is_row


def _shape_of(
    spec: TensorSpec, shape: tuple[int, ...], pointer: str, *, is_batched: bool, may_be_row: bool
) -> tuple[tuple[int, ...], bool | None]:
    """Return the shape in the model's layout, and whether the batch axis was left out."""
    if spec.has_any_rank:
        return shape, False
    rank = len(spec.shape)
    if not is_batched and len(shape) < rank and 0 in shape:
        # Lists end where one is empty; the axes that follow are known where the model fixes their sizes.
        rest = tuple(-1 if size is None else size for size in spec.shape[len(shape) :])
        if -1 not in rest and fits(spec, (*shape, *rest)):
            return (*shape, *rest), False
    is_row = _leaves_axis_out(spec, shape, may_be_row=may_be_row)
    if is_column(spec) and len(shape) < rank and (shape or is_row):
        shape = column_shape(spec, math.prod(shape))
    elif is_row and spec.batch_axis is not None:
        shape = (*shape[: spec.batch_axis], 1, *shape[spec.batch_axis :])
    if len(shape) != rank:
        raise WrongFormError.at(pointer, _expected_axes(spec, shape, may_be_row=may_be_row))
    for axis, (size, wanted) in enumerate(zip(shape, spec.shape, strict=True)):
        if wanted is not None and size != wanted:
            raise WrongFormError.at(pointer, f"axis {axis} has {size} entries, expected {wanted} {axes_of(spec)}")
    return shape, is_row


def _leaves_axis_out(spec: TensorSpec, shape: tuple[int, ...], *, may_be_row: bool) -> bool | None:
    """Say whether lists of this shape are a row without its batch axis; None: with it and without are the same."""
    if is_column(spec) and len(shape) == 1:
        return None if may_be_row and shape == (1,) else False
    return may_be_row and len(shape) == (0 if is_column(spec) else len(spec.shape) - 1)


def _expected_axes(spec: TensorSpec, shape: tuple[int, ...], *, may_be_row: bool) -> str:
    rank = len(spec.shape)
    if not rank:
        return f"expected one {spec.dtype} without a list, got {len(shape)} axes"
    row = f", or {rank - 1} for a single row" if may_be_row else ""
    hint = "; a list that is empty does not say the sizes of the axes in it: send the tensor with its shape to /v2"
    return f"expected {rank} axes {axes_of(spec)}{row}, got {len(shape)}{hint if 0 in shape else ''}"


def _whole(spec: TensorSpec, numbers: Array, *, may_be_row: bool) -> Array | None:
    """Return an array of numbers in the layout of `spec`; None when they are wrong, for the lists to say how."""
    if numbers.ndim == 1 and numbers.size > 1 and is_column(spec):
        numbers = numbers.reshape(column_shape(spec, numbers.size))
    elif may_be_row and numbers.ndim == len(spec.shape) - 1:
        # A view; the function for any axis takes 20 times as long.
        numbers = np.expand_dims(numbers, spec.batch_axis) if spec.batch_axis else numbers[np.newaxis]
    return cast(spec, numbers) if fits(spec, numbers.shape) else None
