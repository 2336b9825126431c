"""How models look on a terminal: the tables and lines of `ferry models`. Knows no command and no setting."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferry.cli.profile_plot import draw_profile
from ferry.cli.terminal import has_utf8
from ferry.manifest import Batching, Evidence, Manifest, NonFinite, TensorSpec
from ferry.missing_rules import REFUSE, TO_NAN, MissingRule
from ferry.model_files import total_bytes
from ferry.profile import BatchLimits, Profile
from ferry.repository import Repository, Survey

# Class names or files in `show`; a thousand of ImageNet's would fill the screen.
_MAX_SHOWN = 10


def open_console() -> Console:
    """Return a console on standard output."""
    # Made when needed: it looks at where standard output goes at that moment.
    return Console(highlight=False)


def say(console: Console, text: str) -> None:
    """Print text as it is, unwrapped, so that it can be copied."""
    console.print(text, markup=False, soft_wrap=True)


def print_manifest(console: Console, manifest: Manifest) -> None:
    """Print what a model takes and gives, how it is executed and why, and its notes."""
    table = Table("", "name", "dtype", "shape")
    if any(spec.range for spec in (*manifest.inputs, *manifest.outputs)):
        table.add_column("range")
    for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            bounds = [f"{spec.range[0]:g} to {spec.range[1]:g}"] if spec.range else []
            table.add_row(kind, Text(spec.name), spec.dtype, _shape(spec), *bounds)
    console.print(table)
    for each in manifest.fixed_inputs:
        say(
            console,
            f"fixed input: {each.name} = {', '.join(map(str, each.values))} ({each.dtype}), clients do not send it",
        )
    say(console, f"missing values: {_missing(manifest)}")
    say(console, f"execution: {_execution(manifest)}")
    say(console, f"why: {_evidence(manifest)}: {manifest.execution.reason}")
    if manifest.execution.max_move:
        say(
            console,
            f"rounding: an answer moved by up to {manifest.execution.max_move:.1e} of its size when only the number of"
            " rows in a run changed",
        )
    for note in manifest.notes:
        say(console, f"note: {note}")


def details_table(manifest: Manifest) -> Table:
    """Return the rest of a manifest, what is empty left out."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "description": manifest.description,
        "labels": _abridge(manifest.labels),
        "rows in one job": f"up to {manifest.batching.max_job_rows}" if manifest.is_batched else "",
        "longest wait for rows": _wait(manifest) if manifest.is_batched else "",
        "NaN and infinities": _non_finite(manifest),
        "created": manifest.created_at,
        "sha256": manifest.sha256,
        "further files": _abridge([f"{file.name} ({_size(file.size_bytes)})" for file in manifest.files]),
        "digest of all": manifest.digest if manifest.files else "",
        "metrics": ", ".join(f"{key} {figure:g}" for key, figure in manifest.metrics.items()),
        "versions": ", ".join(f"{key} {version}" for key, version in manifest.versions.items()),
    }
    for what, text in rows.items():
        if text:
            table.add_row(what, Text(text))
    return table


def entries_table(repository: Repository, survey: Survey) -> Table:
    """Return a row per version that can be served."""
    table = Table("name", "version", "inputs", "outputs", "size", "created")
    for (name, version), manifest in survey.entries.items():
        try:
            size_bytes = total_bytes(repository.folder(name, version), manifest)
        except FileNotFoundError:
            # Removed since the scan.
            continue
        row = (_tensors(manifest.inputs), _tensors(manifest.outputs), _size(size_bytes), Text(manifest.created_at[:10]))
        table.add_row(name, version, *row)
    return table


def broken_table(survey: Survey) -> Table:
    """Return a row per version that cannot be served, with the reason."""
    table = Table("name", "version", "why it cannot be served", title="Broken", title_justify="left")
    for (name, version), reason in survey.broken.items():
        table.add_row(Text(name), Text(version), Text(reason))
    return table


def _shape(spec: TensorSpec) -> str:
    """Render a shape in the model's own layout; N is the number of rows."""
    if spec.has_any_rank:
        return "any"
    sizes = ["any" if size is None else str(size) for size in spec.shape]
    if spec.batch_axis is not None and spec.shape[spec.batch_axis] is None:
        sizes[spec.batch_axis] = "N"
    return f"({', '.join(sizes)})"


def _tensors(specs: Sequence[TensorSpec]) -> Text:
    return Text("\n".join(f"{spec.name} {spec.dtype} {_shape(spec).replace(' ', '')}" for spec in specs))


def _execution(manifest: Manifest) -> str:
    batching = manifest.batching
    if not manifest.is_batched:
        return "whole jobs: each job is one run by itself"
    return f"batched: {_batching(batching)}"


def _evidence(manifest: Manifest) -> str:
    return {
        Evidence.PROVEN: "tried",
        Evidence.DECLARED: "declared in the manifest, not tried",
        Evidence.OBSERVED: "seen in production",
        Evidence.OVERRIDDEN: "overridden",
    }[manifest.execution.evidence]


def _batching(batching: Batching) -> str:
    if batching.fixed_rows is not None and batching.fixed_rows > 1:
        return f"exactly {batching.fixed_rows} rows in one run, short batches are padded"
    if batching.max_rows is None:
        return "as many rows in one run as the first worker finds best"
    return "one row in one run" if batching.max_rows == 1 else f"up to {batching.max_rows} rows in one run"


def _wait(manifest: Manifest) -> str:
    wait_ms = manifest.batching.max_wait_ms
    return "as measured" if wait_ms is None else f"{wait_ms:g} ms"


def _non_finite(manifest: Manifest) -> str:
    return {
        NonFinite.ALLOW: "allowed; null in JSON",
        NonFinite.NULL: "NaN for each; null in JSON",
        NonFinite.FAIL: "fail their job",
    }[manifest.non_finite]


def _missing(manifest: Manifest) -> str:
    rules = {spec.name: spec.missing for spec in manifest.inputs}
    if len(rules) > 1 and len(set(map(repr, rules.values()))) > 1:
        return ", ".join(f"{name} {_rule(rule)}" for name, rule in rules.items())
    return _rule(next(iter(rules.values())))


def _rule(rule: MissingRule) -> str:
    return {REFUSE: "refused", TO_NAN: "NaN for the model"}.get(str(rule)) or f"replaced by {rule!r}"


def say_batching(console: Console, profile: Profile | None, limits: BatchLimits) -> None:
    """Print the batch limits in force, and the measurement where there is one."""
    wait = f", waiting {limits.max_wait_ms:g} ms for more rows" if limits.max_wait_ms else ""
    say(console, f"in force: up to {limits.max_rows} rows in one run{wait}")
    if profile is None:
        say(console, "not measured yet: a worker does it when it first loads the model")
        return
    for line in draw_profile(profile, limits, is_utf8=has_utf8(console.file)):
        say(console, line)


def _abridge(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_MAX_SHOWN])
    return f"{shown}, ... ({len(texts)})" if len(texts) > _MAX_SHOWN else shown


def _size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
