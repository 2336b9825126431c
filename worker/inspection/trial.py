"""The trial: runs made-up rows, one and several in a run, and keeps what came out and what did not work."""

from dataclasses import dataclass, field

import onnxruntime as ort

from ferry.errors import ModelRefusedError
from ferry.tensors import Array
from worker.inspection.made_up_rows import Feed, feed_bytes, make_up_rows, take
from worker.inspection.row_independence import find_dependence
from worker.inspection.session import ORT_ERRORS, brief
from worker.inspection.signature import Signature

# Rows of the largest trial of a free batch axis: the least number at which "1 or more" and "2 or more" differ.
_TRIAL_ROWS = 3
# Sizes for free inner axes, tried in turn: text models take any, image models want some tens of pixels. The first
# differs from every number of rows, so that an output cannot be taken for one with a batch axis by chance.
_TRIAL_SIZES = (4, 1, 2, 8, 16, 32, 64, 224)
# Made-up inputs of one run; a row above the API's 64 MiB could not be sent anyway.
_MAX_TRIAL_BYTES = 256 * 2**20


@dataclass(slots=True)
class Trial:
    """What running it showed: outputs by number of rows, and the words for the manifest's notes."""

    outputs: list[tuple[int, list[Array]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Rows one run may have, where that is less than the file declares.
    max_rows: int | None = None


def try_out(session: ort.InferenceSession, signature: Signature) -> Trial:
    """Run made-up rows: 1, 2 and 3 of them, or as many as the batch axis is fixed at.

    Raises:
        ModelRefusedError: when an output has no batch axis, or rows cannot be told apart.
    """
    n_rows = signature.fixed_rows or _TRIAL_ROWS
    reason = ""
    sizes = _TRIAL_SIZES if signature.has_free_axes else _TRIAL_SIZES[:1]
    for size in sizes:
        if feed_bytes(signature, n_rows, size) > _MAX_TRIAL_BYTES:
            reason = reason or f"{n_rows} rows would take more than {_MAX_TRIAL_BYTES >> 20} MiB"
            break
        rows = make_up_rows(signature, n_rows, size)
        try:
            trial = _run_rows(session, rows, signature.fixed_rows)
        except ORT_ERRORS as error:
            reason = reason or brief(str(error))
            continue
        if size != sizes[0]:
            trial.notes.append(f"free axes ran at size {size}; at size {sizes[0]} the model raised: {reason}")
        return trial
    return Trial(notes=[f"could not be tried with made-up rows: {reason}"])


def _run_rows(session: ort.InferenceSession, rows: Feed, fixed_rows: int | None) -> Trial:
    n_rows = fixed_rows or _TRIAL_ROWS
    trial = Trial()
    if fixed_rows is None:
        trial.outputs.append((1, session.run(None, take(rows, [0]))))
        try:
            two = session.run(None, take(rows, [0, 1]))
            together = session.run(None, rows)
        except ORT_ERRORS as error:
            return _run_copies(session, rows, trial, brief(str(error)))
        trial.outputs += [(2, two), (n_rows, together)]
    else:
        together = session.run(None, rows)
        trial.outputs.append((n_rows, together))
    _check_batch_axis(session, trial.outputs)
    if n_rows > 1 and (found := find_dependence(session, rows, together, fixed_rows)):
        trial.notes.append(found.note)
        trial.max_rows = found.max_rows
    return trial


def _run_copies(session: ort.InferenceSession, rows: Feed, trial: Trial, reason: str) -> Trial:
    """Find out why one row ran and several did not: the values of the others, or their number."""
    try:
        trial.outputs += [(n, session.run(None, take(rows, [0] * n))) for n in (2, _TRIAL_ROWS)]
    except ORT_ERRORS:
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
