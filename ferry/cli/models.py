"""`ferry models`: the commands that put models in the repository, show, tune and remove them. Knows no onnxruntime."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ferry.cli.first_job import expected_api_url, first_job, running_api_url
from ferry.cli.groups import Group
from ferry.cli.live_models import batching_of, live_broken, live_notes
from ferry.cli.live_models import tune as tune_live
from ferry.cli.live_queue import admin_of, resolve_live, versions_of
from ferry.cli.missing_options import with_missing
from ferry.cli.model_refs import resolve
from ferry.cli.model_tables import (
    broken_table,
    details_table,
    entries_table,
    open_console,
    print_manifest,
    say,
    say_batching,
)
from ferry.errors import ConflictError, FerryError, InvalidInputError, ModelRefusedError, NotFoundError
from ferry.inspection import check_file, inspect_model
from ferry.inspection_process import TrialOptions
from ferry.manifest import MAX_MAX_ROWS, MAX_MAX_WAIT_MS, MODEL_FILE, Manifest, NonFinite, is_version, write_manifest
from ferry.model_mirror import mirror_of
from ferry.profile import Tuning
from ferry.queue.versions import LATEST, Move
from ferry.repository import Repository
from ferry.settings import Settings, load_settings

app = typer.Typer(cls=Group, help="Add, list, show, tune and remove models.", no_args_is_help=True)

ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="Model repository; by default FERRY_MODELS_DIR.", show_default=False)
]
Ref = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="The model, and one of its versions.")]


@app.command()
def add(  # noqa: PLR0913, PLR0917 - an argument for each option
    file: Annotated[
        Path, typer.Argument(metavar="FILE.onnx", help="The model. Files that it names (external data) are taken too.")
    ],
    name: Annotated[str, typer.Option(help="What clients call it: a-z, 0-9, '.', '_' and '-'.")],
    labels: Annotated[
        Path | None, typer.Option(help="File with the class names, one a line, in the order of the model's scores.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, max=999_999_999, help="Version number; default the next.")
    ] = None,
    non_finite: Annotated[
        NonFinite,
        typer.Option(
            help="NaN and infinities in outputs. allow: raw answers hold them as they are, JSON has null."
            " null: raw answers have NaN for each, JSON has null. fail: the job that has one fails."
        ),
    ] = NonFinite.ALLOW,
    example: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Real inputs for the trial, written by numpy.savez.")
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An input's value in every run, e.g. sr=16000; repeatable."),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]RULE",
            help="Missing values of an input (null, NaN, empty cells): error (the default) fails the row or job, nan"
            " gives NaN to the model, any other word is the value to use, e.g. --missing age=nan. Without NAME for"
            " every input it fits; repeatable.",
        ),
    ] = None,
    rows_independent: Annotated[
        bool,
        typer.Option(
            "--rows-independent",
            help="Let rows share a run, even against the trial's evidence; answers can be wrong where it is not true.",
        ),
    ] = False,
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
        options = TrialOptions(tuple(fixed or ()), example, is_rows_independent=rows_independent)
        if example and not example.is_file():
            raise InvalidInputError(f"there is no file {example}; --example takes a file of numpy.savez")
        manifest = _publish(
            file,
            lambda copy: inspect_model(
                copy,
                name=name,
                version=label,
                labels=names,
                options=options,
                settings=settings,
                source=file.parent,
            ),
            settle=lambda found: with_missing(
                found.model_copy(update={"non_finite": non_finite}), tuple(missing or ())
            ),
            repository=repository,
        )
        console = open_console()
        say(console, f"{manifest.ref} is in {target}")
        if mirror := mirror_of(settings):
            mirror.push(manifest.name, manifest.version)
            say(console, f"and in {settings.models_url}, from where every host takes it")
        print_manifest(console, manifest)
        _print_first_job(console, manifest, settings)


@app.command("list")
def list_models(models_dir: ModelsDir = None) -> None:
    """List every version, and what is wrong with those that cannot be served."""
    with _errors_on_one_line():
        settings = _settings(models_dir)
        repository = Repository(settings.models_dir)
        repository.check_root()
        survey = repository.survey()
        survey.broken.update({key: why for key, why in live_broken(settings).items() if key in survey.entries})
        console = open_console()
        if survey.entries:
            console.print(entries_table(repository, survey))
        elif not survey.broken:
            say(console, f"No models in {repository.root}. Add one: ferry models add FILE.onnx --name NAME")
        if survey.broken:
            console.print(broken_table(survey))


@app.command()
def show(ref: Ref, models_dir: ModelsDir = None) -> None:
    """Show one version: the latest, or the one named."""
    with _errors_on_one_line():
        settings = _settings(models_dir)
        repository = Repository(settings.models_dir)
        survey = repository.survey()
        name, versions = resolve(survey, ref, repository.root)
        usable = [version for version in versions if (name, version) in survey.entries]
        if not usable:
            raise NotFoundError(f"{name}:{versions[-1]} cannot be served: {survey.broken[name, versions[-1]]}")
        manifest = survey.entries[name, usable[-1]]
        console = open_console()
        say(console, f"{manifest.ref} in {repository.folder(name, manifest.version)}")
        print_manifest(console, manifest)
        console.print(details_table(manifest))
        for note in live_notes(manifest, settings):
            say(console, note)
        if manifest.is_batched:
            say_batching(console, *batching_of(manifest, settings))
        _print_first_job(console, manifest, settings)


@app.command()
def tune(
    ref: Ref,
    max_rows: Annotated[int | None, typer.Option(min=1, max=MAX_MAX_ROWS, help="Rows in one run.")] = None,
    max_wait_ms: Annotated[
        float | None, typer.Option(min=0, max=MAX_MAX_WAIT_MS, help="How long an unfilled batch waits for company.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back what was tuned before.")] = False,
) -> None:
    """Set a served model's batch limits live: every worker follows within a second, none restarts."""
    with _errors_on_one_line():
        if max_rows is None and max_wait_ms is None and not reset:
            raise InvalidInputError("nothing to do; name --max-rows, --max-wait-ms or --reset")
        named, limits = tune_live(ref, Tuning(max_rows, max_wait_ms), load_settings(), is_reset=reset)
        say(open_console(), f"{named}: up to {limits.max_rows} rows in one run, waiting {limits.max_wait_ms:g} ms")


