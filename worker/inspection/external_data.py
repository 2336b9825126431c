"""External data: tensors of an ONNX file whose values lie in other files. Reads their names; opens no data file.

`ferry/model_files.py` decides which names are possible and where the files are found.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import onnx

from ferry.errors import ModelRefusedError
from ferry.file_names import why_not_a_file_name
from ferry.manifest import RESERVED_NAMES, ModelFile, sha256_of
from ferry.model_files import MAX_TOTAL_BYTES, find_file, resave_hint


class FilesWantedError(Exception):
    """The model cannot be inspected before these files lie beside it: names -> the first tensor that names each."""

    def __init__(self, wanted: dict[str, str]) -> None:
        super().__init__(f"not beside the model: {', '.join(wanted)}")
        self.wanted = wanted


def wanted_files(tensors: Iterable[onnx.TensorProto]) -> dict[str, str]:
    """Return the names of the files that tensors have their values in -> the first tensor that names each.

    Raises:
        ModelRefusedError: a tensor does not say where, or a file may not have its name; the text names both.
    """
    wanted: dict[str, str] = {}
    for tensor in tensors:
        if is_external(tensor):
            wanted.setdefault(_location(tensor), tensor.name)
    return dict(sorted(wanted.items()))


def require_files(tensors: Iterable[onnx.TensorProto], folder: Path) -> None:
    """Look for the files that tensors have their values in.

    Raises:
        FilesWantedError: some are not in the model's folder.
        ModelRefusedError: as `wanted_files`.
    """
    absent = {name: tensor for name, tensor in wanted_files(tensors).items() if not (folder / name).exists()}
    if absent:
        raise FilesWantedError(absent)


def record_files(tensors: Iterable[onnx.TensorProto], folder: Path) -> tuple[ModelFile, ...]:
    """Return the manifest's entries of the files that tensors have their values in; reads the files whole.

    Raises:
        ModelRefusedError: a file leaves the folder, or is shorter than a tensor needs; the text names tensor and file.
    """
    external = [tensor for tensor in tensors if is_external(tensor)]
    paths = {name: find_file(name, tensor, folder) for name, tensor in wanted_files(external).items()}
    sizes = {name: path.stat().st_size for name, path in paths.items()}
    for tensor in external:
        _check_extent(tensor, sizes[_location(tensor)])
    if (total := sum(sizes.values())) > MAX_TOTAL_BYTES:
        raise ModelRefusedError(
            f"its external data has {total / 2**30:.1f} GiB, the limit is {MAX_TOTAL_BYTES // 2**30} GiB; "
            "quantize the model or re-export it with float16 weights"
        )
    return tuple(ModelFile(name=name, sha256=sha256_of(path), size_bytes=sizes[name]) for name, path in paths.items())


def is_external(tensor: onnx.TensorProto) -> bool:
    """Say whether a tensor's values lie in another file, as onnxruntime sees it."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _location(tensor: onnx.TensorProto) -> str:
    said = [entry.value for entry in tensor.external_data if entry.key == "location"]
    if len(said) != 1 or not said[0]:
        raise ModelRefusedError(
            f"tensor {tensor.name!r} has its values in another file and names {len(said)} of them instead of one; "
            "export the model again"
        )
    # Without "./" and doubled slashes, so that one file has one name.
    name = str(PurePosixPath(said[0]))
    if reason := why_not_a_file_name(name, reserved=RESERVED_NAMES):
        raise ModelRefusedError(
            f"tensor {tensor.name!r} has its values in {said[0]!r}, which {reason}; {resave_hint()}"
        )
    return name


def _check_extent(tensor: onnx.TensorProto, size_bytes: int) -> None:
    """Refuse a file that ends before the tensor does: onnxruntime's own words for it name no remedy."""
    numbers = {entry.key: entry.value for entry in tensor.external_data if entry.key in ("offset", "length")}
    try:
        start, length = (int(numbers.get(key) or 0) for key in ("offset", "length"))
    except ValueError:
        start, length = -1, 0
    if min(start, length) < 0:
        raise ModelRefusedError(
            f"tensor {tensor.name!r} does not say which bytes of {_location(tensor)!r} it has ({numbers}); "
            "export the model again"
        )
    if start + length > size_bytes:
        raise ModelRefusedError(
            f"tensor {tensor.name!r} needs bytes {start} to {start + length} of {_location(tensor)!r}, which has "
            f"{size_bytes}: the file is damaged or belongs to another model; download or export both again"
        )
