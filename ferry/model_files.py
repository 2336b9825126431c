"""The files of one version: model.onnx and those that it names (external data). Copies them in and checks them.

Owns which files these are, how they are found beside a model, and the limit on all together. Knows nothing of ONNX:
`worker/inspection/external_data.py` reads the names from the model.
"""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ferry.errors import ModelRefusedError
from ferry.file_names import why_not_a_file_name
from ferry.manifest import MODEL_FILE, RESERVED_NAMES, Manifest, sha256_of

# A worker holds all weights in memory, and few machines have more for one process. An object store takes 80 GB in one
# file (`ferry.bulk.storage`), so that every version below this limit can be pushed to one.
MAX_TOTAL_BYTES = 64 * 2**30
# Room that copying leaves on the disk, where Redis may keep its log too.
_SPARE_BYTES = 2**28
_COPY_BYTES = 2**22


def file_names(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of all files of a version but the manifest, paths below its folder."""
    return (MODEL_FILE, *(file.name for file in manifest.files))


def total_bytes(folder: Path, manifest: Manifest) -> int:
    """Return the size of all files of a version but the manifest.

    Raises:
        FileNotFoundError: model.onnx is missing.
    """
    return (folder / MODEL_FILE).stat().st_size + sum(file.size_bytes for file in manifest.files)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a version with the digest that its manifest names; reads them whole.

    Raises:
        ModelRefusedError: a file is missing or is another one; the text names both digests.
    """
    digests = {MODEL_FILE: manifest.sha256} | {file.name: file.sha256 for file in manifest.files}
    for name, wanted in digests.items():
        path = folder / name
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ModelRefusedError(f"{manifest.ref}: cannot read {path}: {error.strerror}") from error
        if found != wanted:
            raise ModelRefusedError(f"{manifest.ref}: {path} has sha256 {found}, its manifest says {wanted}")


def what_is_missing(folder: Path, manifest: Manifest) -> str:
    """Say which file of a version is not there or has another size, without reading any; "" where all are there."""
    if not (folder / MODEL_FILE).is_file():
        return f"{MODEL_FILE} is missing"
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            return f"{file.name} is missing"
        if (size_bytes := path.stat().st_size) != file.size_bytes:
            return f"{file.name} has {size_bytes} bytes, the manifest says {file.size_bytes}"
    return ""


def bring_files(wanted: Mapping[str, str], source: Path, target: Path) -> None:
    """Copy the files that a model names from the folder beside it to `target`, where model.onnx is already.

    `wanted`: names as `worker/inspection` read them from the model -> the tensor that names each.

    Raises:
        ModelRefusedError: a file is missing, is not a regular one or lies elsewhere, all together are too large for
            Ferry or for the disk; the text names tensor and path.
    """
    paths = {name: find_file(name, tensor, source) for name, tensor in wanted.items()}
    size_bytes = (target / MODEL_FILE).stat().st_size + sum(path.stat().st_size for path in paths.values())
    if size_bytes > MAX_TOTAL_BYTES:
        raise ModelRefusedError(
            f"the model and its {len(paths)} files of external data have {size_bytes / 2**30:.1f} GiB, the limit is "
            f"{MAX_TOTAL_BYTES // 2**30} GiB; quantize the model or re-export it with float16 weights"
        )
    free_bytes = shutil.disk_usage(target).free - _SPARE_BYTES
    if size_bytes > free_bytes:
        raise ModelRefusedError(
            f"the model has {size_bytes / 2**30:.1f} GiB and the disk of {target.parent} has room for "
            f"{max(free_bytes, 0) / 2**30:.1f} GiB; make room, or name another folder with --models-dir"
        )
    for name, path in paths.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _open_regular(path, name, wanted[name]) as opened, copy.open("xb") as written:
            shutil.copyfileobj(opened, written, _COPY_BYTES)


def find_file(name: str, tensor: str, folder: Path) -> Path:
    """Return where a file is that a tensor of a model in `folder` names.

    Raises:
        ModelRefusedError: it may not have that name, is missing, is not a regular file, or is a link that leaves the
            folder; the text names tensor and path.
    """
    said = f"tensor {tensor!r} has its values in {name!r}"
    if reason := why_not_a_file_name(name, reserved=RESERVED_NAMES):
        raise ModelRefusedError(f"{said}, which {reason}; {resave_hint()}")
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelRefusedError(
            f"{said}, and there is no file {path}; put it there: it belongs to the model as much as the .onnx file"
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise ModelRefusedError(f"{said}, and {path} cannot be read: {error}") from error
    if not real.is_relative_to(folder.resolve()):
        raise ModelRefusedError(
            f"{said}, and {path} is a link to {real}, outside the model's folder; copy what it points to with `cp -L`"
        )
    if not stat.S_ISREG(real.stat().st_mode):
        raise ModelRefusedError(f"{said}, and {path} is not a regular file; put the file itself there")
    return real


def resave_hint() -> str:
    """Say how a model gets one file of external data with a good name."""
    return (
        "save the model again with onnx.save(onnx.load(FILE), OUT, save_as_external_data=True, "
        'all_tensors_to_one_file=True, location="model.onnx.data")'
    )


def _open_regular(path: Path, name: str, tensor: str) -> BinaryIO:
    """Open a file that may have been replaced since it was looked at: neither a link nor a pipe is followed."""
    opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise ModelRefusedError(f"tensor {tensor!r} has its values in {name!r}, and {path} is not a regular file")
    return opened
