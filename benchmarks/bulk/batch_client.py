"""A client of Ferry's files and batches, as plain HTTP. Knows no file's content."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

POLL_S = 0.2
BATCH_TIMEOUT_S = 900.0
HTTP_TIMEOUT_S = 300.0  # an upload of 2 GB is answered when it is stored
COPY_BYTES = 2**20
ENDED = ("completed", "failed", "expired", "cancelled")
MEDIA_TYPE = "application/octet-stream"


class BatchFailedError(RuntimeError):
    """A batch did not complete, or rows of it failed; the message holds what the server says."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a batch came to each state, in seconds since 1970; as the server's `timings` say."""

    created: float
    in_progress: float
    finalizing: float
    ended: float

    @classmethod
    def of(cls, batch: Mapping[str, Any]) -> "Times":
        """Read them from a completed batch."""
        timings = batch["timings"]
        return cls(*(float(timings[name]) for name in ("created", "in_progress", "finalizing", "ended")))

    def figures(self) -> dict[str, float]:
        """Return the seconds of each step, and of the whole."""
        return {
            "index_s": round(self.in_progress - self.created, 6),
            "rows_s": round(self.finalizing - self.in_progress, 6),
            "assemble_s": round(self.ended - self.finalizing, 6),
            "whole_s": round(self.ended - self.created, 6),
        }


class BatchClient:
    """One connection to one server."""

    def __init__(self, api_url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=api_url, timeout=HTTP_TIMEOUT_S, transport=transport)

    def __enter__(self) -> "BatchClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def upload(self, path: Path) -> str:
        """Send a file, streamed from the disk; returns its id."""
        with path.open("rb") as file:
            reply = self._http.post(
                "/v1/files", data={"purpose": "batch"}, files={"file": (path.name, file, MEDIA_TYPE)}
            )
        return str(_checked(reply)["id"])

    def create(self, file_id: str, *, model: str, output_format: str) -> str:
        """Start a batch; returns its id."""
        body = {
            "input_file_id": file_id, "endpoint": f"/v2/models/{model}/infer", "completion_window": "24h",
            "metadata": {"output_format": output_format},
        }  # fmt: skip
        return str(_checked(self._http.post("/v1/batches", json=body))["id"])

    def get(self, batch_id: str) -> dict[str, Any]:
        """Return a batch."""
        return _checked(self._http.get(f"/v1/batches/{batch_id}"))

    def wait(self, batch_id: str) -> dict[str, Any]:
        """Poll a batch until it is completed.

        Raises:
            BatchFailedError: as named, or not within BATCH_TIMEOUT_S.
        """
        give_up_s = time.monotonic() + BATCH_TIMEOUT_S
        while time.monotonic() < give_up_s:
            batch = self.get(batch_id)
            if batch["status"] in ENDED:
                break
            time.sleep(POLL_S)
        else:
            raise BatchFailedError(f"{batch_id} was still {batch['status']} after {BATCH_TIMEOUT_S:g} s")
        if batch["status"] != "completed" or batch["request_counts"]["failed"]:
            raise BatchFailedError(str(batch)[:1000])
        return batch

    def cancel(self, batch_id: str) -> None:
        """Stop a batch and wait until it has ended, however."""
        self._http.post(f"/v1/batches/{batch_id}/cancel")
        give_up_s = time.monotonic() + BATCH_TIMEOUT_S
        while time.monotonic() < give_up_s and self.get(batch_id)["status"] not in ENDED:
            time.sleep(POLL_S)

    def download(self, file_id: str, path: Path) -> Path:
        """Write a file's content to the disk."""
        with self._http.stream("GET", f"/v1/files/{file_id}/content") as reply, path.open("wb") as out:
            reply.raise_for_status()
            for piece in reply.iter_bytes(COPY_BYTES):
                out.write(piece)
        return path

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        _checked(self._http.delete(f"/v1/files/{file_id}"))

    def warm_up(self, path: Path, *, model: str, output_format: str, workers: int) -> None:
        """Run a small file as a batch per worker, all at once, so that each has done everything once."""
        file_id = self.upload(path)
        batches = [self.create(file_id, model=model, output_format=output_format) for _ in range(workers)]
        for batch_id in batches:
            self.delete(self.wait(batch_id)["output_file_id"])
        self.delete(file_id)

    def run(self, path: Path, *, model: str, output_format: str, answers: Path) -> dict[str, Any]:
        """Upload a file, run a batch over it, fetch the answers and delete both files; returns the batch."""
        file_id = self.upload(path)
        os.sync()  # or the disk is still busy with the upload while the batch runs
        try:
            batch = self.wait(self.create(file_id, model=model, output_format=output_format))
            self.download(batch["output_file_id"], answers)
            self.delete(batch["output_file_id"])
        finally:
            self.delete(file_id)
        return batch


def _checked(reply: httpx.Response) -> dict[str, Any]:
    if reply.is_error:
        raise BatchFailedError(
            f"{reply.request.method} {reply.request.url.path}: {reply.status_code} {reply.text[:500]}"
        )
    found: dict[str, Any] = reply.json()
    return found
