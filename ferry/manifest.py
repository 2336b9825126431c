"""The manifest: what a served model takes and gives, and how it is executed.

Written by `training/` and `ferry models add`, read by api and worker. Knows nothing of onnxruntime or Redis.
"""

import errno
import hashlib
import json
import math
import re
import stat
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ferry.file_names import why_not_a_file_name
from ferry.missing_rules import REFUSE, MissingRule, why_unfit

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
SAMPLES_DIR = "samples"
MANIFEST_FORMAT = 1

# Names are part of Redis keys, URLs and folder names: one harmless alphabet for all three.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
# A version is a positive integer without leading zeros, as Triton and TensorFlow Serving have it.
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
# Names in a version's folder that no further file of the model may have.
RESERVED_NAMES = frozenset({MANIFEST_FILE, MODEL_FILE, SAMPLES_DIR})

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


_Byte = Annotated[int, Field(ge=0, le=255)]


class Preprocess(_Strict):
    """How an image, or the pixels of one in columns of a table, becomes one row of an input.

    size: (height, width) to resize to; None keeps the image's own. mode: one channel of grey, or three. background: the
    colour (RGB) behind transparent pixels. invert: light for dark (255 - value), before `scale`, which every value of 0
    to 255 is multiplied by; then `mean` is subtracted and divided by `std`, one number for all channels or one each.
    layout: the axes of a row; "HW" takes grey alone. columns: the name of table columns that hold raw pixels of 0 to
    255, with {} for the number of the pixel from 0 or from 1, line by line and within a pixel by channel; empty: none.
    """

    mode: Literal["L", "RGB"] = "RGB"
    size: tuple[Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)]] | None = None
    layout: Literal["HWC", "CHW", "HW"] = "HWC"
    background: tuple[_Byte, _Byte, _Byte] = (255, 255, 255)
    invert: bool = False
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    columns: str = Field(default="", max_length=256)

    @property
    def channels(self) -> int:
        """Numbers per pixel."""
        return 1 if self.mode == "L" else 3

    @property
    def n_values(self) -> int | None:
        """Numbers in an image of `size`; None where images keep their own size."""
        return None if self.size is None else self.size[0] * self.size[1] * self.channels

    @model_validator(mode="after")
    def _channels_fit(self) -> Self:
        if self.layout == "HW" and self.channels != 1:
            raise ValueError("layout HW has no axis for three channels; use mode L, or HWC or CHW")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, self.channels):
                raise ValueError(f"{name} has {len(values)} numbers; expected one, or one for each of {self.channels}")
        return self

    @model_validator(mode="after")
    def _columns_are_numbered(self) -> Self:
        if not self.columns:
            return self
        if self.columns.count("{}") != 1:
            raise ValueError(f"columns is {self.columns!r}; expected one {{}} for the number, such as pixel{{}}")
        if self.size is None:
            raise ValueError("columns needs `size`: a table does not say how many pixels a line of an image has")
        return self

    def row_shape(self) -> tuple[int | None, ...]:
        """Return the inner shape of the rows that images become."""
        height, width = self.size or (None, None)
        shapes = {"HWC": (height, width, self.channels), "CHW": (self.channels, height, width), "HW": (height, width)}
        return shapes[self.layout]


