"""Compares a manifest with the session that onnxruntime made of its model: names, dtypes and ranks. Runs nothing.

A manifest that was edited, or written for another file, is found here at load, not by the first job.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ferry.manifest import OIP_DATATYPES, FixedInput, Manifest, TensorSpec

# onnxruntime's names of element types, in the manifest's words.
DTYPE_OF_ORT = {
    f"tensor({ {'float32': 'float', 'float64': 'double'}.get(dtype, dtype) })": dtype for dtype in OIP_DATATYPES
}
# Outputs that are a list with one map for each row, from a class (int or text) to its score.
MAP_KEY_TYPES: dict[str, type] = {"seq(map(int64,tensor(float)))": int, "seq(map(string,tensor(float)))": str}


def why_not_as_declared(manifest: Manifest, session: Any) -> str:
    """Return the first difference between manifest and session, naming what each says; "" where there is none.

    session: an `onnxruntime.InferenceSession`.
    """
    inputs = {each.name: each for each in session.get_inputs()}
    outputs = {each.name: each for each in session.get_outputs()}
    # An initializer that a caller may override is an input of the model too, which need not be sent.
    optional = {each.name: each for each in session.get_overridable_initializers()}
    sent: list[TensorSpec | FixedInput] = [*manifest.inputs, *manifest.fixed_inputs]
    return (
        _first(_why_input(spec, inputs | optional) for spec in sent)
        or _unsent(sent, inputs)
        or _first(_why_output(spec, outputs) for spec in manifest.outputs)
    )


def _first(reasons: Iterable[str]) -> str:
    return next((reason for reason in reasons if reason), "")


def _why_input(spec: TensorSpec | FixedInput, inputs: Mapping[str, Any]) -> str:
    found = inputs.get(spec.name)
    if found is None:
        return f"the manifest names input {spec.name!r}, the model has {_listed(inputs)}"
    if reason := _why_dtype("input", spec.name, spec.dtype, found.type):
        return reason
    has_any_rank = isinstance(spec, TensorSpec) and spec.has_any_rank
    if reason := _why_rank("input", spec, found.shape, has_any_rank=has_any_rank):
        return reason
    return "" if has_any_rank else _why_sizes(spec, found.shape)


def _unsent(sent: Sequence[TensorSpec | FixedInput], inputs: Mapping[str, Any]) -> str:
    names = {spec.name for spec in sent}
    left = sorted(set(inputs) - names)
    return f"the model needs input {left[0]!r}, the manifest names {_listed(names)}" if left else ""


def _why_output(spec: TensorSpec, outputs: Mapping[str, Any]) -> str:
    found = outputs.get(spec.name)
    if found is None:
        return f"the manifest names output {spec.name!r}, the model has {_listed(outputs)}"
    if key_type := MAP_KEY_TYPES.get(found.type):
        if not spec.map_keys:
            return f"output {spec.name!r} is a list of maps ({found.type}), the manifest says a tensor of {spec.dtype}"
        if not all(isinstance(key, key_type) for key in spec.map_keys):
            return f"output {spec.name!r} is {found.type}, the manifest has the keys {list(spec.map_keys)[:3]}"
        return ""
    if spec.map_keys:
        return f"output {spec.name!r} is {found.type}, the manifest says a list of maps"
    return _why_dtype("output", spec.name, spec.dtype, found.type) or _why_rank(
        "output", spec, found.shape, has_any_rank=spec.has_any_rank
    )


def _why_dtype(kind: str, name: str, dtype: str, ort_type: str) -> str:
    has = DTYPE_OF_ORT.get(ort_type, ort_type)
    return "" if has == dtype else f"{kind} {name!r} is {has} in the model, the manifest says {dtype}"


def _why_rank(kind: str, spec: TensorSpec | FixedInput, shape: Sequence[Any], *, has_any_rank: bool) -> str:
    # onnxruntime shows no axes for a scalar and for a number of axes that the file does not declare.
    if not shape or has_any_rank or len(shape) == len(spec.shape):
        return ""
    return f"{kind} {spec.name!r} has {len(shape)} axes in the model, the manifest says {len(spec.shape)}"


def _why_sizes(spec: TensorSpec | FixedInput, shape: Sequence[Any]) -> str:
    """Compare the sizes that both fix; onnxruntime refuses an input of another size."""
    pairs = zip(spec.shape, shape, strict=False)
    if all(said is None or not isinstance(has, int) or has < 0 or said == has for said, has in pairs):
        return ""
    return f"input {spec.name!r} has shape {list(shape)} in the model, the manifest says {list(spec.shape)}"


def _listed(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
