"""Starting, stopping and breaking the whole stack, as happens on a laptop."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import FERRY, StartStack
from tests.processes import ROOT, eventually

pytestmark = pytest.mark.timeout(300)

ROW = {"version": "mnist", "input": {"x": [[0.0] * 28] * 28}}


def children_of(pid: int) -> list[int]:
    """Every process below one, at any depth."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found += [int(entry.name), *children_of(int(entry.name))]
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def part_pid(pids: list[int], *words: str) -> int:
    for pid in pids:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if all(word in command for word in words):
            return pid
    pytest.fail(f"no part with {words}")


def test_up_when_interrupted_then_no_process_is_left_and_jobs_stay(start_stack: StartStack, tmp_path: Path) -> None:
    home = tmp_path / "data"
    first = start_stack(data_dir=home, FERRY_WORKERS="1")
    done = httpx.post(f"{first.api_url}/v1/predictions", json=ROW, headers={"Prefer": "wait"}, timeout=60).json()
    pids = children_of(first.process.pid)
    assert len(pids) >= 4
    # What is accepted with no worker left must survive the restart, too.
    os.kill(part_pid(pids, "-m worker"), signal.SIGSTOP)
    waiting = httpx.post(f"{first.api_url}/v1/predictions", json=ROW, timeout=60).json()
    os.kill(part_pid(pids, "-m worker"), signal.SIGCONT)
    assert first.interrupt() == 0
    assert [pid for pid in pids if is_alive(pid)] == []
    assert not (home / "run.json").exists()

    again = start_stack(data_dir=home, FERRY_WORKERS="1")
    for job in (done, waiting):
        response = httpx.get(f"{again.api_url}/v1/predictions/{job['id']}", params={"wait": 30}, timeout=60)
        assert response.json()["status"] == "succeeded"
    assert again.interrupt() == 0


def test_up_when_the_api_dies_then_it_is_started_again_and_the_rest_goes_on(start_stack: StartStack) -> None:
    stack = start_stack(FERRY_WORKERS="1")
    pids = children_of(stack.process.pid)
    killed = part_pid(pids, "-m api")
    worker = part_pid(pids, "-m worker")
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: "api was ended by SIGKILL" in stack.output, "the end is said")
    eventually(lambda: [each for each in children_of(stack.process.pid) if each not in pids], "another API is there")
    assert is_alive(worker)


def test_up_when_a_worker_dies_then_it_is_started_again_and_serves(start_stack: StartStack) -> None:
    stack = start_stack(FERRY_WORKERS="1")
    pids = children_of(stack.process.pid)
    worker = part_pid(pids, "-m worker")
    os.kill(worker, signal.SIGKILL)
    done = httpx.post(f"{stack.api_url}/v1/predictions", json=ROW, headers={"Prefer": "wait"}, timeout=60).json()
    assert done["status"] == "succeeded"
    assert "worker-1 was ended by SIGKILL; starting it again" in stack.output
    assert [pid for pid in pids if not is_alive(pid)] == [worker]
    assert stack.interrupt() == 0


def test_up_when_the_embedded_redis_dies_then_it_comes_back_with_its_jobs_and_the_parts_stay(
    start_stack: StartStack,
) -> None:
    stack = start_stack(FERRY_WORKERS="1")
    pids = children_of(stack.process.pid)
    worker, killed = part_pid(pids, "-m worker"), part_pid(pids, "redis-server")
    os.kill(worker, signal.SIGSTOP)
    waiting = httpx.post(f"{stack.api_url}/v1/predictions", json=ROW, timeout=60).json()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: "redis was ended by SIGKILL; starting it again" in stack.output, "the end is said")
    os.kill(worker, signal.SIGCONT)

    def state() -> str:
        return str(httpx.get(f"{stack.api_url}/v1/predictions/{waiting['id']}", timeout=60).json().get("status"))

    eventually(lambda: state() == "succeeded", "the job that waited is done")
    assert [pid for pid in pids if not is_alive(pid)] == [killed]
    assert stack.interrupt() == 0


def test_up_when_its_ports_are_taken_then_others_are_picked_and_said(start_stack: StartStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api, socket.create_server(("127.0.0.1", 0)) as flower:
        ports = [api.getsockname()[1], flower.getsockname()[1]]
        stack = start_stack(FERRY_API_PORT=str(ports[0]), FERRY_FLOWER_PORT=str(ports[1]), FERRY_WORKERS="1")
        assert httpx.get(f"{stack.api_url}/v2/health/live").status_code == 200
        for port in ports:
            assert f"port {port} is taken" in stack.output
        assert stack.interrupt() == 0


def test_up_when_the_folder_is_in_use_then_a_clear_error(start_stack: StartStack, tmp_path: Path) -> None:
    stack = start_stack(FERRY_WORKERS="1")
    second = subprocess.run(
        [FERRY, "up"], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert str(stack.process.pid) in second.stderr
    assert "FERRY_DATA_DIR" in second.stderr
    assert stack.interrupt() == 0


def test_demo_when_run_then_every_job_succeeds_and_nothing_is_left(tmp_path: Path) -> None:
    env = {**os.environ, "FERRY_DATA_DIR": str(tmp_path / "data"), "FERRY_API_PORT": "0", "FERRY_FLOWER_PORT": "0"}
    # A setting that makes every other API ask for keys; the demo's own listens here alone.
    env["FERRY_API_HOST"] = "0.0.0.0"
    done = subprocess.run(
        [FERRY, "demo", "--jobs", "300"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = dict(re.findall(r"│ ([a-z0-9 ,]+?) +│ +([\d.,]+)[^│]*│", done.stdout))
    assert cells["jobs succeeded"] == "300"
    assert cells["jobs failed"] == "0"
    assert float(cells["accuracy"]) >= 95
    assert float(cells["mean rows per batch"]) > 1
    assert list((tmp_path / "data").glob("demo-*")) == []
