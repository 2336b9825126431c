"""`ferry models`: what stands in the model repository, and how models get in and out. Knows nothing of onnxruntime."""

import json
import math
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferry.errors import ConflictError, FerryError, InvalidInputError, ModelRefusedError, NotFoundError
from ferry.inspection import check_file, inspect_model
from ferry.manifest import MODEL_FILE, Manifest, TensorSpec, is_version, write_manifest
from ferry.repository import Repository, Survey
from ferry.settings import Settings, load_settings

# Free inner axes of an example; the first size that the inspection tries.
EXAMPLE_SIZE = 4
# Above, an example is made by a one-line program: thousands of zeros cannot be read or pasted.
MAX_SPELLED_OUT = 64

app = typer.Typer(help="Add, list, show and remove models.", no_args_is_help=True)

ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="Model repository; by default FERRY_MODELS_DIR.", show_default=False)
]
Ref = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="The model, and one of its versions.")]


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The model, one ONNX file.")],
    name: Annotated[str, typer.Option(help="What clients call it: a-z, 0-9, '.', '_' and '-'.")],
    labels: Annotated[Path | None, typer.Option(help="File with the class names, one a line.")] = None,
    version: Annotated[int | None, typer.Option(min=1, max=999_999_999, help="By default the next one.")] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Check an ONNX file, try it out and publish it."""
    with _errors_on_one_line():
        settings = _settings(models_dir)
        repository = Repository(settings.models_dir)
        label = str(version or repository.next_version(name))
        target = repository.folder(name, label)
        if target.exists():
            raise ConflictError(
                f"{name}:{label} exists already; leave --version out to add version {repository.next_version(name)}"
            )
        names = _read_labels(labels) if labels else []
        manifest = _publish(file, name, label, names, repository=repository, settings=settings)
        console = _console()
        _say(console, f"{manifest.ref} is in {target}")
        _print_manifest(console, manifest)
        _print_first_job(console, manifest, settings)


@app.command("list")
def list_models(models_dir: ModelsDir = None) -> None:
    """List every version, and what is wrong with those that cannot be served."""
    with _errors_on_one_line():
        repository = Repository(_settings(models_dir).models_dir)
        survey = repository.survey()
        console = _console()
        if survey.entries:
            console.print(_listing(repository, survey))
        elif not survey.broken:
            _say(console, f"No models in {repository.root}. Add one: ferry models add FILE.onnx --name NAME")
        if survey.broken:
            console.print(_broken_table(survey))


@app.command()
def show(ref: Ref, models_dir: ModelsDir = None) -> None:
    """Show one version: the latest, or the one named."""
    with _errors_on_one_line():
        settings = _settings(models_dir)
        repository = Repository(settings.models_dir)
        survey = repository.survey()
        name, versions = _resolve(survey, ref, repository.root)
        usable = [version for version in versions if (name, version) in survey.entries]
        if not usable:
            raise NotFoundError(f"{name}:{versions[-1]} cannot be served: {survey.broken[name, versions[-1]]}")
        manifest = survey.entries[name, usable[-1]]
        console = _console()
        _say(console, f"{manifest.ref} in {repository.folder(name, manifest.version)}")
        _print_manifest(console, manifest)
        console.print(_details(manifest))
        _print_first_job(console, manifest, settings)


@app.command()
def remove(
    ref: Ref,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    models_dir: ModelsDir = None,
) -> None:
    """Delete one version; without :VERSION, every version of the model."""
    with _errors_on_one_line():
        repository = Repository(_settings(models_dir).models_dir)
        name, found = _resolve(repository.survey(), ref, repository.root)
        # Of the whole model, but not of folders that somebody put there for another purpose.
        versions = found if ":" in ref else [version for version in found if is_version(version)]
        if not versions:
            raise NotFoundError(f"{repository.root / name} holds no version")
        refs = ", ".join(f"{name}:{version}" for version in versions)
        if not yes:
            typer.confirm(f"Delete {refs} from {repository.root}?", abort=True)
        for version in versions:
            repository.remove(name, version)
        _say(_console(), f"Deleted {refs}.")


def _publish(
    file: Path, name: str, version: str, labels: Sequence[str], *, repository: Repository, settings: Settings
) -> Manifest:
    try:
        check_file(file)
        with repository.staging() as staged:
            # What is published is the copy that was inspected, whatever happens to the original meanwhile.
            copy = staged / MODEL_FILE
            shutil.copyfile(file, copy)
            manifest = inspect_model(copy, name=name, version=version, labels=labels, settings=settings)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            write_manifest(manifest.model_copy(update={"created_at": now}), staged)
            return repository.publish(staged)
    except ModelRefusedError as error:
        raise ModelRefusedError(f"{file} is refused: {error.detail}") from error


@contextmanager
def _errors_on_one_line() -> Iterator[None]:
    """Print an expected error as one line and exit with 1; others are bugs and keep their traceback."""
    try:
        yield
    except FerryError as error:
        typer.echo(f"ferry: {' '.join(error.detail.split())}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"ferry: {error.filename or 'system error'}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None


def _settings(models_dir: Path | None) -> Settings:
    settings = load_settings()
    return settings if models_dir is None else settings.model_copy(update={"models_dir": models_dir})


def _read_labels(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    labels = [line.strip() for line in text.rstrip().split("\n")]
    if "" in labels:
        raise InvalidInputError(f"{file} has no label in line {labels.index('') + 1}; write one label a line")
    return labels


def _resolve(survey: Survey, ref: str, root: Path) -> tuple[str, list[str]]:
    """Return a model's name and the versions meant, lowest first, broken ones included."""
    name, colon, version = ref.partition(":")
    keys = [*survey.entries, *survey.broken]
    versions = [known for model, known in keys if model == name]
    if not versions:
        close = get_close_matches(name, {model for model, _ in keys}, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "`ferry models list` shows what there is"
        raise NotFoundError(f"no model {name!r} in {root}; {hint}")
    versions.sort(key=lambda known: int(known) if is_version(known) else 0)
    if not colon:
        return name, versions
    if version not in versions:
        raise NotFoundError(f"{name} has no version {version!r}; it has {', '.join(versions)}")
    return name, [version]


# --- what is printed


def _console() -> Console:
    # Made when needed: it looks at where standard output goes at that moment.
    return Console(highlight=False)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _shape(spec: TensorSpec) -> str:
    return f"({', '.join(['N', *('any' if size is None else str(size) for size in spec.inner_shape)])})"


def _tensors(specs: Sequence[TensorSpec]) -> Text:
    return Text("\n".join(f"{spec.name} {spec.dtype} {_shape(spec).replace(' ', '')}" for spec in specs))


def _print_manifest(console: Console, manifest: Manifest) -> None:
    table = Table("", "name", "dtype", "shape")
    if any(spec.range for spec in (*manifest.inputs, *manifest.outputs)):
        table.add_column("range")
    for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            bounds = [f"{spec.range[0]:g} to {spec.range[1]:g}"] if spec.range else []
            table.add_row(kind, Text(spec.name), spec.dtype, _shape(spec), *bounds)
    console.print(table)
    _say(console, f"batching: {_batching(manifest)}")
    for note in manifest.notes:
        _say(console, f"note: {note}")


def _batching(manifest: Manifest) -> str:
    batching = manifest.batching
    if batching.fixed_rows is not None and batching.fixed_rows > 1:
        return f"exactly {batching.fixed_rows} rows in one run, short batches are padded"
    return "one row in one run" if batching.max_rows == 1 else f"up to {batching.max_rows} rows in one run"


def _details(manifest: Manifest) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "description": manifest.description,
        "labels": _abridge(manifest.labels),
        "rows in one job": f"up to {manifest.batching.max_job_rows}",
        "longest wait for company": f"{manifest.batching.max_wait_ms:g} ms",
        "created": manifest.created_at,
        "sha256": manifest.sha256,
        "metrics": ", ".join(f"{key} {figure:g}" for key, figure in manifest.metrics.items()),
        "versions": ", ".join(f"{key} {version}" for key, version in manifest.versions.items()),
    }
    for what, text in rows.items():
        if text:
            table.add_row(what, Text(text))
    return table


