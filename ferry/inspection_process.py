"""Inspects a model file in a process of its own and reads its reply, because a damaged or hostile file can kill it.

Owns the reply's form and how that process may end. Knows nothing of ONNX; `worker/inspection/` is what it runs.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ferry.errors import FerryError, InvalidInputError, ModelRefusedError
from ferry.manifest import Manifest
from ferry.repository_entry import stamps_of

# A few runs take tens of seconds at most; a model that loops for ever must not hold a worker.
INSPECTION_LIMIT_S = 120
# The files are read twice, for their digest and by onnxruntime; a slow network disk gives so many bytes a second.
_SLOW_READ_BYTES_PER_S = 50 * 2**20

Reply = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """What an operator says about a trial.

    `fixed`: inputs with one value in every run, each as NAME=VALUE. `example`: a file of real inputs (`numpy.savez`).
    `is_rows_independent`: rows may share a run, whatever the trial finds.
    """

    fixed: tuple[str, ...] = ()
    example: Path | None = None
    is_rows_independent: bool = False

    def arguments(self) -> Iterator[str]:
        """Yield the arguments of `python -m worker.inspection` that say so."""
        yield from (f"--set={text}" for text in self.fixed)
        if self.example is not None:
            yield f"--example={self.example.resolve()}"
        if self.is_rows_independent:
            yield "--rows-independent"

    def to_wire(self, example: str) -> dict[str, Any]:
        """Return what a worker is sent; `example` is the place of the example in the model repository, or empty."""
        return {"fixed": list(self.fixed), "example": example, "rows_independent": self.is_rows_independent}

    @classmethod
    def from_wire(cls, sent: dict[str, Any], root: Path) -> "TrialOptions":
        """Return the options that `to_wire` sent, with the example below the repository `root`."""
        example = root / sent["example"] if sent["example"] else None
        return cls(tuple(sent["fixed"]), example, is_rows_independent=bool(sent["rows_independent"]))


def run_inspection(
    path: Path,
    *,
    name: str,
    version: str,
    labels: Sequence[str] = (),
    options: TrialOptions | None = None,
    limit_s: float | None = None,
) -> Reply:
    """Inspect in a process of its own; return what `worker.inspection` prints or a refusal, whatever happens.

    `limit_s`: by default `inspection_limit_s` of the file.
    """
    limit_s = inspection_limit_s(path) if limit_s is None else limit_s
    if any("\n" in label for label in labels):
        return refusal("a label is one line of text; one of these has a line break", InvalidInputError.code)
    command = [sys.executable, "-m", "worker.inspection", f"--name={name}", f"--version={version}", "--labels=-"]
    command += (options or TrialOptions()).arguments()
    try:
        done = subprocess.run(
            [*command, "--", str(path.resolve())],
            input="\n".join(labels),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return refusal(
            f"it took longer than {limit_s:g} s to load and try out; a smaller model, or one without loops, will do"
        )
    if done.returncode == 0 and done.stdout.strip():
        return cast("Reply", json.loads(done.stdout.splitlines()[-1]))
    return refusal(_obituary(done))


def inspection_limit_s(path: Path) -> float:
    """Return how long the inspection of a model may take, in seconds; it grows with all files in its folder."""
    folder_bytes = sum(size_bytes for *_, size_bytes in stamps_of(path.parent))
    return INSPECTION_LIMIT_S + 2 * folder_bytes / _SLOW_READ_BYTES_PER_S


def refusal(detail: str, code: str = ModelRefusedError.code) -> Reply:
    """Return the reply that says no."""
    return {"error": {"code": code, "detail": detail}}


def manifest_from(reply: Reply) -> Manifest:
    """Return the manifest in a reply.

    Raises:
        FerryError: the one the reply carries.
    """
    if "manifest" in reply:
        return Manifest.model_validate(reply["manifest"])
    if "files" in reply:
        raise ModelRefusedError(f"files that it names are not beside it: {', '.join(reply['files'])}")
    kinds = {kind.code: kind for kind in FerryError.__subclasses__()}
    raise kinds.get(reply["error"]["code"], ModelRefusedError)(reply["error"]["detail"])


def _obituary(done: subprocess.CompletedProcess[str]) -> str:
    """Say how the inspecting process ended without an answer."""
    if done.returncode == -signal.SIGKILL:
        return "reading it was killed, most likely for want of memory; a smaller model, or more memory, will do"
    if done.returncode < 0:
        how = signal.strsignal(-done.returncode)
        return f"the file crashed the ONNX parser ({how}); it is damaged or hostile: export the model again"
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    return f"the inspection itself broke with exit code {done.returncode}: {last[0]}"
