"""From an ONNX file to its manifest: owns the order of an inspection, and what of its findings is written down."""

from collections.abc import Sequence
from pathlib import Path

from ferry.errors import InvalidInputError, ModelRefusedError
from ferry.inspection import check_file
from ferry.manifest import Batching, Manifest, is_name, is_version, sha256_of
from worker.inspection import external_data, onnx_file, session, signature
from worker.inspection.labels import place_labels
from worker.inspection.map_session import MapSession
from worker.inspection.outputs import believed_outputs, declared_outputs, observed_outputs, with_map_keys
from worker.inspection.trial import try_out


def inspect(path: Path, name: str, version: str, labels: Sequence[str] = ()) -> Manifest:
    """Return the manifest of an ONNX file; the same file always gives the same one.

    Raises:
        FilesWantedError: files that the model names do not lie beside it.
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
        reason = session.brief(str(error))
        raise ModelRefusedError(f"the file is damaged ({reason}); export or download it again") from error


def _inspect(path: Path, name: str, version: str, labels: Sequence[str]) -> Manifest:
    proto = onnx_file.read(path)
    onnx_file.refuse_foreign_operators(proto)
    tensors = list(onnx_file.tensors(proto))
    external_data.require_files(tensors, path.parent)
    files = external_data.record_files(tensors, path.parent)
    said = signature.read(proto.graph)
    versions = onnx_file.versions(proto)
    is_value_sized = onnx_file.is_value_sized(proto)
    # Up to 2 GiB that the session below reads again.
    del proto, tensors
    model = MapSession(session.load(path))
    declared = declared_outputs(model)
    trial = try_out(model, said)
    if trial.outputs:
        may_settle = not (said.has_free_axes or is_value_sized)
        outputs = observed_outputs(declared, trial.outputs, may_settle=may_settle)
    else:
        outputs = believed_outputs(declared, said.fixed_rows)
    outputs = with_map_keys(outputs, model.map_outputs, model.keys)
    placed = place_labels(labels, outputs)
    fixed_rows = said.fixed_rows or (1 if trial.max_rows == 1 else None)
    return Manifest(
        name=name,
        version=version,
        inputs=said.inputs,
        outputs=outputs,
        labels=placed.labels,
        labels_of=placed.output,
        batching=Batching(max_rows=fixed_rows, fixed_rows=fixed_rows),
        sha256=sha256_of(path),
        files=files,
        versions=versions,
        notes=(*_batch_notes(said.fixed_rows), *trial.notes, *placed.notes),
    )


def _batch_notes(fixed_rows: int | None) -> tuple[str, ...]:
    if fixed_rows is None:
        return ()
    remedy = "re-export with a free batch axis (dynamic_axes / dynamic_shapes) for full speed"
    if fixed_rows == 1:
        return (f"the batch axis is fixed at 1: rows run one at a time; {remedy}",)
    return (
        f"the batch axis is fixed at {fixed_rows}: every run has {fixed_rows} rows, short ones are padded; {remedy}",
    )
