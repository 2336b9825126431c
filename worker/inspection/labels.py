"""Labels: where they are read from, and which output they are for. Knows no ONNX."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferry.errors import InvalidInputError
from ferry.manifest import TensorSpec


def read_labels(where: str) -> list[str]:
    """Read one label a line from a file; from standard input where it is "-", none where it is "".

    Raises:
        InvalidInputError: when it is no UTF-8 text.
        OSError: when there is no such file.
    """
    try:
        if where == "-":
            text = sys.stdin.buffer.read().decode("utf-8")
        else:
            text = Path(where).read_text(encoding="utf-8-sig") if where else ""
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the labels are not UTF-8 text: {error.reason} at byte {error.start}") from None
    return text.removesuffix("\n").split("\n") if text.strip() else []


@dataclass(frozen=True, slots=True)
class PlacedLabels:
    """Labels and the name of the output they are for, both empty where there are none; `notes` for the manifest."""

    labels: tuple[str, ...] = ()
    output: str = ""
    notes: tuple[str, ...] = ()


def place_labels(labels: Sequence[str], outputs: Sequence[TensorSpec]) -> PlacedLabels:
    """Find the output that has one score for each label in its last axis.

    Scores are float; else whole numbers will do (a quantized model's). An output whose last axis takes any size is
    taken when no other fits. Of several that fit, the first is taken and a note says so. Without labels, the keys of
    the first output that is a list of maps are the labels.

    Raises:
        InvalidInputError: when no output fits; the text names the size of each.
    """
    if not labels:
        return _labels_of_maps(outputs)
    for kinds, size in (("f", len(labels)), ("iu", len(labels)), ("f", None)):
        fitting = [spec.name for spec in outputs if _is_of(spec, kinds) and spec.inner_shape[-1] == size]
        if fitting:
            return PlacedLabels(tuple(labels), fitting[0], _why(len(labels), fitting, size))
    raise InvalidInputError(
        f"there are {len(labels)} labels, and no output has one score for each: "
        f"{'; '.join(_describe(spec) for spec in outputs)}; give one label for each score, one a line"
    )


def _labels_of_maps(outputs: Sequence[TensorSpec]) -> PlacedLabels:
    for spec in outputs:
        if spec.map_keys:
            return PlacedLabels(tuple(str(key) for key in spec.map_keys), spec.name)
    return PlacedLabels()


def _is_of(spec: TensorSpec, kinds: str) -> bool:
    return spec.numpy_dtype.kind in kinds and bool(spec.inner_shape)


def _why(n_labels: int, fitting: Sequence[str], size: int | None) -> tuple[str, ...]:
    if size is None:
        return (f"labels are for output {fitting[0]!r}, whose number of scores is not known; it must be {n_labels}",)
    if len(fitting) > 1:
        others = ", ".join(repr(name) for name in fitting[1:])
        return (f"labels are for output {fitting[0]!r}, the first with {n_labels} scores; {others} fits too",)
    return ()


def _describe(spec: TensorSpec) -> str:
    if spec.is_string or spec.dtype == "bool":
        return f"output {spec.name!r} is {spec.dtype}"
    if not spec.inner_shape:
        return f"output {spec.name!r} has one number a row"
    return f"the last axis of output {spec.name!r} has {spec.inner_shape[-1] or 'any size'}"
