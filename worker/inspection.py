"""Reads an ONNX file, runs it on made-up rows and writes down what it takes and gives; or says why it is refused.

    python -m worker.inspection FILE --name N --version V [--labels FILE]

prints one JSON object, {"manifest": ...} or {"error": {"code", "detail"}}, as its last line; exit 0 in both cases.
`ferry/inspection.py` starts it so, since a hostile file may end the process. Knows nothing of jobs or other sessions.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from ferry.errors import FerryError, InvalidInputError, ModelRefusedError
from ferry.inspection import REPLY_PREFIX, REPLY_TTL_S, STARTED, Reply, check_file, refusal, run_inspection
from ferry.manifest import (
    DEFAULT_MAX_ROWS,
    OIP_DATATYPES,
    Batching,
    Manifest,
    TensorSpec,
    is_name,
    is_version,
    sha256_of,
)

if TYPE_CHECKING:
    import redis

Array = np.ndarray[Any, np.dtype[Any]]
Feed = dict[str, Array]

# onnx's element types and onnxruntime's, in the manifest's words (numpy's names).
_DTYPE_OF_ONNX = {
    getattr(onnx.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())): dtype
    for dtype in OIP_DATATYPES
}
_DTYPE_OF_ORT = {
    f"tensor({ {'float32': 'float', 'float64': 'double'}.get(dtype, dtype) })": dtype for dtype in OIP_DATATYPES
}
_KNOWN_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft"}
    | {"com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"}
)
# The size of their outputs depends on values, so equal sizes in a few runs prove nothing.
_VALUE_SIZED_OPS = frozenset(
    {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Range", "Scan", "StringSplit", "Unique"}
)
# What onnxruntime raises where a file or a feed does not suit it: its own classes share no base but Exception.
_ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_state.EngineError,
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotFound,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
    ValueError,
    TypeError,
)
# The limits the manifest sets to a name's length and to `fixed_rows`.
_MAX_NAME_CHARS = 256
_MAX_FIXED_ROWS = 65_536
# onnxruntime quotes whole node signatures; a note is one line.
_MAX_REASON_CHARS = 300
# Rows of the largest trial of a free batch axis: the least number at which "1 or more" and "2 or more" differ.
_TRIAL_ROWS = 3
# Sizes for free inner axes, tried in turn: text models take any, image models want some tens of pixels. The first
# differs from every number of rows, so that an output cannot be taken for one with a batch axis by chance.
_TRIAL_SIZES = (4, 1, 2, 8, 16, 32, 64, 224)
# Made-up inputs of one run; a row above the API's 64 MiB could not be sent anyway.
_MAX_TRIAL_BYTES = 256 * 2**20
# Part of an output's largest value by which kernels for one row and for several may differ: rounding of float32 in
# deep networks stays well below it, a row that sees its neighbours is far above.
_NEIGHBOUR_TOLERANCE = {"float16": 2e-2, "float32": 1e-3, "float64": 1e-6}


@dataclass(frozen=True, slots=True)
class _Signature:
    """What the file declares. `axes` names each input's inner axes: a size, or a symbol equal sizes share."""

    inputs: tuple[TensorSpec, ...]
    axes: tuple[tuple[int | str, ...], ...]
    fixed_rows: int | None

    @property
    def has_free_axes(self) -> bool:
        return any(isinstance(axis, str) for axes in self.axes for axis in axes)


