"""Rows a second of one kind of file: plain scripts, Ferry and, for JSONL, Ray Data and Celery, in alternated turns."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.bulk import networks
from benchmarks.bulk.answers import read_answers
from benchmarks.bulk.batch_client import BatchClient, Times
from benchmarks.bulk.files import Files
from benchmarks.bulk.networks import Network
from benchmarks.bulk.peer_jobs import PEER_JOBS
from benchmarks.bulk.plain import run_scripts
from benchmarks.bulk.plan import N_PROCESSES, BulkPlan
from benchmarks.exported import NotExportedError
from benchmarks.ferry_system import stack

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of file and the model it is run through; `scripts` are the plain ways to do it."""

    name: str
    form: str
    network: str
    scripts: tuple[str, ...]
    is_large: bool = False
    has_peers: bool = False

    def n_rows(self, plan: BulkPlan) -> int:
        """Return how many rows its file has."""
        return plan.many_rows if self.is_large else plan.some_rows


CASES = (
    Case("npy_mlp", "npy", "mlp", ("npy_mapped", "npy"), is_large=True),
    Case("npy_cnn", "npy", "cnn", ("npy_mapped", "npy")),
    Case("parquet_cnn", "parquet", "cnn", ("parquet",)),
    Case("parquet_mlp", "parquet", "mlp", ("parquet",)),
    Case("jsonl_mlp", "jsonl", "mlp", ("jsonl",), has_peers=True),
)


def measure(case: Case, files: Files, plan: BulkPlan, say: Say) -> dict[str, Any]:
    """Return every turn's figures, all answers checked; or why there are none."""
    try:
        network = networks.find(case.network)
    except NotExportedError as error:
        return {"skipped": str(error)}
    n_rows = case.n_rows(plan)
    found: dict[str, Any] = {
        "rows": n_rows, "form": case.form, "network": case.network, "scripts": {name: [] for name in case.scripts},
        "ferry": [], "peers": {name: {"runs": [], "error": None} for name in PEER_JOBS if case.has_peers},
    }  # fmt: skip
    turn = _Turn(case, network, files, plan)
    found["file_bytes"] = turn.source.stat().st_size
    for _ in range(plan.repeats):
        for name in case.scripts:
            found["scripts"][name].append(turn.plain(name))
            say(f"{case.name}, plain {name}: {found['scripts'][name][-1]['rows_per_s']:,.0f} rows/s")
        found["ferry"].append(turn.ferry())
        say(f"{case.name}, Ferry: {found['ferry'][-1]['rows_per_s']:,.0f} rows/s, {found['ferry'][-1]}")
        for name, entry in found["peers"].items():
            turn.peer(name, entry, say)
    files.drop(turn.source)
    return found


class _Turn:
    """One case, ready for anybody's turn."""

    def __init__(self, case: Case, network: Network, files: Files, plan: BulkPlan) -> None:
        self._case, self._network, self._files, self._n_rows = case, network, files, case.n_rows(plan)
        self._truth = network.truth(files)
        self.source = files.get(case.form, self._n_rows, model=network.name)
        self._small = files.get(case.form, plan.warm_up_rows, model=network.name)

    def plain(self, name: str) -> dict[str, float]:
        """Run the scripts side by side."""
        folder = self._files.fresh("plain")
        model, source, small = self._network.file, self.source, self._small
        seconds, outs = run_scripts(name, model, source, folder, n_scripts=N_PROCESSES, small=small)
        accuracy = self._truth.check(read_answers(outs, is_ordered=True), self._n_rows)
        return {"s": seconds, "rows_per_s": round(self._n_rows / seconds, 1), "accuracy": accuracy}

    def ferry(self) -> dict[str, float]:
        """Start all of Ferry, warm its workers up as the scripts are, run the file as one batch, stop it."""
        folder, form, model = self._files.fresh("ferry"), self._case.form, self._network.name
        answers = folder / f"answers.{form}"
        with (
            stack(folder, models_dir=self._network.repository, workers=str(N_PROCESSES)) as info,
            BatchClient(info.api_url) as client,
        ):
            client.warm_up(self._small, model=model, output_format=form, workers=N_PROCESSES)
            started_s = time.monotonic()
            batch = client.run(self.source, model=model, output_format=form, answers=answers)
            seen_s = time.monotonic() - started_s
        accuracy = self._truth.check(read_answers([answers], is_ordered=True), self._n_rows)
        shutil.rmtree(folder, ignore_errors=True)
        figures = Times.of(batch).figures()
        return figures | {
            "rows_per_s": round(self._n_rows / figures["rows_s"], 1),
            "whole_rows_per_s": round(self._n_rows / figures["whole_s"], 1),
            "upload_to_download_s": round(seen_s, 3),
            "accuracy": accuracy,
        }

    def peer(self, name: str, entry: dict[str, Any], say: Say) -> None:
        """Let a peer run the file once; what keeps it from that is its error from then on."""
        if entry["error"]:
            return
        try:
            run = PEER_JOBS[name](self._files.fresh(name), self._network.file, self.source)
            scores = read_answers(run.parts, is_ordered=False)
            accuracy = self._truth.check(scores, self._n_rows)
        except Exception as error:  # noqa: BLE001 - a peer that cannot run is listed with its error
            entry["error"] = f"{type(error).__name__}: {error}"
            say(f"{self._case.name}, {name}: {entry['error']}")
            return
        rates = {f"{key.removesuffix('_s')}_rows_per_s": round(self._n_rows / s, 1) for key, s in run.seconds.items()}
        entry["runs"].append(run.seconds | rates | {"accuracy": accuracy})
        say(f"{self._case.name}, {name}: {entry['runs'][-1]}")
        shutil.rmtree(self._files.folder / name, ignore_errors=True)