@app.command()
def alias(
    name: Annotated[str, typer.Argument(help="The model.")],
    word: Annotated[str, typer.Argument(metavar="ALIAS", help="`latest` is what a plain name means.")],
    version: Annotated[str, typer.Argument(help="What it stands for from now on.")],
) -> None:
    """Let `latest`, `stable` or any other word stand for a version; the API follows within a second."""
    with _errors_on_one_line(), versions_of(load_settings()) as versions:
        move = versions.move(name, word, version)
        say(open_console(), f"{name}:{word} is {name}:{move.now}{_before(move)}; `ferry models rollback` goes back")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The model.")],
    word: Annotated[str, typer.Argument(metavar="[ALIAS]", help="Which of its aliases.")] = LATEST,
) -> None:
    """Let an alias stand for what it stood for before; done twice it goes forth again."""
    with _errors_on_one_line(), versions_of(load_settings()) as versions:
        move = versions.roll_back(name, word)
        now = f"{name}:{move.now}" if move.now else "the highest version" if word == LATEST else "nothing"
        say(open_console(), f"{name}:{word} is {now}{_before(move)}")


@app.command()
def unload(ref: Ref) -> None:
    """Let every worker drop a version (without :VERSION all) and load it no more; its jobs wait until it is loaded."""
    _set_loaded(ref, is_loaded=False)


@app.command()
def load(ref: Ref) -> None:
    """Let workers serve a version (without :VERSION all) that was unloaded."""
    _set_loaded(ref, is_loaded=True)


def _set_loaded(ref: str, *, is_loaded: bool) -> None:
    with _errors_on_one_line():
        settings = load_settings()
        with admin_of(settings) as admin, versions_of(settings) as versions:
            name, version = resolve_live(admin, ref)
            models = [each for each in admin.models() if each[0] == name and (":" not in ref or each[1] == version)]
            (versions.load if is_loaded else versions.unload)(models)
        refs = ", ".join(":".join(each) for each in models)
        say(open_console(), f"{refs}: {'served again' if is_loaded else 'no longer served'} within two seconds")


def _before(move: Move) -> str:
    return f" (was {move.before})" if move.before else ""


@app.command()
def remove(
    ref: Ref,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    models_dir: ModelsDir = None,
) -> None:
    """Delete one version; without :VERSION, every version of the model."""
    with _errors_on_one_line():
        settings = _settings(models_dir)
        repository = Repository(settings.models_dir)
        name, found = resolve(repository.survey(), ref, repository.root)
        # Of the whole model, but not of folders that somebody put there for another purpose.
        versions = found if ":" in ref else [version for version in found if is_version(version)]
        if not versions:
            raise NotFoundError(f"{repository.root / name} holds no version")
        refs = ", ".join(f"{name}:{version}" for version in versions)
        if not yes:
            typer.confirm(f"Delete {refs} from {repository.root}?", abort=True)
        mirror = mirror_of(settings)
        for version in versions:
            if mirror:  # first, or it would come back from there
                mirror.remove(name, version)
            repository.remove(name, version)
        say(open_console(), f"Deleted {refs}.")


def _publish(
    file: Path,
    inspect: Callable[[Path], Manifest],
    *,
    settle: Callable[[Manifest], Manifest],
    repository: Repository,
) -> Manifest:
    """Publish what `inspect` finds, with what the options say of it (`settle`)."""
    try:
        check_file(file)
        with repository.staging() as staged:
            # What is published is the copy that was inspected, whatever happens to the original meanwhile.
            copy = staged / MODEL_FILE
            shutil.copyfile(file, copy)
            manifest = settle(inspect(copy))
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


def _print_first_job(console: Console, manifest: Manifest, settings: Settings) -> None:
    running = running_api_url(settings)
    say(console, "\nA first job:\n" if running else "\nA first job, once `ferry up` runs:\n")
    say(console, first_job(manifest, api_url=running or expected_api_url(settings)))
