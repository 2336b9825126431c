"""The manifest: what a served model takes and gives, and how it may be batched.

Written by `training/` and `ferry models add`, read by api and worker. Knows nothing of onnxruntime or Redis.
"""

import hashlib
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
MANIFEST_FORMAT = 1

# Names stand in Redis keys, URLs and folder names: one harmless alphabet for all three.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
# A version is a positive integer without leading zeros, as Triton and TensorFlow Serving have it.
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"

# dtype in the manifest (numpy's names) -> datatype on the Open Inference Protocol.
OIP_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
# Rows of one run where neither the manifest nor a measurement says a number.
DEFAULT_MAX_ROWS = 64
MAX_MAX_ROWS = 65536
MAX_MAX_WAIT_MS = 1000.0
DEFAULT_MAX_JOB_ROWS = 4096
MAX_MAX_JOB_ROWS = 1_000_000
MAX_DEADLINE_S = 30 * 86_400


@cache
def _numpy_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype(object) if dtype == "string" else np.dtype(dtype).newbyteorder("<")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Preprocess(_Strict):
    """How an image becomes one row of an input.

    size: (height, width) to resize to; None keeps the image's own. mode: one channel of grey, or three. invert: light
    for dark (255 - value), before `scale`, which every value of 0 to 255 is multiplied by; then `mean` is subtracted
    and divided by `std`, one number for all channels or one each. layout: the axes of a row; "HW" takes grey alone.
    """

    mode: Literal["L", "RGB"] = "RGB"
    size: tuple[Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)]] | None = None
    layout: Literal["HWC", "CHW", "HW"] = "HWC"
    invert: bool = False
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @property
    def channels(self) -> int:
        """Numbers per pixel."""
        return 1 if self.mode == "L" else 3

    @model_validator(mode="after")
    def _channels_fit(self) -> Self:
        if self.layout == "HW" and self.channels != 1:
            raise ValueError("layout HW has no axis for three channels; use mode L, or HWC or CHW")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, self.channels):
                raise ValueError(f"{name} has {len(values)} numbers; expected one, or one for each of {self.channels}")
        return self

    def row_shape(self) -> tuple[int | None, ...]:
        """Return the inner shape of the rows that images become."""
        height, width = self.size or (None, None)
        shapes = {"HWC": (height, width, self.channels), "CHW": (self.channels, height, width), "HW": (height, width)}
        return shapes[self.layout]


class TensorSpec(_Strict):
    """One input or output.

    `shape` is (N, ...): the batch axis first and always None; an inner axis is None where any size will do.
    `range` are the least and greatest value the model was trained to see, inclusive; a job outside is refused.
    `preprocess` says how files of images become rows of this input; without it they are not taken.
    """

    name: str = Field(min_length=1, max_length=256)
    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(min_length=1)
    range: tuple[float, float] | None = None
    preprocess: Preprocess | None = None

    @field_validator("dtype")
    @classmethod
    def _known_dtype(cls, value: str) -> str:
        if value not in OIP_DATATYPES:
            raise ValueError(f"dtype {value!r} is not served; one of {', '.join(OIP_DATATYPES)}")
        return value

    @model_validator(mode="after")
    def _batch_axis_is_free(self) -> Self:
        if self.shape[0] is not None:
            raise ValueError(f"{self.name}: the first axis of `shape` is the batch axis and must be null")
        return self

    @model_validator(mode="after")
    def _images_fit(self) -> Self:
        if self.preprocess is None:
            return self
        if self.dtype in ("bool", "string"):
            raise ValueError(f"{self.name}: preprocess makes numbers of images, the input is {self.dtype}")
        made = self.preprocess.row_shape()
        if len(made) != len(self.shape) - 1 or any(
            have != want for have, want in zip(made, self.shape[1:], strict=True) if want is not None
        ):
            raise ValueError(f"{self.name}: preprocess makes rows of {made}, the input takes {self.shape[1:]}")
        return self

    @property
    def inner_shape(self) -> tuple[int | None, ...]:
        """The shape of one row, without the batch axis."""
        return self.shape[1:]

    @property
    def is_string(self) -> bool:
        """Whether elements are text, which has no fixed width."""
        return self.dtype == "string"

    @property
    def is_fixed(self) -> bool:
        """Whether every row has the same number of bytes."""
        return not self.is_string and None not in self.inner_shape

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Little-endian dtype of the elements; text is numpy's object dtype."""
        return _numpy_dtype(self.dtype)

    @property
    def oip_datatype(self) -> str:
        """The element type's name on the Open Inference Protocol."""
        return OIP_DATATYPES[self.dtype]