class TensorSpec(_Strict):
    """One input or output.

    `shape` is the tensor's shape as the model itself has it; an axis is None where any size will do.
    `batch_axis` is the axis along which rows lie, None where the tensor has none.
    `has_any_rank`: the number of axes differs from run to run; `shape` is then empty and says nothing.
    `range` are the least and greatest value the model was trained to see, inclusive; a job outside is refused.
    `preprocess` says how files of images become rows of this input; without it they are not taken.
    `missing`: what a missing value of an input becomes: "error" (its job or row fails), "nan", or the value given here.
    `map_keys`: the model gives a list of maps here (ZipMap); their keys, in the order of the last axis.
    """

    name: str = Field(min_length=1, max_length=256)
    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)] | None, ...] = ()
    batch_axis: Annotated[int, Field(ge=0)] | None = 0
    has_any_rank: bool = False
    range: tuple[float, float] | None = None
    preprocess: Preprocess | None = None
    missing: MissingRule = REFUSE
    map_keys: tuple[int, ...] | tuple[str, ...] = ()

    @field_validator("dtype")
    @classmethod
    def _known_dtype(cls, value: str) -> str:
        if value not in OIP_DATATYPES:
            raise ValueError(f"dtype {value!r} is not served; one of {', '.join(OIP_DATATYPES)}")
        return value

    @model_validator(mode="after")
    def _batch_axis_is_there(self) -> Self:
        if self.has_any_rank and (self.shape or self.batch_axis is not None):
            raise ValueError(f"{self.name}: with `has_any_rank`, `shape` must be empty and `batch_axis` null")
        if self.batch_axis is not None and self.batch_axis >= len(self.shape):
            raise ValueError(
                f"{self.name}: batch_axis is {self.batch_axis}, but `shape` has {len(self.shape)} axes; "
                "set batch_axis to null where the tensor has no rows"
            )
        return self

    @model_validator(mode="after")
    def _map_keys_fit(self) -> Self:
        if not self.map_keys:
            return self
        if len(set(self.map_keys)) != len(self.map_keys):
            raise ValueError(f"{self.name}: a key is in `map_keys` twice")
        if self.dtype != "float32" or len(self.shape) != 2 or self.shape[1] != len(self.map_keys):
            raise ValueError(
                f"{self.name}: with {len(self.map_keys)} `map_keys` the dtype must be float32 and the shape "
                f"[null, {len(self.map_keys)}]"
            )
        return self

    @model_validator(mode="after")
    def _images_fit(self) -> Self:
        if self.preprocess is None:
            return self
        if self.dtype in ("bool", "string"):
            raise ValueError(f"{self.name}: preprocess makes numbers of images, the input is {self.dtype}")
        made = self.preprocess.row_shape()
        takes = self.inner_shape
        if len(made) != len(takes) or any(
            have != want for have, want in zip(made, takes, strict=True) if want is not None
        ):
            raise ValueError(f"{self.name}: preprocess makes rows of {made}, the input takes {takes}")
        return self

    @model_validator(mode="after")
    def _missing_fits(self) -> Self:
        if reason := why_unfit(self.missing, self.dtype, self.range):
            raise ValueError(f"{self.name}: `missing` does not fit: {reason}")
        return self

    @property
    def inner_shape(self) -> tuple[int | None, ...]:
        """The shape of one row: `shape` without the batch axis, if there is one."""
        axis = self.batch_axis
        return self.shape if axis is None else self.shape[:axis] + self.shape[axis + 1 :]

    @property
    def is_string(self) -> bool:
        """Whether elements are text, which has no fixed width."""
        return self.dtype == "string"

    @property
    def is_float(self) -> bool:
        """Whether elements are floats, among which NaN is."""
        return self.numpy_dtype.kind == "f"

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


