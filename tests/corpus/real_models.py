"""A folder of ONNX files on a running Ferry: 24 jobs of each at once, each answer compared with the model alone.

    python -m tests.corpus.real_models FOLDER --url URL [--models-dir DIR] [--together]

writes a table with a line for each `*.onnx` in FOLDER, served under the file's name in small letters. `--models-dir`:
the model repository of that Ferry; files that are not served yet are added to it by `ferry models add`, and timed.
`--together`: a model's queue is paused until all its jobs wait, so that they meet in one run; `ferry queue` finds the
Redis by the environment, which must be that of `ferry up`.
`NAME.example.npz` beside a model is given to `add` as its `--example`.
Jobs are `NAME.npz` beside the model, with arrays `<input>/<job>`, and the right answers `<output>/<job>` where they are
there; else random inputs of different magnitude. `tests.corpus.real_jobs` knows sizes for the models in the wheels of
magika, nudenet, rapidocr-onnxruntime, ddddocr and silero-vad. Wrong is an answer that differs by more than 1e-6 of its
largest value and the move that the manifest records.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import orjson

from ferry.manifest import Execution, TensorSpec
from ferry.tensors import Array, array_from_raw, raw_from_array
from tests.corpus.real_jobs import KNOWN, Hint, Job, jobs_of
from worker.equality import TOLERANCE, largest_move
from worker.map_outputs import arrays_from_maps

GIVE_UP_S = 120.0
_HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass
class Line:
    """One line of the table."""

    name: str
    add_s: float | None = None
    mode: str = ""
    reason: str = ""
    max_move: float = 0.0
    rows_per_run: float | None = None
    wrong: int = 0
    failed: int = 0
    largest: float = 0.0
    n_jobs: int = 0
    note: str = ""

    def __str__(self) -> str:
        seconds = "-" if self.add_s is None else f"{self.add_s:.1f}"
        rows = "-" if self.rows_per_run is None else f"{self.rows_per_run:.1f}"
        wrong = f"{self.wrong} of {self.n_jobs}"
        moves = f"{self.max_move:.1e} | {self.largest:.1e}"
        text = self.note or self.reason
        return f"| {self.name} | {seconds} | {self.mode} | {moves} | {rows} | {wrong} | {self.failed} | {text} |"


HEADER = (
    "| model | s to add | mode | max_move | largest seen | rows per run | wrong | failed | reason |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Served:
    """One version as `/v1/models` shows it, and the calls that concern it."""

    def __init__(self, version: dict[str, Any], path: Path) -> None:
        self.inputs = [_spec_of(each) for each in version["inputs"]]
        self.outputs = [_spec_of(each) for each in version["outputs"]]
        self.fixed = {
            each["name"]: np.array(each["values"], each["dtype"]).reshape(each["shape"])
            for each in version["fixed_inputs"]
        }
        self.execution = Execution.model_validate(version["execution"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def alone(self, job: Job) -> list[Array]:
        """Return what the model gives for this job alone."""
        results = self._session.run([spec.name for spec in self.outputs], {**self.fixed, **job.inputs})
        return [_as_array(result) for result in results]

    def request(self, job: Job) -> tuple[dict[str, str], bytes]:
        """Return headers and body of an infer request with raw tensors."""
        inputs, tail = [], []
        for spec in self.inputs:
            array = job.inputs[spec.name]
            tail.append(raw_from_array(spec, array))
            size = {"binary_data_size": len(tail[-1])}
            each = {"name": spec.name, "shape": list(array.shape), "datatype": spec.oip_datatype, "parameters": size}
            inputs.append(each)
        head = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
        headers = {_HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        return headers, b"".join([head, *tail])

    def answer(self, response: httpx.Response) -> list[Array]:
        """Return the outputs of an answer with raw tensors, in the order of the signature."""
        end = int(response.headers[_HEADER_LENGTH])
        found = {}
        for each in orjson.loads(response.content[:end])["outputs"]:
            spec = next(spec for spec in self.outputs if spec.name == each["name"])
            size = each["parameters"]["binary_data_size"]
            found[spec.name] = array_from_raw(spec, tuple(each["shape"]), response.content[end : end + size])
            end += size
        return [found[spec.name] for spec in self.outputs]


def _spec_of(tensor: dict[str, Any]) -> TensorSpec:
    shape = tensor["shape"]
    return TensorSpec(
        name=tensor["name"],
        dtype=tensor["dtype"],
        shape=tuple(None if size < 0 else size for size in shape or ()),
        batch_axis=tensor["batch_axis"],
        has_any_rank=shape is None,
        range=tensor["range"],
    )


def _as_array(result: Any) -> Array:
    if isinstance(result, list) and result and isinstance(result[0], dict):
        return arrays_from_maps(result, tuple(sorted(result[0])))
    return np.asarray(result)


def add(path: Path, name: str, models_dir: Path) -> tuple[float, str]:
    """Add a file as a user does; return the seconds, and why it was refused (empty: it was not)."""
    began_s = time.monotonic()
    example = path.with_suffix(".example.npz")
    real_inputs = ("--example", str(example)) if example.exists() else ()
    rule = ("--missing", "nan") if _has_nan(path.with_suffix(".npz")) else ()
    options = (*KNOWN.get(name, Hint()).options, *real_inputs, *rule, "--models-dir", str(models_dir))
    done = _ferry("models", "add", str(path), "--name", name, *options)
    return time.monotonic() - began_s, "" if done.returncode == 0 else " ".join(done.stderr.split())


def _has_nan(jobs: Path) -> bool:
    """Say whether jobs hold NaN, which is a missing value unless the manifest says that it is a number."""
    if not jobs.exists():
        return False
    with np.load(jobs, allow_pickle=False) as arrays:
        return any(array.dtype.kind == "f" and bool(np.isnan(array).any()) for array in map(arrays.get, arrays.files))


def _ferry(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ferry")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def version_of(http: httpx.AsyncClient, name: str, *, give_up_s: float) -> dict[str, Any] | None:
    """Return the latest version of a model as soon as a worker has it; None where that takes longer."""
    give_up = time.monotonic() + give_up_s
    while True:
        response = await http.get(f"/v1/models/{name}")
        if response.status_code == httpx.codes.OK:
            version: dict[str, Any] = response.json()["latest_version"]
            if version["live_workers"]:
                return version
        if time.monotonic() >= give_up:
            return None
        await asyncio.sleep(0.2)


async def load_of(
    http: httpx.AsyncClient, name: str, condition: Callable[[dict[str, Any]], bool], *, give_up_s: float = 5
) -> dict[str, Any]:
    """Return a model's entry in `/v1/stats` as soon as the condition holds, or as it is after `give_up_s`."""
    give_up = time.monotonic() + give_up_s
    while True:
        models = (await http.get("/v1/stats")).json()["models"]
        # Versions of a name are in the order of their numbers.
        loads: list[dict[str, Any]] = [each for each in models if each["name"] == name]
        if loads and (condition(loads[-1]) or time.monotonic() >= give_up):
            return loads[-1]
        await asyncio.sleep(0.2)


