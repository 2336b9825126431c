"""An onnxruntime session that computes what the test says."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ferry.tensors import Array


class FakeSession:
    """Calls `compute` with the inputs in the order they are fed; keeps what it was fed."""

    def __init__(self, compute: Callable[..., list[Any]]) -> None:
        self._compute = compute
        self.feeds: list[dict[str, Array]] = []
        self.wanted: list[str] = []

    def run(self, output_names: list[str], feed: dict[str, Array]) -> list[Any]:
        self.wanted = output_names
        self.feeds.append(feed)
        return self._compute(*feed.values())

    @property
    def rows_a_run(self) -> list[int]:
        return [next(iter(feed.values())).shape[0] for feed in self.feeds]


def doubled(x: Array) -> list[Array]:
    """Give y = 2 x, of the input's shape and dtype."""
    return [np.asarray(x * 2, dtype=x.dtype)]