def _abridge(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:10])
    return f"{shown}, ... ({len(labels)})" if len(labels) > 10 else shown


def _listing(repository: Repository, survey: Survey) -> Table:
    table = Table("name", "version", "inputs", "outputs", "size", "created")
    for (name, version), manifest in survey.entries.items():
        try:
            size_bytes = (repository.folder(name, version) / MODEL_FILE).stat().st_size
        except FileNotFoundError:
            # Removed since the scan.
            continue
        row = (_tensors(manifest.inputs), _tensors(manifest.outputs), _size(size_bytes), Text(manifest.created_at[:10]))
        table.add_row(name, version, *row)
    return table


def _broken_table(survey: Survey) -> Table:
    table = Table("name", "version", "why it cannot be served", title="Broken", title_justify="left")
    for (name, version), reason in survey.broken.items():
        table.add_row(Text(name), Text(version), Text(reason))
    return table


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


# --- a first job


def _print_first_job(console: Console, manifest: Manifest, settings: Settings) -> None:
    _say(console, "\nA first job, once `ferry up` runs:\n")
    _say(console, first_job(manifest, port=settings.api_port))


def first_job(manifest: Manifest, *, port: int = 8000) -> str:
    """Return a shell line that sends one row of zeros (or of "text") to the API and waits for the result."""
    curl = f"curl -s http://127.0.0.1:{port}/v1/predictions -H 'Content-Type: application/json' -H 'Prefer: wait' -d"
    shapes = {
        spec.name: [1, *(EXAMPLE_SIZE if size is None else size for size in spec.inner_shape)]
        for spec in manifest.inputs
    }
    if sum(math.prod(shape) for shape in shapes.values()) <= MAX_SPELLED_OUT:
        rows = {spec.name: _filled(spec, shapes[spec.name]) for spec in manifest.inputs}
        return f"{curl} {shlex.quote(json.dumps({'version': manifest.ref, 'input': rows}))}"
    entries = ", ".join(f"{_quoted(spec.name)}: {_recipe(spec, shapes[spec.name])}" for spec in manifest.inputs)
    program = f'import json; print(json.dumps({{"version": "{manifest.ref}", "input": {{{entries}}}}}))'
    return f"python3 -c {shlex.quote(program)} | {curl} @-"


def _filled(spec: TensorSpec, shape: Sequence[int]) -> object:
    if not shape:
        return _filler(spec)
    return [_filled(spec, shape[1:]) for _ in range(shape[0])]


def _recipe(spec: TensorSpec, shape: Sequence[int]) -> str:
    """Return the Python expression of `_filled`: [[0.0] * 784] * 1, say."""
    text = _quoted("text") if spec.is_string else repr(_filler(spec))
    for size in reversed(shape):
        text = f"[{text}] * {size}"
    return text


def _quoted(text: str) -> str:
    # In double quotes, since the program stands in single ones.
    return json.dumps(text, ensure_ascii=False)


def _filler(spec: TensorSpec) -> object:
    if spec.is_string:
        return "text"
    if spec.dtype == "bool":
        return False
    least = spec.range[0] if spec.range else 0
    return float(least) if spec.dtype.startswith("float") else math.ceil(least)
