"""What `ferry batch run` was asked for, checked before anything is sent. Knows no API and prints nothing."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ferry.bulk.formats.packing import packing_of, unpacked_head, unpacked_name
from ferry.bulk.formats.reading import read_options, unused_option
from ferry.bulk.formats.recognition import HEAD_BYTES, OUTPUT_SUFFIXES, recognise
from ferry.bulk.formats.registry import OUTPUT_FORMATS, default_output
from ferry.client_bulk_flows import PREDICTIONS_URL, endpoint_of
from ferry.errors import InvalidInputError

STDOUT = "-"
TEXT_FORMATS = ("jsonl", "csv", "tsv")
FORMULA_FORMATS = ("csv", "tsv")
ERROR_PLACES = ("file", "inline")
ERRORS_SUFFIX = ".errors.jsonl"
OUT_INFIX = ".out"
# A longer first line is not looked at; the server refuses it.
MAX_LINE_BYTES = 8 * 2**20
_INFER_URL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a batch's files go. out: None is standard output."""

    out: Path | None
    errors: Path


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch to be made of a file."""

    path: Path
    model: str
    endpoint: str
    output_format: str
    join: str | None
    places: Places
    escape_formulas: bool = False
    errors_inline: bool = False
    reading: Mapping[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, str]:
        """What the API gets to know of the input and the output."""
        metadata = {"output_format": self.output_format}
        if self.join:
            metadata["join"] = self.join
        if self.escape_formulas:
            metadata["csv_escape_formulas"] = "true"
        if self.errors_inline:
            metadata["errors"] = "inline"
        return metadata | dict(self.reading)


def plan_of(  # noqa: PLR0913 - an argument for each option
    path: Path,
    model: str,
    *,
    out: str | None,
    output_format: str | None,
    join: str | None,
    error_file: Path | None,
    errors: str = "file",
    escape_formulas: bool = False,
    dtypes: Sequence[str] = (),
    reading: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan.

    dtypes: of the model's outputs, where they are known already. reading: the options of `ferry.bulk.formats.reading`,
    as a batch's metadata has them.

    Raises:
        InvalidInputError: the file cannot be a batch's, an option is none of its format, or an output cannot go where
            it should.
    """
    if errors not in ERROR_PLACES:
        raise InvalidInputError(
            f"--errors takes {' or '.join(ERROR_PLACES)}, not {errors!r}; --error-file takes a path"
        )
    if not path.is_file():
        raise InvalidInputError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}")
    options = read_options(reading or {})
    input_format = _format_of(path)
    if unused := unused_option(options, input_format):
        raise InvalidInputError(f"--{unused[1]}")
    endpoint = _named_route(path, model) if input_format == "jsonl" else endpoint_of(model)
    wanted = _output_format(output_format, out, input_format, dtypes)
    if escape_formulas and wanted not in FORMULA_FORMATS:
        raise InvalidInputError(f"--escape-formulas is for csv and tsv, the output is {wanted}; leave it out")
    places = places_of(out, path.with_name(f"{stem_of(path.name)}{OUT_INFIX}.{wanted}"), error_file, source=path)
    return Plan(path, model, endpoint, wanted, join, places, escape_formulas, errors == "inline", reading or {})


def stem_of(filename: str) -> str:
    """Return a file's name without its suffix, and without that of its packing."""
    return Path(unpacked_name(filename)).stem


def places_of(out: str | None, default_out: Path, errors: Path | None, *, source: Path | None = None) -> Places:
    """Return where the files go: `out`, where that is not said `default_out`; the errors beside it.

    Raises:
        InvalidInputError: a folder is missing, or two files would be one.
    """
    target = None if out == STDOUT else Path(out) if out else default_out
    shown = target or default_out
    places = Places(target, errors or shown.parent / (shown.name + ERRORS_SUFFIX))
    for option, place in (("-o", places.out), ("--error-file", places.errors)):
        if place is None:
            continue
        if not place.parent.is_dir():
            raise InvalidInputError(f"{option} {place}: there is no folder {place.parent}; make it first")
        if place.is_dir():
            raise InvalidInputError(f"{option} {place} is a folder; name a file in it")
        if source is not None and place.resolve() == source.resolve():
            raise InvalidInputError(f"{option} {place} is the input itself; name another file")
    if places.out is not None and places.out.resolve() == places.errors.resolve():
        raise InvalidInputError(f"-o and --error-file are both {places.out}; name two files")
    return places