class FixedInput(_Strict):
    """An input of the model that has the same value in every run; clients do not send it.

    `values` are its elements in row-major order.
    """

    name: str = Field(min_length=1, max_length=256)
    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...] = ()
    values: tuple[bool | int | float | str, ...]

    @model_validator(mode="after")
    def _values_fill_the_shape(self) -> Self:
        if self.dtype not in OIP_DATATYPES:
            raise ValueError(f"{self.name}: dtype {self.dtype!r} is not served; one of {', '.join(OIP_DATATYPES)}")
        if len(self.values) != math.prod(self.shape):
            raise ValueError(f"{self.name}: {len(self.values)} values do not fill the shape {list(self.shape)}")
        return self

    def to_array(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the value as the model takes it."""
        return np.array(self.values, dtype=_numpy_dtype(self.dtype)).reshape(self.shape)


class ExecutionMode(StrEnum):
    """How jobs become calls of `session.run`."""

    BATCHED = "batched"  # rows of many jobs share a run
    WHOLE_JOB = "whole_job"  # the arrays of one job are one run, as they are


class Evidence(StrEnum):
    """Where the execution mode comes from."""

    PROVEN = "proven"  # the model was run with changed neighbours, and its graph was walked
    DECLARED = "declared"  # the author of the manifest says so
    OBSERVED = "observed"  # a check in production saw that rows influence each other
    OVERRIDDEN = "overridden"  # an operator said so against the evidence (--rows-independent)


class Execution(_Strict):
    """How jobs of this model are executed, and why.

    A manifest that says nothing is executed one job a run: that is right for every model.
    `reason`: one sentence; it names the node that decided and the remedy, where there is one.
    `max_move`: the largest relative change of an answer that was seen when only the number of rows of a run changed;
    `session.run` itself changes last bits then. 0 where none was seen or looked for.
    """

    mode: ExecutionMode = ExecutionMode.WHOLE_JOB
    reason: str = "the model was not tried: `ferry models add` tries it"
    evidence: Evidence = Evidence.DECLARED
    max_move: float = Field(default=0.0, ge=0)


class Batching(_Strict):
    """How rows may share a run.

    `max_rows`: rows in one `session.run`. `max_wait_ms`: how long an unfilled batch may wait for more rows; where
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


class ModelFile(_Strict):
    """A further file of a model: weights that model.onnx keeps outside (ONNX external data).

    `name` is its path in the version's folder, with "/" between the parts.
    """

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _stays_in_the_folder(cls, value: str) -> str:
        if reason := why_not_a_file_name(value, reserved=RESERVED_NAMES):
            raise ValueError(f"{value!r} {reason}")
        return value


MAX_DESCRIPTION_CHARS = 4096
# Fields of the manifest that are part of `Manifest.digest` as they are.
_ANSWER_FIELDS = {"format", "inputs", "outputs", "fixed_inputs", "labels", "labels_of", "non_finite"}


class Manifest(_Strict):
    """Everything api and worker need to know of one version of one model."""

    format: int = Field(default=MANIFEST_FORMAT, ge=1, le=MANIFEST_FORMAT)
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    # Part of every list of models.
    description: str = Field(default="", max_length=MAX_DESCRIPTION_CHARS)
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    # Inputs that no client sends: the same value in every run.
    fixed_inputs: tuple[FixedInput, ...] = ()
    # Class names in the order of the last axis of the output `labels_of`; empty where there are none.
    labels: tuple[str, ...] = ()
    # Name of the output with one score for each label; empty: the first output.
    labels_of: str = ""
    execution: Execution = Execution()
    batching: Batching = Batching()
    # Seconds after which a job is canceled whose request does not say; None leaves it to FERRY_JOB_DEADLINE_S.
    deadline_s: float | None = Field(default=None, gt=0, le=MAX_DEADLINE_S)
    non_finite: NonFinite = NonFinite.ALLOW
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of model.onnx")
    # The other files that model.onnx names, in the order of their names; they lie in the same folder.
    files: tuple[ModelFile, ...] = ()
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
        files = [file.name for file in self.files]
        if len(set(files)) != len(files):
            raise ValueError(f"two of `files` have the same name: {', '.join(files)}")
        return self

    @model_validator(mode="after")
    def _outputs_have_no_rule(self) -> Self:
        for spec in self.outputs:
            if spec.missing != REFUSE:
                raise ValueError(f"output {spec.name}: `missing` is for inputs; `non_finite` is for outputs")
        return self

    @model_validator(mode="after")
    def _labels_have_an_output(self) -> Self:
        names = [spec.name for spec in self.outputs]
        if self.labels_of and self.labels_of not in names:
            raise ValueError(f"labels_of is {self.labels_of!r}, which is no output; there are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _tensors_fit_the_mode(self) -> Self:
        if not self.is_batched:
            if self.batching.fixed_rows is not None:
                raise ValueError("fixed_rows is for batched execution; with whole_job nothing is padded")
            return self
        for spec in (*self.inputs, *self.outputs):
            if spec.batch_axis is None or spec.shape[spec.batch_axis] is not None:
                raise ValueError(
                    f"{spec.name}: batched execution needs a batch axis whose size in `shape` is null; "
                    "set execution.mode to whole_job for a model without one"
                )
        return self

    @property
    def is_batched(self) -> bool:
        """Whether rows of many jobs may share a run."""
        return self.execution.mode is ExecutionMode.BATCHED

    @property
    def has_rows(self) -> bool:
        """Whether every input has a batch axis that can hold one row: it can be sent by itself, and files hold rows."""
        return all(spec.batch_axis is not None and spec.shape[spec.batch_axis] in (None, 1) for spec in self.inputs)

    @property
    def has_rows_first(self) -> bool:
        """Whether the model is batched and every tensor has its rows first, as most models have."""
        return self.is_batched and not any(spec.batch_axis for spec in (*self.inputs, *self.outputs))

    @property
    def labels_index(self) -> int:
        """Which output the labels are for."""
        names = [spec.name for spec in self.outputs]
        return names.index(self.labels_of) if self.labels_of else 0

    @property
    def digest(self) -> str:
        """The version's identity, in hex: a sha256 over all files and over every field that can change an answer.

        Names, texts, figures and batching limits are not part of it. It is computed anew each time: keep it.
        """
        content = {
            "model": self.sha256,
            "files": sorted((file.name, file.sha256) for file in self.files),
            "mode": self.execution.mode,
            # Without defaults: a field that a later Ferry adds leaves the digests of today's manifests as they are.
            **self.model_dump(mode="json", include=_ANSWER_FIELDS, exclude_defaults=True),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

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
        OSError: when it is no regular file, such as a pipe, from which a read would never return.
        pydantic.ValidationError: when it is not a manifest; the message names each field.
    """
    path = folder / MANIFEST_FILE
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder says what it is by itself
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return Manifest.model_validate_json(path.read_bytes())


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` in one step, so that a reader never sees half of it."""
    draft = folder / f".{MANIFEST_FILE}.draft"
    draft.write_text(manifest.to_json(), encoding="utf-8")
    draft.replace(folder / MANIFEST_FILE)
