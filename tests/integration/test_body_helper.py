"""api.body_helper and api.body_process: what a real body reader answers, and how it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import orjson
import pytest

from api.body_frames import error_from_wire
from api.body_helper import BodyHelper, ReaderEndedError
from api.body_process import LARGE_RSS_BYTES, OOM_SCORE_ADJ
from api.job_bodies import Kind
from api.problems import status_of
from tests.manifests import manifest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


QUESTION = {"kind": Kind.PREDICTION, "json_length": None}
BODY = orjson.dumps({"model": "toy", "input": [[1, 2, 3], [4, 5, 6]]})


@pytest.fixture
def helper():
    helper = BodyHelper()
    yield helper
    helper.close()


async def test_ask_when_a_body_and_a_manifest_come_then_packed_rows(helper: BodyHelper) -> None:
    answer, nothing = await helper.ask(QUESTION, BODY)
    assert answer == {"name": "toy", "version": None, "ids": None}
    assert len(nothing) == 0

    answer, payload = await helper.ask({}, manifest().model_dump_json().encode())

    assert answer["jobs"] == [[len(payload), 2, False]]
    assert np.frombuffer(payload[8:], "<f4").tolist() == [1, 2, 3, 4, 5, 6]


async def test_ask_when_a_body_is_wrong_then_its_error_and_the_process_goes_on(helper: BodyHelper) -> None:
    answer, _ = await helper.ask(QUESTION, b"{")
    pid = helper.pid
    assert answer["error"]["code"] == "malformed_request"

    answer, _ = await helper.ask(QUESTION, BODY)

    assert answer["name"] == "toy"
    assert helper.pid == pid


BROKEN = """
import sys
from api import body_process

class Body(body_process.JobBody):
    def read(self, *_):
        raise RuntimeError("cannot pack row 47.11")

body_process.JobBody = Body
sys.exit(body_process.main())
"""


async def test_ask_when_the_reader_has_a_bug_then_internal_and_the_log_has_no_rows(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRY_LOG_FORMAT", "json")
    broken = BodyHelper((sys.executable, "-c", BROKEN))
    await broken.ask(QUESTION, BODY)
    pid = broken.pid
    answer, _ = await broken.ask({}, manifest().model_dump_json().encode())
    error = error_from_wire(answer["error"])
    assert (error.code, status_of(error)) == ("internal", 500)
    await broken.ask(QUESTION, BODY)
    assert broken.pid == pid
    broken.close()
    lines = [orjson.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("error", "body_reader_failed: a body could not be read")
    ]
    assert "RuntimeError" in lines[0]["exception"]
    assert "47.11" not in str(lines)


async def test_ask_when_the_process_was_killed_then_said_so_and_another_one_answers(helper: BodyHelper) -> None:
    await helper.ask(QUESTION, BODY)
    pid = helper.pid
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(ReaderEndedError):
        await helper.ask({}, manifest().model_dump_json().encode())

    answer, _ = await helper.ask(QUESTION, BODY)
    assert answer["name"] == "toy"
    assert helper.pid != pid


async def test_ask_when_the_process_that_started_it_is_large_then_it_is_not_taken_for_grown(
    helper: BodyHelper,
) -> None:
    large = np.ones(LARGE_RSS_BYTES + 2**20, np.uint8)  # a peak that getrusage hands on to a process that it starts
    await helper.ask(QUESTION, BODY)
    pid = helper.pid
    await helper.ask({}, manifest().model_dump_json().encode())
    assert (helper.pid, large.size > LARGE_RSS_BYTES) == (pid, True)


async def test_clear_ended_when_the_process_was_killed_while_idle_then_the_next_question_is_answered(
    helper: BodyHelper,
) -> None:
    await helper.ask(QUESTION, BODY)
    pid = helper.pid
    helper.clear_ended()
    assert helper.pid == pid
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    helper.clear_ended()

    answer, _ = await helper.ask(QUESTION, BODY)
    assert answer["name"] == "toy"


async def test_ask_when_no_answer_comes_in_time_then_the_process_is_ended() -> None:
    silent = BodyHelper((sys.executable, "-c", "import time; time.sleep(60)"), limit_s=0.1)
    with pytest.raises(ReaderEndedError):
        await silent.ask(QUESTION, BODY)
    assert silent.pid is None


class UnhurriedProcess(subprocess.Popen[bytes]):
    """Its end takes until it is allowed, as that of a process with much memory."""

    may_end = threading.Event()

    def wait(self, timeout: float | None = None) -> int:
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("the event loop waits for the end of a process")
        self.may_end.wait()
        return super().wait(timeout)


async def test_ask_when_it_is_canceled_then_the_loop_does_not_wait_for_the_end_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = BodyHelper((sys.executable, "-c", "import time; time.sleep(60)"))
    with monkeypatch.context() as patched:
        patched.setattr("api.body_helper.subprocess.Popen", UnhurriedProcess)
        asking = asyncio.create_task(silent.ask(QUESTION, BODY))
        await asyncio.sleep(0)
        pid = silent.pid
        assert pid is not None
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert silent.pid is None
    UnhurriedProcess.may_end.set()
    await asyncio.to_thread(silent.close)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_close_when_a_process_runs_then_it_is_ended_and_reaped(helper: BodyHelper) -> None:
    await helper.ask(QUESTION, BODY)
    pid = helper.pid
    helper.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_body_process_when_imported_then_neither_fastapi_nor_the_queue_comes_along() -> None:
    heavy = ("fastapi", "celery", "redis", "uvicorn")
    code = f"import sys, api.body_process; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux says it")
async def test_ask_when_the_process_runs_then_the_system_would_end_it_before_the_api(helper: BodyHelper) -> None:
    await helper.ask(QUESTION, BODY)
    assert oom_score_of(helper.pid) == OOM_SCORE_ADJ


def oom_score_of(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())
