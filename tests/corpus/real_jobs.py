"""Jobs for ONNX files that somebody else made: from a file beside the model, else random ones of plausible shape.

`KNOWN` holds what some published models do not declare, by the name of the file: sizes of free axes, and the range of
whole numbers. Knows nothing of HTTP.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ferry.manifest import TensorSpec
from ferry.tensors import Array

N_JOBS = 24
FREE_AXIS_SIZE = 3
_FLOAT_SCALES = (1.0, 20.0, 0.05, 5.0)
_WORDS = ("a cat", "the dog barks", "Birds sing in the morning", "")


@dataclass(frozen=True)
class Hint:
    """What a file does not say. shapes: of one job's inputs. n_ids: whole numbers are below it. options: of `add`."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    n_ids: int = 2
    options: tuple[str, ...] = ()


def _silero(*options: str) -> Hint:
    return Hint({"input": (1, 576), "state": (2, 1, 128)}, options=options)


KNOWN = {
    "magika": Hint(n_ids=257),
    "nudenet_320n": Hint({"images": (1, 3, 320, 320)}),
    "ppocr_det": Hint({"x": (1, 3, 160, 160)}),
    "ppocr_det_fp16": Hint({"x": (1, 3, 160, 160)}),
    "ppocr_det_qdq": Hint({"x": (1, 3, 160, 160)}),
    "ppocr_rec": Hint({"x": (1, 3, 48, 160)}),
    "ppocr_rec_fp16": Hint({"x": (1, 3, 48, 160)}),
    "ppocr_rec_qdq": Hint({"x": (1, 3, 48, 160)}),
    "ppocr_cls": Hint({"x": (1, 3, 48, 192)}),
    "ppocr_cls_fp16": Hint({"x": (1, 3, 48, 192)}),
    "ppocr_cls_qdq": Hint({"x": (1, 3, 48, 192)}),
    "ddddocr_common": Hint({"input1": (1, 1, 64, 160)}),
    "ddddocr_old": Hint({"input1": (1, 1, 64, 160)}),
    "silero_vad": _silero("--set", "sr=16000"),
    "silero_vad_16k_op15": _silero("--set", "sr=16000"),
    "silero_vad_op18_ifless": _silero("--set", "sr=16000"),
    "silero_vad_half": _silero(),
    "oww_melspectrogram": Hint({"input": (1, 3200)}),
    "aecmos_run_1663829550_stage_0": Hint({"input": (1, 3, 40, 160), "h0": (4, 1, 64)}),
    "aecmos_run_1668423760_stage_0": Hint({"input": (1, 3, 40, 160), "h0": (4, 1, 96)}),
    "plcmos_v2": Hint({"degraded_audio": (1, 1, 40, 257)}),
}


@dataclass(frozen=True)
class Job:
    """Inputs by name, in the model's layout; `right` are the answers of the file of jobs, where it has them."""

    inputs: dict[str, Array]
    right: list[Array] | None = None


def jobs_of(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Iterator[Job]:
    """Yield the jobs of the file beside the model, else random ones."""
    names = [spec.name for spec in inputs]
    with suppress(FileNotFoundError), np.load(path.with_suffix(".npz")) as file:
        arrays = dict(file)
        numbers = [n for n in range(N_JOBS) if all(f"{name}/{n}" in arrays for name in names)]
        for n in numbers:
            right = [arrays.get(f"{spec.name}/{n}") for spec in outputs]
            known = [each for each in right if each is not None]
            yield Job({name: arrays[f"{name}/{n}"] for name in names}, known if len(known) == len(right) else None)
        if numbers:
            return
    hint = KNOWN.get(path.stem.lower(), Hint())
    for n in range(N_JOBS):
        random = np.random.default_rng(n)
        yield Job({spec.name: _made_up(spec, hint, n, random) for spec in inputs})


def _made_up(spec: TensorSpec, hint: Hint, n: int, random: np.random.Generator) -> Array:
    shape = hint.shapes.get(spec.name) or tuple(
        size if size is not None else 1 if axis == spec.batch_axis else FREE_AXIS_SIZE
        for axis, size in enumerate(spec.shape)
    )
    if spec.is_string:
        return random.choice(np.array(_WORDS, dtype=object), shape)
    if spec.numpy_dtype.kind == "f":
        values = random.normal(size=shape) * _FLOAT_SCALES[n % len(_FLOAT_SCALES)]
        if spec.range is not None:
            values = np.clip(values, *spec.range)
        return values.astype(spec.numpy_dtype)
    return random.integers(0, hint.n_ids, shape).astype(spec.numpy_dtype)
