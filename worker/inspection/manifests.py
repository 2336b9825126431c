"""From an ONNX file to its manifest: owns the order of an inspection, and what of its findings is written down."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ferry.errors import InvalidInputError, ModelRefusedError
from ferry.inspection import check_file
from ferry.inspection_process import TrialOptions
from ferry.manifest import Batching, ExecutionMode, Manifest, is_name, is_version, sha256_of
from worker.inspection import external_data, onnx_file, session, signature
from worker.inspection.batch_axis import Finding, walk
from worker.inspection.decision import FREE_AXIS, decide
from worker.inspection.example import read_example
from worker.inspection.fixed_inputs import fix_inputs
from worker.inspection.labels import place_labels
from worker.inspection.map_session import MapSession
from worker.inspection.outputs import declared_outputs, describe_outputs, with_map_keys
from worker.inspection.runs import Runner
from worker.inspection.tensor_axes import describe_inputs, has_free_axes, output_axes
from worker.inspection.trial import BUDGET_S, try_out


def inspect(
    path: Path, name: str, version: str, labels: Sequence[str] = (), options: TrialOptions | None = None
) -> Manifest:
    """Return the manifest of an ONNX file; the same file and options give the same one.

    Raises:
        FilesWantedError: files that the model names do not lie beside it.
        ModelRefusedError: when Ferry will not serve it; the text says why and what to do.
        InvalidInputError: when name, version, labels or options do not fit.
    """
    if not (is_name(name) and is_version(version)):
        raise InvalidInputError(f"{name}:{version} is no model reference; a lower-case name and a whole number are")
    check_file(path)
    try:
        return _inspect(path, name, version, labels, options or TrialOptions())
    except ValueError as error:
        # Text that is no UTF-8, sizes that cannot be: what bytes flipped in a file look like once it is parsed.
        reason = session.brief(str(error))
        raise ModelRefusedError(f"the file is damaged ({reason}); export or download it again") from error


def _inspect(path: Path, name: str, version: str, labels: Sequence[str], options: TrialOptions) -> Manifest:
    proto = onnx_file.read(path)
    onnx_file.refuse_foreign_operators(proto)
    tensors = list(onnx_file.tensors(proto))
    external_data.require_files(tensors, path.parent)
    files = external_data.record_files(tensors, path.parent)
    said, fixed_inputs = fix_inputs(signature.read(proto.graph), options.fixed)
    versions = onnx_file.versions(proto)
    is_value_sized = onnx_file.is_value_sized(proto)
    # Up to 2 GiB that the session below reads again.
    del proto, tensors
    example = read_example(options.example, said) if options.example else None
    model = MapSession(session.load(path))
    declared = declared_outputs(model)
    runner = Runner(model, fixed_inputs, budget_s=BUDGET_S)
    trial = try_out(runner, said, [output.name for output in declared], example)
    finding = _walk(path, trial.choice.axes if trial.choice else {})
    execution = decide(trial, finding, is_overridden=options.is_rows_independent)
    is_batched = execution.mode is ExecutionMode.BATCHED
    outputs = describe_outputs(
        declared,
        trial.runs,
        output_axes(trial, said, declared, is_batched=is_batched),
        is_batched=is_batched,
        has_free_axes=has_free_axes(trial, said),
        is_value_sized=is_value_sized,
    )
    outputs = with_map_keys(outputs, model.map_outputs, model.keys)
    placed = place_labels(labels, outputs)
    fixed_rows = trial.choice.fixed_rows if trial.choice and is_batched else None
    return Manifest(
        name=name,
        version=version,
        inputs=describe_inputs(trial, said, is_batched=is_batched),
        outputs=outputs,
        fixed_inputs=fixed_inputs,
        labels=placed.labels,
        labels_of=placed.output,
        execution=execution,
        batching=Batching(max_rows=fixed_rows, fixed_rows=fixed_rows),
        sha256=sha256_of(path),
        files=files,
        versions=versions,
        notes=(*_batch_notes(fixed_rows), *trial.notes, *placed.notes),
    )


def _walk(path: Path, batch_axes: Mapping[str, int]) -> Finding:
    """Walk the graph; the one place where the walk is called."""
    return walk(onnx_file.read(path), batch_axes)


def _batch_notes(fixed_rows: int | None) -> tuple[str, ...]:
    if fixed_rows is None:
        return ()
    return (
        f"the batch axis is fixed at {fixed_rows}: every run has {fixed_rows} rows, short ones are padded; {FREE_AXIS} "
        "for full speed",
    )
