import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.bulk.batch_client import BatchClient, BatchFailedError, Times

TIMINGS = {"created": 10.0, "in_progress": 10.5, "finalizing": 12.5, "ended": 13.0}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> BatchClient:
    return BatchClient("http://ferry", transport=httpx.MockTransport(answer))


def test_upload_when_a_file_is_sent_then_its_purpose_comes_before_it(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(200, json={"id": "file-1"})

    path = tmp_path / "rows.npy"
    path.write_bytes(b"rows of numbers")
    with client(answer) as ferry:
        assert ferry.upload(path) == "file-1"
    assert 0 < sent[0].index(b'name="purpose"') < sent[0].index(b'filename="rows.npy"')
    assert b"rows of numbers" in sent[0]


def test_create_when_called_then_model_and_output_format_are_named() -> None:
    sent: dict[str, Any] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        sent.update(json.loads(request.content))
        return httpx.Response(200, json={"id": "batch_1"})

    with client(answer) as ferry:
        assert ferry.create("file-1", model="cnn", output_format="npy") == "batch_1"
    assert sent["endpoint"] == "/v2/models/cnn/infer"
    assert sent["metadata"] == {"output_format": "npy"}


def batch(status: str, failed: int = 0) -> dict[str, Any]:
    return {"status": status, "request_counts": {"failed": failed}, "timings": TIMINGS}


def test_wait_when_a_batch_is_completed_then_it_is_returned() -> None:
    with client(lambda _: httpx.Response(200, json=batch("completed"))) as ferry:
        assert Times.of(ferry.wait("batch_1")).figures() == {
            "index_s": 0.5, "rows_s": 2.0, "assemble_s": 0.5, "whole_s": 3.0,
        }  # fmt: skip


@pytest.mark.parametrize("ended", [batch("failed"), batch("expired"), batch("completed", failed=1)])
def test_wait_when_rows_have_no_answer_then_it_is_said(ended: dict[str, Any]) -> None:
    with client(lambda _: httpx.Response(200, json=ended)) as ferry, pytest.raises(BatchFailedError):
        ferry.wait("batch_1")


def test_get_when_the_server_refuses_then_its_words_are_shown() -> None:
    answer = httpx.Response(404, text="no batch")
    with client(lambda _: answer) as ferry, pytest.raises(BatchFailedError, match="404 no batch"):
        ferry.get("batch_1")
