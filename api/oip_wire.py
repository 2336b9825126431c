"""A model as the Open Inference Protocol describes it: metadata, and Triton's configuration. Pure functions.

Source: Open Inference Protocol V2 (model metadata), Triton's model configuration extension.
"""

from collections.abc import Sequence
from typing import Any

from api.catalog import Entry
from ferry.manifest import TensorSpec

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"
ANY_SIZE = -1


def metadata(entry: Entry, versions: Sequence[str]) -> dict[str, Any]:
    """Return name, versions and tensors; shapes are in the model's own layout, -1 where any size is taken."""
    manifest = entry.manifest
    return {
        "name": manifest.name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_described(spec) for spec in manifest.inputs],
        "outputs": [_described(spec) for spec in manifest.outputs],
    }


def config(entry: Entry) -> dict[str, Any]:
    """Return the configuration.

    `max_batch_size` is the rows of one run where jobs are batched along the first axis of every tensor, and dims are
    those of one row. Else it is 0 and dims are whole: clients must not add a batch axis by themselves.
    """
    manifest, limits = entry.manifest, entry.limits
    is_rows_first = manifest.is_batched and all(spec.batch_axis == 0 for spec in (*manifest.inputs, *manifest.outputs))
    described: dict[str, Any] = {
        "name": manifest.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": limits.max_rows if is_rows_first else 0,
        "input": [_configured(spec, is_row=is_rows_first) for spec in manifest.inputs],
        "output": [_configured(spec, is_row=is_rows_first) for spec in manifest.outputs],
    }
    if manifest.is_batched:
        described["dynamic_batching"] = {"max_queue_delay_microseconds": round(limits.max_wait_ms * 1000)}
    return described


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.oip_datatype, "shape": _sizes(spec, spec.shape)}


def _configured(spec: TensorSpec, *, is_row: bool) -> dict[str, Any]:
    datatype = "STRING" if spec.is_string else spec.oip_datatype
    dims = _sizes(spec, spec.inner_shape if is_row else spec.shape)
    # Dims must not be empty; Triton writes a tensor without axes as one of one element, reshaped.
    shape = {"dims": dims} if dims else {"dims": [1], "reshape": {"shape": []}}
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", **shape}


def _sizes(spec: TensorSpec, shape: Sequence[int | None]) -> list[int]:
    if spec.has_any_rank:  # the protocol has no way to say that the number of axes varies
        return [ANY_SIZE]
    return [ANY_SIZE if size is None else size for size in shape]