def _n_finished(load: dict[str, Any]) -> int:
    return int(load["jobs"]["succeeded"] + load["jobs"]["failed"])


async def examine(http: httpx.AsyncClient, path: Path, models_dir: Path | None, *, is_together: bool) -> Line:
    """Add a file where it is not served, send its jobs and compare the answers."""
    line = Line(path.stem.lower())
    version = await version_of(http, line.name, give_up_s=0)
    if version is None and models_dir is not None:
        line.add_s, refusal = await asyncio.to_thread(add, path, line.name, models_dir)
        if refusal:
            line.mode, line.note = "refused", refusal
            return line
        version = await version_of(http, line.name, give_up_s=GIVE_UP_S)
    if version is None:
        line.mode, line.note = "not served", "no worker has it"
        return line
    served = Served(version, path)
    line.mode, line.reason = served.execution.mode.value, served.execution.reason
    line.max_move = served.execution.max_move
    jobs = list(jobs_of(path, served.inputs, served.outputs))
    before = await load_of(http, line.name, lambda _: True, give_up_s=GIVE_UP_S)
    responses = await _send_all(http, line.name, served, jobs, is_together=is_together)
    compare(line, served, jobs, responses)
    n_finished = _n_finished(before) + sum(response.is_success for response in responses)
    after = await load_of(http, line.name, lambda load: _n_finished(load) >= n_finished)
    n_runs = after["batches"] - before["batches"]
    line.rows_per_run = (after["rows"] - before["rows"]) / n_runs if n_runs else None
    return line


async def _send_all(
    http: httpx.AsyncClient, name: str, served: Served, jobs: Sequence[Job], *, is_together: bool
) -> list[httpx.Response]:
    if is_together:
        await asyncio.to_thread(_ferry, "queue", "pause", name)
    sent = [asyncio.create_task(_send(http, name, served, job)) for job in jobs]
    if is_together:
        await load_of(http, name, lambda load: load["waiting_jobs"] >= len(jobs), give_up_s=20)
        await asyncio.to_thread(_ferry, "queue", "resume", name)
    return await asyncio.gather(*sent)


async def _send(http: httpx.AsyncClient, name: str, served: Served, job: Job) -> httpx.Response:
    headers, body = served.request(job)
    return await http.post(f"/v2/models/{name}/infer", headers=headers, content=body)


def compare(line: Line, served: Served, jobs: Sequence[Job], responses: Sequence[httpx.Response]) -> None:
    """Count wrong and failed answers."""
    line.n_jobs = len(jobs)
    for job, response in zip(jobs, responses, strict=True):
        try:
            right = served.alone(job) if job.right is None else job.right
        except Exception as error:  # noqa: BLE001  onnxruntime has many classes; what fails alone must fail here
            line.wrong += response.is_success
            line.note = f"the model alone raises: {str(error)[:120]}"
            right = None
        if not response.is_success:
            line.failed += 1
            line.note = line.note or f"{response.status_code}: {response.text[:200]}"
        elif right is not None:
            move = largest_move(right, served.answer(response))
            line.largest = max(line.largest, move)
            line.wrong += move > TOLERANCE + served.execution.max_move


async def main() -> int:
    """Print the table; the exit status is 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description="Every ONNX file of a folder on a running Ferry.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", required=True, help="address of the API")
    parser.add_argument("--models-dir", type=Path, help="its model repository; files not served yet are added to it")
    parser.add_argument("--together", action="store_true", help="pause the queue until all jobs of a model wait")
    options = parser.parse_args()
    sys.stdout.write(f"{HEADER}\n")
    n_wrong = 0
    async with httpx.AsyncClient(base_url=options.url, timeout=GIVE_UP_S) as http:
        for path in sorted(options.folder.glob("*.onnx")):
            line = await examine(http, path, options.models_dir, is_together=options.together)
            n_wrong += line.wrong
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