def _format_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head, name = file.read(HEAD_BYTES), path.name
            if packing := packing_of(name, head):
                head, name = unpacked_head(file, packing, HEAD_BYTES), unpacked_name(name)
            return recognise(name, head)
    except ImportError:
        detail = "the package that unpacks .zst is not installed here (pyarrow); send it as .gz, or not packed"
        raise InvalidInputError(f"{path}: {detail}") from None
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from None
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error.detail}") from None


def _format_by_suffix(out: str | None) -> str | None:
    """Return the format that the output's name says; None where it says none.

    Raises:
        InvalidInputError: its suffix is of no output format.
    """
    suffix = Path(out).suffix.lower() if out else ""
    if not suffix:
        return None
    if suffix not in OUTPUT_SUFFIXES:
        known = ", ".join(OUTPUT_SUFFIXES)
        raise InvalidInputError(f"-o {out}: no output is written as {suffix}; name it {known}, or give --format")
    return OUTPUT_SUFFIXES[suffix]


def check_suffix(out: str | None, output_format: str, why: str, remedy: str) -> None:
    """Refuse a name of the output that says another format than the one it is written in.

    Raises:
        InvalidInputError: naming both, with `why` it is that format and a remedy beside another name.
    """
    suffix = Path(out).suffix.lower() if out else ""
    if OUTPUT_SUFFIXES.get(suffix, output_format) != output_format:
        detail = f"-o {out} is named {suffix}, which is {OUTPUT_SUFFIXES[suffix]}, but {why}"
        raise InvalidInputError(f"{detail}; name it .{output_format}" + (f", or {remedy}" if remedy else ""))


def _output_format(asked: str | None, out: str | None, input_format: str, dtypes: Sequence[str]) -> str:
    """Return the format asked for, else the one that the output's name says, else the input's."""
    if asked is not None:
        if asked not in OUTPUT_FORMATS:
            raise InvalidInputError(f"there is no --format {asked!r}; there are {', '.join(OUTPUT_FORMATS)}")
        check_suffix(out, asked, f"--format says {asked}", "leave --format out")
        return asked
    return _format_by_suffix(out) or default_output(input_format, dtypes)


def _named_route(path: Path, model: str) -> str:
    """Return the route that the first line names, in OpenAI's envelope, or whose body it is; else the model's own."""
    own = endpoint_of(model)
    line = _first_line(path)
    if "input" in line and "inputs" not in line and "body" not in line:
        return PREDICTIONS_URL
    if "url" not in line or "body" not in line:
        return own
    url = line["url"]
    if url in (own, PREDICTIONS_URL):
        return str(url)
    route = _INFER_URL.fullmatch(url) if isinstance(url, str) else None
    if route is None:
        raise InvalidInputError(
            f"the lines of {path} name the url {str(url)[:80]!r}; a batch takes {own} or {PREDICTIONS_URL}"
        )
    name, colon, _ = model.partition(":")
    if unquote(route[1]) != name or colon:
        raise InvalidInputError(f"the lines of {path} name the url {url}, and --model says {model}; name one model")
    return str(url)


def _first_line(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        packing = packing_of(path.name, file.read(HEAD_BYTES))
        file.seek(0)
        source = io.BytesIO(unpacked_head(file, packing, MAX_LINE_BYTES)) if packing else file
        for _ in range(HEAD_BYTES):  # lines of white space come to an end
            line = source.readline(MAX_LINE_BYTES)
            if line.removeprefix(_BOM).strip() or not line:
                break
    try:
        fields = json.loads(line.removeprefix(_BOM))
    except (ValueError, RecursionError):
        return {}  # the server names every line that is not JSON
    return fields if isinstance(fields, dict) else {}
