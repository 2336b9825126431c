"""The labels an inspection is given: where they are read from, and whether they fit the model. Knows no ONNX."""

import sys
from collections.abc import Sequence
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


def check_labels(labels: Sequence[str], output: TensorSpec) -> None:
    """Compare the labels, if there are any, with the last axis of the first output.

    Raises:
        InvalidInputError: when the numbers differ.
    """
    n_classes = output.inner_shape[-1] if output.inner_shape else None
    if labels and n_classes is not None and len(labels) != n_classes:
        raise InvalidInputError(
            f"there are {len(labels)} labels, but the last axis of output {output.name!r} has {n_classes}; "
            "give one label for each, one a line"
        )
