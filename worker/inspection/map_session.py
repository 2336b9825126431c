"""A session whose outputs are all tensors: lists of maps (ZipMap) become (rows, keys). Knows no manifest."""

from typing import Any

import onnxruntime as ort

from ferry.errors import ModelRefusedError
from ferry.tensors import Array
from worker.inspection.runs import Feed
from worker.map_outputs import arrays_from_maps, keys_of
from worker.session_check import MAP_KEY_TYPES

# onnxruntime's words for outputs that are a list with one map for each row, from a class to its score.
MAP_TYPES = frozenset(MAP_KEY_TYPES)
PLAIN_TENSORS_HINT = "re-export with plain tensors (scikit-learn, LightGBM: zipmap=False)"

MapKeys = tuple[int | str, ...]


class MapSession:
    """Runs a session of onnxruntime; the first run of an output with maps shows its keys, the others must have them."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.map_outputs = frozenset(output.name for output in session.get_outputs() if output.type in MAP_TYPES)
        self.keys: dict[str, MapKeys] = {}

    def get_outputs(self) -> list[Any]:
        """Return the outputs as onnxruntime describes them."""
        return list(self._session.get_outputs())

    def run(self, names: list[str] | None, feed: Feed) -> list[Array]:
        """Run it as `InferenceSession.run`.

        Raises:
            Exception: what onnxruntime raises.
            ModelRefusedError: the keys of an output's maps change.
        """
        wanted = names or [output.name for output in self._session.get_outputs()]
        results = self._session.run(wanted, dict(feed))
        return [self._to_array(name, result) for name, result in zip(wanted, results, strict=True)]

    def _to_array(self, name: str, result: Any) -> Array:
        if name not in self.map_outputs:
            array: Array = result
            return array
        if result:
            self.keys.setdefault(name, keys_of(result))
        try:
            return arrays_from_maps(result, self.keys.get(name, ()))
        except ValueError as error:
            raise ModelRefusedError(
                f"the maps of output {name!r} do not always have the same keys ({error}); {PLAIN_TENSORS_HINT}"
            ) from error