class Batching(_Strict):
    """How rows may share a run.

    `max_rows`: rows in one `session.run`. `max_wait_ms`: how long an unfilled batch may wait for company; where
    either is None the worker measures it. `max_job_rows`: rows in one job. `fixed_rows`: the model's batch axis is
    fixed at this size; shorter batches are padded to it. The numbers in force are `ferry.profile.limits_in_force`'s.
    """

    max_rows: int | None = Field(default=None, ge=1, le=MAX_MAX_ROWS)
    max_wait_ms: float | None = Field(default=None, ge=0.0, le=MAX_MAX_WAIT_MS)
    max_job_rows: int = Field(default=DEFAULT_MAX_JOB_ROWS, ge=1, le=MAX_MAX_JOB_ROWS)
    fixed_rows: int | None = Field(default=None, ge=1, le=MAX_MAX_ROWS)

    @model_validator(mode="after")
    def _fixed_rows_rule(self) -> Self:
        if self.fixed_rows is not None and self.max_rows != self.fixed_rows:
            raise ValueError(f"fixed_rows is {self.fixed_rows}, so max_rows must be too; it is {self.max_rows}")
        return self


class NonFinite(StrEnum):
    """What becomes of NaN and infinities among a model's float outputs.

    JSON has no such numbers and shows null for each, whatever is chosen.
    """

    ALLOW = "allow"  # raw answers hold them as the model made them
    NULL = "null"  # raw answers hold NaN for each, an infinity too: one thing means "no number" everywhere
    FAIL = "fail"  # the job that has one fails


class Manifest(_Strict):
    """Everything api and worker need to know of one version of one model."""

    format: int = Field(default=MANIFEST_FORMAT, ge=1, le=MANIFEST_FORMAT)
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    description: str = ""
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    # Class names in the order of the last axis of the first output; empty where there are none.
    labels: tuple[str, ...] = ()
    batching: Batching = Batching()
    # Seconds after which a job is canceled whose request does not say; None leaves it to FERRY_JOB_DEADLINE_S.
    deadline_s: float | None = Field(default=None, gt=0, le=MAX_DEADLINE_S)
    non_finite: NonFinite = NonFinite.ALLOW
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of model.onnx")
    created_at: str = ""
    # Informational, never read by the queue: figures from training, library versions, digest of the data.
    metrics: dict[str, float] = {}
    versions: dict[str, str] = {}
    data_digest: str = ""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, specs in (("input", self.inputs), ("output", self.outputs)):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise ValueError(f"two {kind}s have the same name: {', '.join(names)}")
        return self

    @property
    def ref(self) -> str:
        """`name:version`, as clients write it."""
        return f"{self.name}:{self.version}"

    def to_json(self) -> str:
        """Render for the file and for Redis."""
        return self.model_dump_json(indent=2) + "\n"


def is_name(text: str) -> bool:
    """Say whether `text` may name a model."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def is_version(text: str) -> bool:
    """Say whether `text` may name a version."""
    return re.fullmatch(VERSION_PATTERN, text) is not None


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` of one version's folder.

    Raises:
        FileNotFoundError: when it is not there.
        pydantic.ValidationError: when it is not a manifest; the message names each field.
    """
    return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` in one step, so that a reader never sees half of it."""
    draft = folder / f".{MANIFEST_FILE}.draft"
    draft.write_text(manifest.to_json(), encoding="utf-8")
    draft.replace(folder / MANIFEST_FILE)