@dataclass(slots=True)
class _Trial:
    """What running it showed: outputs by number of rows, and the words for the manifest's notes."""

    outputs: list[tuple[int, list[Array]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Rows one run may have, where that is less than the file declares.
    max_rows: int | None = None


def inspect(path: Path, name: str, version: str, labels: Sequence[str] = ()) -> Manifest:
    """Return the manifest of an ONNX file; the same file always gives the same one.

    Raises:
        ModelRefusedError: when Ferry will not serve it; the text says why and what to do.
        InvalidInputError: when name, version or labels do not fit.
    """
    if not (is_name(name) and is_version(version)):
        raise InvalidInputError(f"{name}:{version} is no model reference; a lower-case name and a whole number are")
    check_file(path)
    try:
        return _inspect(path, name, version, labels)
    except ValueError as error:
        # Text that is no UTF-8, sizes that cannot be: what bytes flipped in a file look like once it is parsed.
        raise ModelRefusedError(f"the file is damaged ({_brief(str(error))}); export or download it again") from error


def answer(
    staged: str,
    name: str,
    version: str,
    labels: Sequence[str],
    reply_key: str,
    *,
    models_dir: Path,
    redis: "redis.Redis",
) -> None:
    """Inspect a file staged in the model repository for someone without onnxruntime.

    Effects: pushes STARTED, then the reply, to the list `reply_key`, which expires after REPLY_TTL_S.

    Raises:
        InvalidInputError: when `reply_key` is none; there is nobody to tell.
    """
    if not reply_key.startswith(REPLY_PREFIX):
        raise InvalidInputError(f"reply key {reply_key!r} does not start with {REPLY_PREFIX}")
    _push(redis, reply_key, STARTED)
    root = models_dir.resolve()
    path = (root / staged).resolve()
    if path.is_relative_to(root):
        reply = run_inspection(path, name=name, version=version, labels=labels)
    else:
        reply = refusal(f"{staged!r} lies outside the model repository", InvalidInputError.code)
    _push(redis, reply_key, reply)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the reply for the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m worker.inspection", description="Inspect an ONNX file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--labels", default="", help="file with one label a line; - is standard input")
    options = parser.parse_args(arguments)
    try:
        manifest = inspect(options.file, options.name, options.version, _read_labels(options.labels))
        reply: Reply = {"manifest": manifest.model_dump(mode="json")}
    except FerryError as error:
        reply = refusal(error.detail, error.code)
    except OSError as error:
        reply = refusal(f"{error.filename}: {error.strerror}")
    except MemoryError:
        reply = refusal("it needs more memory to load and run than this machine has")
    sys.stdout.write(json.dumps(reply) + "\n")


def _read_labels(where: str) -> list[str]:
    try:
        if where == "-":
            text = sys.stdin.buffer.read().decode("utf-8")
        else:
            text = Path(where).read_text(encoding="utf-8-sig") if where else ""
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the labels are not UTF-8 text: {error.reason} at byte {error.start}") from None
    return text.removesuffix("\n").split("\n") if text.strip() else []


def _push(redis: "redis.Redis", key: str, reply: object) -> None:
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.rpush(key, json.dumps(reply))
        pipeline.expire(key, REPLY_TTL_S)
        pipeline.execute()


def _inspect(path: Path, name: str, version: str, labels: Sequence[str]) -> Manifest:
    proto = _read(path)
    _refuse_foreign_parts(proto)
    signature = _signature(proto.graph)
    _refuse_names([output.name for output in proto.graph.output], "output")
    versions = _versions(proto)
    is_value_sized = any(node.op_type in _VALUE_SIZED_OPS for node in _nodes(proto))
    # Up to 2 GiB that the session below reads again.
    del proto
    session = _load(path)
    declared = _declared_outputs(session)
    trial = _try_out(session, signature)
    if trial.outputs:
        may_settle = not (signature.has_free_axes or is_value_sized)
        outputs = _observed_outputs(declared, trial.outputs, may_settle=may_settle)
    else:
        outputs = _believed_outputs(declared, signature.fixed_rows)
    _check_labels(labels, outputs[0])
    fixed_rows = signature.fixed_rows or (1 if trial.max_rows == 1 else None)
    return Manifest(
        name=name,
        version=version,
        inputs=signature.inputs,
        outputs=outputs,
        labels=tuple(labels),
        batching=Batching(max_rows=fixed_rows or DEFAULT_MAX_ROWS, fixed_rows=fixed_rows),
        sha256=sha256_of(path),
        versions=versions,
        notes=(*_batch_notes(signature.fixed_rows), *trial.notes),
    )


# --- the file


def _read(path: Path) -> onnx.ModelProto:
    try:
        # The format is said, or onnx would go by the file's suffix and take JSON or text too.
        proto = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise ModelRefusedError(
            "the file is damaged or is no ONNX model: it does not parse as one; export or download it again"
        ) from error
    if proto.ir_version < 1 or not (proto.graph.node or proto.graph.output):
        raise ModelRefusedError("the file is no ONNX model: it holds no graph; export the model to ONNX first")
    return proto


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node: the graph's, the subgraphs' and the local functions'."""
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for graph in _subgraphs(node) for inner in graph.node]


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor stored in the file."""
    nodes = list(_nodes(proto))
    for graph in (proto.graph, *(graph for node in nodes for graph in _subgraphs(node))):
        yield from graph.initializer
        yield from _dense_parts(graph.sparse_initializer)
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        yield from _dense_parts((attribute.sparse_tensor, *attribute.sparse_tensors))


def _dense_parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for tensor in tensors:
        yield from (tensor.values, tensor.indices)


def _refuse_foreign_parts(proto: onnx.ModelProto) -> None:
    """Refuse what the one file does not hold: weights in other files, operators of other libraries."""
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelRefusedError(
                f"the weights of {tensor.name!r} lie in another file (external data); re-export with "
                "onnx.save(onnx.load(FILE), OUT, save_as_external_data=False)"
            )
    local = {(function.domain, function.name) for function in proto.functions}
    for node in _nodes(proto):
        if node.domain not in _KNOWN_DOMAINS and (node.domain, node.op_type) not in local:
            raise ModelRefusedError(
                f"operator {node.domain}:{node.op_type} is a custom one that onnxruntime does not have; "
                "re-export with standard ONNX operators"
            )


def _versions(proto: onnx.ModelProto) -> dict[str, str]:
    opsets = {f"opset {opset.domain or 'ai.onnx'}": str(opset.version) for opset in proto.opset_import}
    return {"onnxruntime": ort.__version__, "onnx_ir": str(proto.ir_version), **dict(sorted(opsets.items()))}


# --- the signature


def _signature(graph: onnx.GraphProto) -> _Signature:
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    _refuse_names([value.name for value in inputs], "input")
    fixed: dict[str, int] = {}
    specs, axes = [], []
    for value in inputs:
        dims = _dims(value)
        # Some exporters give every free axis one symbol; an inner axis is never as long as the batch on purpose.
        batch, inner = (
            dims[0],
            tuple(f"{value.name}/{axis}" if isinstance(axis, str) and axis == dims[0] else axis for axis in dims[1:]),
        )
        if isinstance(batch, int):
            fixed[value.name] = batch
        shape = (None, *(axis if isinstance(axis, int) else None for axis in inner))
        specs.append(TensorSpec(name=value.name, dtype=_dtype(value), shape=shape))
        axes.append(inner)
    return _Signature(tuple(specs), tuple(axes), _agreed_rows(fixed))


def _refuse_names(names: Sequence[str], kind: str) -> None:
    if not names:
        raise ModelRefusedError(f"the model has no {kind}s; re-export with at least one")
    for name in names:
        if not name:
            raise ModelRefusedError(f"an {kind} has no name; re-export with {kind}_names=[...]")
        if len(name) > _MAX_NAME_CHARS or not (isinstance(name, str) and name.isprintable()):
            raise ModelRefusedError(
                f"{kind} name {name[:40]!r} is longer than {_MAX_NAME_CHARS} characters, or not printable; "
                f"re-export with {kind}_names=[...]"
            )
        if names.count(name) > 1:
            raise ModelRefusedError(f"two {kind}s are named {name!r}; re-export with distinct {kind}_names=[...]")


def _dtype(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    element = value.type.tensor_type.elem_type
    if kind == "tensor_type" and element in _DTYPE_OF_ONNX:
        return _DTYPE_OF_ONNX[element]
    got = (
        kind.removesuffix("_type")
        if kind and kind != "tensor_type"
        else onnx.TensorProto.DataType.Name(element).lower()
    )
    raise _unsupported("input", value.name, got)


def _unsupported(kind: str, name: str, got: str) -> ModelRefusedError:
    remedy = "cast it inside the model and re-export"
    if got.startswith(("seq", "map", "optional", "sparse")):
        remedy = "re-export with plain tensors (scikit-learn models: options={'zipmap': False})"
    return ModelRefusedError(f"{kind} {name!r} is of type {got}; served are {', '.join(OIP_DATATYPES)}: {remedy}")


def _dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return each axis' size, or its symbol; axes without a symbol get one of their own."""
    if not value.type.tensor_type.HasField("shape") or not value.type.tensor_type.shape.dim:
        what = "is a scalar" if value.type.tensor_type.HasField("shape") else "declares no shape"
        raise ModelRefusedError(
            f"input {value.name!r} {what}, so it has no batch axis; re-export it as (batch, ...) with a free first axis"
        )
    return tuple(
        # Some exporters write -1 for "any size".
        dim.dim_value
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0
        else str(dim.dim_param) or f"{value.name}.{index}"
        for index, dim in enumerate(value.type.tensor_type.shape.dim)
    )


def _agreed_rows(fixed: dict[str, int]) -> int | None:
    """Return the one size batch axes are fixed at, if any is."""
    sizes = sorted(set(fixed.values()))
    if not sizes:
        return None
    if len(sizes) > 1:
        said = ", ".join(f"{name!r} at {size}" for name, size in fixed.items())
        raise ModelRefusedError(
            f"the inputs' first axes are fixed at different sizes ({said}), so they share no batch axis; "
            "re-export with the batch axis first and free in every input (dynamic_axes / dynamic_shapes)"
        )
    if not 1 <= sizes[0] <= _MAX_FIXED_ROWS:
        raise ModelRefusedError(
            f"the batch axis is fixed at {sizes[0]}, possible are 1 to {_MAX_FIXED_ROWS}; "
            "re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
        )
    return sizes[0]


def _batch_notes(fixed_rows: int | None) -> tuple[str, ...]:
    if fixed_rows is None:
        return ()
    remedy = "re-export with a free batch axis (dynamic_axes / dynamic_shapes) for full speed"
    if fixed_rows == 1:
        return (f"the batch axis is fixed at 1: rows run one at a time; {remedy}",)
    return (
        f"the batch axis is fixed at {fixed_rows}: every run has {fixed_rows} rows, short ones are padded; {remedy}",
    )


# --- the session


def _load(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # Its errors come as exceptions; a second copy on stderr would look like a crash.
    options.log_severity_level = 4
    # Else a suffix or a marker in the file could choose onnxruntime's own format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        # Without the fallback, which prints a banner and tries the same again.
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=False)
    except _ORT_ERRORS as error:
        raise ModelRefusedError(_why_not_loaded(str(error))) from error


def _why_not_loaded(message: str) -> str:
    if found := re.search(r"Opset (\d+) is under development.*?domain (\S+) is till opset (\d+)", message, re.DOTALL):
        has, domain, limit = found.groups()
        return (
            f"it uses opset {has} of {domain}, onnxruntime {ort.__version__} takes up to {limit}; "
            f"re-export with opset_version={limit} or lower"
        )
    if found := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", message):
        return (
            f"it has ONNX IR version {found[1]}, onnxruntime {ort.__version__} takes up to {found[2]}; "
            f"re-export with an older onnx package or set model.ir_version = {found[2]}"
        )
    if "not a registered function/op" in message or "No Op registered for" in message:
        return f"onnxruntime does not have one of its operators ({_brief(message)}); re-export with standard operators"
    if "Could not find an implementation for" in message:
        return f"onnxruntime cannot run it on a CPU ({_brief(message)}); re-export with float32 tensors"
    return f"onnxruntime cannot load it: {_brief(message)}; check it with onnx.checker.check_model and export it again"


def _brief(message: str) -> str:
    """Return onnxruntime's message as one line, without its own source lines and our path."""
    text = " ".join(message.split())
    for noise in (
        r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ",
        r"Load model from .*? failed: ?",
        r"/onnxruntime_src/\S+ [^()]*\(.*?\) (const )?",
    ):
        text = re.sub(noise, "", text)
    return text if len(text) <= _MAX_REASON_CHARS else text[: _MAX_REASON_CHARS - 3] + "..."


def _declared_outputs(session: ort.InferenceSession) -> list[tuple[str, str, list[int | str | None]]]:
    """Return (name, dtype, shape) of each output; an empty shape is a scalar or not known."""
    outputs = []
    for output in session.get_outputs():
        if output.type not in _DTYPE_OF_ORT:
            raise _unsupported("output", output.name, output.type)
        outputs.append((output.name, _DTYPE_OF_ORT[output.type], output.shape))
    return outputs


# --- the trial


def _try_out(session: ort.InferenceSession, signature: _Signature) -> _Trial:
    """Run made-up rows: 1, 2 and 3 of them, or as many as the batch axis is fixed at."""
    n_rows = signature.fixed_rows or _TRIAL_ROWS
    reason = ""
    sizes = _TRIAL_SIZES if signature.has_free_axes else _TRIAL_SIZES[:1]
    for size in sizes:
        if _feed_bytes(signature, n_rows, size) > _MAX_TRIAL_BYTES:
            reason = reason or f"{n_rows} rows would take more than {_MAX_TRIAL_BYTES >> 20} MiB"
            break
        rows = _made_up_rows(signature, n_rows, size)
        try:
            trial = _run_rows(session, rows, signature.fixed_rows)
        except _ORT_ERRORS as error:
            reason = reason or _brief(str(error))
            continue
        if size != sizes[0]:
            trial.notes.append(f"free axes ran at size {size}; at size {sizes[0]} the model raised: {reason}")
        return trial
    return _Trial(notes=[f"could not be tried with made-up rows: {reason}"])


def _run_rows(session: ort.InferenceSession, rows: Feed, fixed_rows: int | None) -> _Trial:
    n_rows = fixed_rows or _TRIAL_ROWS
    trial = _Trial()
    if fixed_rows is None:
        trial.outputs.append((1, session.run(None, _take(rows, [0]))))
        try:
            two = session.run(None, _take(rows, [0, 1]))
            together = session.run(None, rows)
        except _ORT_ERRORS as error:
            return _run_copies(session, rows, trial, _brief(str(error)))
        trial.outputs += [(2, two), (n_rows, together)]
    else:
        together = session.run(None, rows)
        trial.outputs.append((n_rows, together))
    _check_batch_axis(session, trial.outputs)
    if n_rows > 1:
        _compare_with_alone(session, rows, together, trial, fixed_rows)
    return trial


def _run_copies(session: ort.InferenceSession, rows: Feed, trial: _Trial, reason: str) -> _Trial:
    """Find out why one row ran and several did not: the values of the others, or their number."""
    try:
        trial.outputs += [(n, session.run(None, _take(rows, [0] * n))) for n in (2, _TRIAL_ROWS)]
    except _ORT_ERRORS:
        trial.max_rows = 1
        trial.notes.append(
            f"one row ran, two in one run raised, so rows run one at a time ({reason}); the batch axis is declared "
            "free but a fixed size is built in: re-export with a free batch axis (dynamic_axes / dynamic_shapes)"
        )
    else:
        trial.notes.append(f"some made-up rows could not be run: {reason}")
    _check_batch_axis(session, trial.outputs)
    return trial


def _check_batch_axis(session: ort.InferenceSession, runs: list[tuple[int, list[Array]]]) -> None:
    names = [output.name for output in session.get_outputs()]
    for n_rows, outputs in runs:
        for name, output in zip(names, outputs, strict=True):
            if output.ndim == 0 or output.shape[0] != n_rows:
                raise ModelRefusedError(
                    f"output {name!r} has no batch axis: for {n_rows} row{'s' if n_rows > 1 else ''} its shape is "
                    f"{output.shape}; re-export with outputs of shape (batch, ...), or with a batch axis fixed at 1"
                )


def _compare_with_alone(
    session: ort.InferenceSession, rows: Feed, together: list[Array], trial: _Trial, fixed_rows: int | None
) -> None:
    """See whether a row's outcome depends on its neighbours: then it must run without any.

    Alone means a run of one row, or copies of it where the batch axis is fixed. A model that answers the same rows
    differently each time (sampling) is not judged.
    """
    again = session.run(None, rows)
    if any(_difference(one, other) for one, other in zip(together, again, strict=True)):
        trial.notes.append("the same rows give other results in each run: the model draws random numbers")
        return
    for index in (0, len(together[0]) - 1):
        alone = session.run(None, _take(rows, [index] * (fixed_rows or 1)))
        position = index if fixed_rows else 0
        pairs = zip(together, alone, strict=True)
        if not any(_difference(many[index : index + 1], one[position : position + 1]) for many, one in pairs):
            continue
        if fixed_rows is not None:
            raise ModelRefusedError(
                f"a row's outcome depends on the rows beside it, and the batch axis is fixed at {fixed_rows}, so none "
                "can run alone; re-export with a free batch axis, in inference mode (batch normalization not training)"
            )
        trial.max_rows = 1
        trial.notes.append(
            "a row's outcome depends on the rows beside it (batch statistics, dynamic quantization), so rows run one "
            "at a time; re-export in inference mode, or quantize statically, for full speed"
        )
        return


def _difference(one: Array, other: Array) -> bool:
    """Say whether two outcomes of the same rows differ by more than rounding."""
    if one.shape != other.shape:
        return True
    tolerance = _NEIGHBOUR_TOLERANCE.get(one.dtype.name)
    if tolerance is None:
        return not np.array_equal(one, other)
    finite = np.abs(one[np.isfinite(one)])
    largest = float(finite.max()) if finite.size else 0.0
    return not np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


def _take(rows: Feed, indices: Sequence[int]) -> Feed:
    return {name: array[list(indices)] for name, array in rows.items()}


def _inner_shapes(signature: _Signature, size: int) -> list[tuple[int, ...]]:
    return [tuple(size if isinstance(axis, str) else axis for axis in axes) for axes in signature.axes]


def _feed_bytes(signature: _Signature, n_rows: int, size: int) -> int:
    shapes = _inner_shapes(signature, size)
    pairs = zip(signature.inputs, shapes, strict=True)
    return sum(n_rows * math.prod(shape) * spec.numpy_dtype.itemsize for spec, shape in pairs)


def _made_up_rows(signature: _Signature, n_rows: int, size: int) -> Feed:
    """Make valid rows, the same ones every time."""
    random = np.random.default_rng(0)
    shapes = _inner_shapes(signature, size)
    return {
        spec.name: _made_up(spec, (n_rows, *shape), random)
        for spec, shape in zip(signature.inputs, shapes, strict=True)
    }


def _made_up(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.is_string:
        # Digits, since a model may turn text into numbers.
        return random.integers(0, 2, shape).astype(str).astype(object)
    if spec.dtype.startswith("float"):
        # Multiples of 1/256 in [0, 1) are exact in float16 too.
        return (random.integers(0, 256, shape) / 256).astype(spec.numpy_dtype)
    return random.integers(0, 2, shape).astype(spec.numpy_dtype)


# --- the outputs


def _observed_outputs(
    declared: Sequence[tuple[str, str, list[int | str | None]]],
    runs: list[tuple[int, list[Array]]],
    *,
    may_settle: bool,
) -> tuple[TensorSpec, ...]:
    """Return the outputs as they came.

    A size that every run agrees on is settled where the file declares it, or where `may_settle` says that
    neither free input axes nor values could change it.
    """
    specs = []
    for index, (name, _, shape) in enumerate(declared):
        seen = [outputs[index] for _, outputs in runs]
        if len({array.ndim for array in seen}) > 1:
            raise ModelRefusedError(
                f"output {name!r} has another number of axes from run to run; re-export with a fixed one"
            )
        sizes = [{array.shape[axis] for array in seen} for axis in range(1, seen[0].ndim)]
        told: list[int | str | None] = shape[1:] if len(shape) == seen[0].ndim else [None] * len(sizes)
        inner = [
            min(size) if len(size) == 1 and (may_settle or size == {said}) else None
            for size, said in zip(sizes, told, strict=True)
        ]
        dtype = "string" if seen[0].dtype == object else seen[0].dtype.name
        specs.append(TensorSpec(name=name, dtype=dtype, shape=(None, *inner)))
    return tuple(specs)


def _believed_outputs(
    declared: Sequence[tuple[str, str, list[int | str | None]]], fixed_rows: int | None
) -> tuple[TensorSpec, ...]:
    """Return the outputs as the file declares them, for a model that made-up rows could not run."""
    specs = []
    for name, dtype, shape in declared:
        if not shape or (isinstance(shape[0], int) and shape[0] != fixed_rows):
            what = f"is {_render(shape)}" if shape else "declares no shape"
            raise ModelRefusedError(
                f"output {name!r} {what}, so it has no batch axis, and made-up rows could not be run to see; "
                "re-export with outputs of shape (batch, ...)"
            )
        inner = (size if isinstance(size, int) else None for size in shape[1:])
        specs.append(TensorSpec(name=name, dtype=dtype, shape=(None, *inner)))
    return tuple(specs)


def _check_labels(labels: Sequence[str], output: TensorSpec) -> None:
    n_classes = output.inner_shape[-1] if output.inner_shape else None
    if labels and n_classes is not None and len(labels) != n_classes:
        raise InvalidInputError(
            f"there are {len(labels)} labels, but the last axis of output {output.name!r} has {n_classes}; "
            "give one label for each, one a line"
        )


def _render(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in shape)})"


if __name__ == "__main__":
    main()
