"""Jobs and models as the JSON that clients read (Replicate's prediction shape). Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from fastapi import Response

from api.catalog import Entry
from api.references import OWNER
from ferry.examples import Examples
from ferry.jobs import JobRecord, State
from ferry.json_outputs import json_ready, labels_of_job, tensor_ready
from ferry.manifest import FixedInput, Manifest, TensorSpec
from ferry.queue.broken_models import BrokenModel
from ferry.queue.versions import LATEST
from ferry.tensors import Array, Codec, without_batch_axis

_STATUS = {
    State.QUEUED: "starting",
    State.RUNNING: "processing",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELED: "canceled",
}


class JSONAnswer(Response):
    """JSON by orjson; numpy arrays become nested lists, and NaN and infinities null."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        # What Starlette's own does, less its look through the headers for what is never among ours.
        self.status_code = status_code
        self.body = self.render(content)
        self.background = None
        self.raw_headers = [
            (b"content-length", str(len(self.body)).encode("latin-1")),
            (b"content-type", b"application/json"),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def prediction(
    record: JobRecord, entry: Entry | None, *, calls: Callable[[str], str], base_url: str, flower_url: str
) -> dict[str, Any]:
    """Return a job in Replicate's shape with Ferry's extra fields; `calls`: what the caller calls a job.

    `entry` is None when the model has been removed since: then there is no telling what the bytes mean, as when its
    version was replaced by another model.
    """
    own_id = calls(record.id)
    url = f"{base_url}/v1/predictions/{own_id}"
    single, is_batched = record.single, entry is None or entry.is_batched
    inputs = _tensors(record.input, entry.inputs) if entry and record.input is not None else None
    outputs = _tensors(record.output, entry.outputs) if entry and record.output is not None else None
    return {
        "id": own_id,
        "model": f"{OWNER}/{record.model}",
        "version": record.version,
        "status": _STATUS[record.state],
        "state": record.state.value,
        "input": _named(entry.inputs, inputs, single=single, is_batched=is_batched) if entry and inputs else None,
        "output": _named(entry.outputs, outputs, single=single, is_batched=is_batched) if entry and outputs else None,
        "output_shapes": None
        if is_batched or not entry or not outputs
        else _shapes(entry.manifest, outputs, single=single),
        "labels": labels_of_job(entry.manifest, outputs, single=single) if entry and outputs else None,
        "error": record.error,
        "error_code": record.error_code,
        "replay_of": calls(record.replay_of) if record.replay_of else None,
        "logs": "",
        "rows": record.rows,
        "attempts": record.attempts,
        "created_at": timestamp(record.created_us),
        "started_at": timestamp(record.started_us),
        "completed_at": timestamp(record.completed_us),
        "deadline": timestamp(record.deadline_us),
        "metrics": _metrics(record),
        "batch": _batch(record, flower_url),
        "data_removed": record.output is not None and outputs is None,
        "urls": {"get": url, "cancel": f"{url}/cancel"},
    }


def model(entries: list[Entry], aliases: dict[str, str]) -> dict[str, Any]:
    """Return a model with all its versions (ascending) and aliases, as `/v1/models/{name}` shows it."""
    latest_entry = next((each for each in entries if each.manifest.version == aliases.get(LATEST)), entries[-1])
    latest = latest_entry.manifest
    return {
        "id": latest.name,
        "object": "model",
        "created": _unix(latest.created_at),
        "owned_by": OWNER,
        "owner": OWNER,
        "name": latest.name,
        "description": latest.description,
        "latest_version": version(latest_entry),
        "aliases": aliases,
        "versions": [version(entry) for entry in entries],
    }


def examples(entry: Entry, made: Examples) -> dict[str, Any]:
    """Return inputs to try a model with, each as the `input` of a job."""
    inputs = [
        {
            spec.name: json_ready(array[row : row + 1], single=True)
            for spec, array in zip(entry.manifest.inputs, made.arrays, strict=True)
        }
        for row in range(made.count)
    ]
    truths: Sequence[str | None] = made.truths or [None] * made.count
    return {
        "object": "list",
        "model": entry.manifest.name,
        "version": entry.manifest.version,
        "made_up": made.is_made_up,
        "data": [{"input": row, "truth": truth} for row, truth in zip(inputs, truths, strict=True)],
    }


def version(entry: Entry) -> dict[str, Any]:
    """Return one version: its signature, limits and who serves it.

    `batching` is what the manifest says, None where it leaves it to the measurement in `profile`; `max_rows` and
    `max_wait_ms` are in force. `execution` says whether jobs share runs, and why.
    """
    manifest, limits = entry.manifest, entry.limits
    return {
        "id": manifest.version,
        "created_at": manifest.created_at or None,
        "inputs": [_tensor(spec) | {"missing": spec.missing} for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
        "fixed_inputs": [_fixed_input(fixed) for fixed in manifest.fixed_inputs],
        "labels": list(manifest.labels),
        "labels_of": manifest.outputs[manifest.labels_index].name if manifest.labels else None,
        "execution": entry.execution.model_dump(),
        "has_rows": manifest.has_rows,
        "batching": manifest.batching.model_dump(),
        "max_rows": limits.max_rows,
        "max_wait_ms": limits.max_wait_ms,
        "tuned": asdict(entry.tuning),
        "profile": entry.profile.model_dump() if entry.profile else None,
        "sha256": manifest.sha256,
        "digest": manifest.digest,
        "metrics": manifest.metrics,
        "notes": list(manifest.notes),
        "state": entry.state,
        "broken": entry.broken or None,
        "live_workers": entry.live_workers,
        "other_workers": entry.other_workers,
        "waiting_rows": entry.waiting_rows,
        "paused": entry.is_paused,
        "draining": entry.is_draining,
        "unloaded": entry.is_unloaded,
    }


def broken(model: BrokenModel) -> dict[str, Any]:
    """Return a version that cannot be loaded, and why."""
    return {"name": model.name, "version": model.version, "reason": model.reason, "workers": model.workers}


def timestamp(us: int | None) -> str | None:
    """Return microseconds since 1970 as ISO 8601 in UTC."""
    if us is None:
        return None
    seconds, micros = divmod(us, 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return a whole second as ISO 8601; the jobs of one moment share theirs."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _tensors(payload: bytes, codec: Codec) -> list[Array] | None:
    """Return tensors in the manifest's order; None when the payload has another signature (another model since)."""
    try:
        return codec.unpack(payload)
    except ValueError:
        return None


def _named(codec: Codec, arrays: Sequence[Array], *, single: bool, is_batched: bool) -> dict[str, Any]:
    pairs = zip(codec.specs, arrays, strict=True)
    if is_batched and single:  # as most are: a row has no batch axis that may lie elsewhere
        return {spec.name: json_ready(array, single=True) for spec, array in pairs}
    return {spec.name: tensor_ready(spec, array, single=single, is_batched=is_batched) for spec, array in pairs}


def _shapes(manifest: Manifest, outputs: Sequence[Array], *, single: bool) -> dict[str, list[int]]:
    """Return the shapes of a whole job's outputs: nested lists do not show the axes after an empty one."""
    pairs = zip(manifest.outputs, outputs, strict=True)
    return {spec.name: list((without_batch_axis(spec, array) if single else array).shape) for spec, array in pairs}


def _metrics(record: JobRecord) -> dict[str, float]:
    metrics = {}
    if record.run_us is not None:
        metrics["predict_time"] = record.run_us / 1e6
    if record.completed_us is not None:
        metrics["total_time"] = (record.completed_us - record.created_us) / 1e6
    return metrics


def _batch(record: JobRecord, flower_url: str) -> dict[str, Any] | None:
    if record.batch_id is None or record.started_us is None:
        return None
    ticket = record.batch_id.rpartition(".")[0]
    return {
        "id": record.batch_id,
        "rows": record.batch_rows,
        "jobs": record.batch_jobs,
        "wait_ms": (record.started_us - record.created_us) / 1000,
        "url": f"{flower_url}/task/{ticket}",
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = [-1 if size is None else size for size in spec.shape]
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "datatype": spec.oip_datatype,
        "shape": None if spec.has_any_rank else shape,
        "batch_axis": spec.batch_axis,
        "range": list(spec.range) if spec.range else None,
        "preprocess": spec.preprocess.model_dump() if spec.preprocess else None,
    }


def _fixed_input(fixed: FixedInput) -> dict[str, Any]:
    return {
        "name": fixed.name,
        "dtype": fixed.dtype,
        "shape": list(fixed.shape),
        "values": list(fixed.values),
    }


def _unix(created_at: str) -> int:
    try:
        return int(datetime.fromisoformat(created_at).timestamp())
    except ValueError:
        return 0
