"""Redis killed, away, cut off, out of disk or memory, workers stopped or frozen: what was accepted ends right."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx
import pytest

from ferry.jobs import Outcome
from ferry.queue.connection import connect
from ferry.queue.consumer import Consumer
from ferry.settings import NAMESPACE
from tests import onnx_models
from tests.integration.conftest import publish
from tests.integration.sites import (
    ANSWER,
    LONGER_THAN_A_LEASE_S,
    ROW,
    TOY_KEY,
    Site,
    a_site,
    accepted,
    assert_unavailable,
    freeze,
    succeeded,
    until,
)
from tests.manifests import manifest, spec
from tests.namespaces import KEYS, client_of
from tests.processes import POLL_S, eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path, models: Path) -> Iterator[Site]:
    with a_site(tmp_path, models) as site:
        yield site


class Load:
    """Clients that submit job after job, each under a key of its own and again until it is accepted."""

    N_CLIENTS = 4

    def __init__(self, site: Site, api: httpx.Client, headers: dict[str, str] | None = None) -> None:
        self.accepted: dict[str, int] = {}  # x of each job, by its id
        self.refused: list[httpx.Response] = []
        self._odd: list[object] = []
        self._headers = headers or {}
        self._numbers = count(1)
        self._is_over = threading.Event()
        port = api.base_url.port
        assert port is not None
        self._clients = [
            threading.Thread(target=self._send, args=(site.client(port),), daemon=True) for _ in range(self.N_CLIENTS)
        ]

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join()
        assert self._odd == []

    def _send(self, client: httpx.Client) -> None:
        try:
            while not self._is_over.is_set():
                self._submit(client, next(self._numbers))
        except Exception as error:  # noqa: BLE001  told at the end, in the test's own thread
            self._odd.append(error)

    def _submit(self, client: httpx.Client, x: int) -> None:
        """Send a job until it is accepted, the test's end included: of each number there is one job or none."""
        body = {"version": "toy", "input": {"x": [float(x)] * 3}}
        headers = self._headers | {"Idempotency-Key": f"number-{x}"}
        while True:
            response = client.post("/v1/predictions", json=body, headers=headers)
            if response.status_code in (200, 201, 202):
                self.accepted[response.json()["id"]] = x
                self._is_over.wait(0.01)
                return
            assert_unavailable(response)
            self.refused.append(response)
            if self._is_over.wait(POLL_S):
                return

    def go_on(self, n_jobs: int) -> None:
        """Return when so many further jobs are accepted."""
        wanted = len(self.accepted) + n_jobs
        eventually(lambda: len(self.accepted) >= wanted or self._odd, f"{n_jobs} further jobs are accepted")

    def wait_until_refused(self) -> None:
        """Return when every client has been refused since."""
        wanted = len(self.refused) + 2 * self.N_CLIENTS
        eventually(lambda: len(self.refused) >= wanted or self._odd, "jobs are refused")


def check_all_right(api: httpx.Client, jobs: dict[str, int]) -> None:
    """Every job succeeded, with its own answer."""
    for job_id, x in jobs.items():
        assert succeeded(api, job_id)["output"] == {"y": [2.0 * x] * 3}


def claimed(site: Site) -> set[str]:
    """Return the ids of all jobs that some worker holds."""
    held = [site.direct.smembers(key) for key in site.direct.scan_iter(match=f"{KEYS.claim}*", count=1000)]
    return set().union(*held)


def is_written(site: Site) -> bool:
    """Whether all that Redis had acknowledged when it was asked is out of its hands: its death then loses none of it.

    While a write to the disk is under way, `appendfsync everysec` answers first and hands on up to 2 s later.
    """
    return site.direct.info("persistence")["aof_buffer_length"] == 0


# --- Redis is killed


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_jobs_when_redis_is_killed_under_load_and_started_again_then_none_is_lost(site: Site, fsync: str) -> None:
    site.direct.config_set("appendfsync", fsync)
    _, api = site.start_api()
    for _ in range(2):
        site.start_worker()
    with Load(site, api) as load:
        load.go_on(100)
        safe = set(load.accepted)
        if fsync == "everysec":
            eventually(lambda: is_written(site), "what was accepted until now is written")
        site.kill_redis()
        load.wait_until_refused()
        unsafe = set(load.accepted) - safe if fsync == "everysec" else set()
        site.restart_redis()
        load.go_on(100)
    check_all_right(api, {job_id: x for job_id, x in load.accepted.items() if job_id not in unsafe})
    for job_id in unsafe:
        assert api.get(f"/v1/predictions/{job_id}", params={"wait": "60"}).status_code in (200, 404)


@pytest.mark.parametrize("batch_ends", ["during the outage", "after the outage"])
def test_jobs_when_redis_is_away_for_longer_than_a_lease_then_none_costs_an_attempt(
    site: Site, batch_ends: str
) -> None:
    _, api = site.start_api()
    holder = site.start_worker()
    holder.hold()
    ids = [accepted(api) for _ in range(50)]
    holder.wait_until_held()
    eventually(lambda: "running" in site.states(ids), "the claim is there")
    site.start_worker()  # who would take over whatever lapses
    location = f"/v1/predictions/{ids[0]}"

    site.redis.stop()
    away_since = time.monotonic()
    while time.monotonic() - away_since < LONGER_THAN_A_LEASE_S:
        for response in (
            api.post("/v1/predictions", json=ROW),
            api.post("/v1/predictions", json=ROW, headers={"Prefer": "wait"}),
            api.get(location),
            api.get(location, params={"wait": "60"}),
            api.post(f"{location}/cancel"),
        ):
            assert_unavailable(response)
        time.sleep(POLL_S)
    if batch_ends == "during the outage":
        holder.let_go()
        eventually(lambda: "cannot record" in holder.process.output, "the batch has ended")
    site.restart_redis()

    eventually(lambda: api.get(location).status_code == 200, "the API reads again")
    ids.append(accepted(api))
    if batch_ends == "after the outage":
        time.sleep(LONGER_THAN_A_LEASE_S)  # in which a lease that nobody renews would lapse
        assert "running" in site.states(ids)
        holder.let_go()
    eventually(lambda: site.states(ids) == {"succeeded"}, "all jobs have succeeded")
    assert site.attempts(ids) == {1}
    assert all(succeeded(api, job_id)["output"] == ANSWER for job_id in ids)


# --- connections are cut


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_jobs_when_all_connections_are_cut_under_load_then_all_succeed_and_every_wait_is_answered(
    site: Site, kind: str
) -> None:
    # Where no reply to a worker is lost, no lease may lapse either, however busy this machine is.
    lease = {"FERRY_LEASE_S": "30"} if kind == "pubsub" else {}
    _, api = site.start_api(**lease)
    for _ in range(2):
        site.start_worker(**lease)
    succeeded(api, accepted(api))  # Redis knows every script then
    known_before = len(site.job_ids())
    with Load(site, api, {"Prefer": "wait=20"}) as load:
        for _ in range(6):
            load.go_on(25)
            assert site.direct.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes") >= 1
        load.go_on(25)
    check_all_right(api, load.accepted)
    # One key, one job: what was sent again after a lost reply was not queued again.
    known = len(site.job_ids()) - known_before
    assert len(load.accepted) <= known <= len(load.accepted) + Load.N_CLIENTS
    if kind == "pubsub":
        assert load.refused == []
        assert site.attempts(load.accepted) == {1}
    # Of the others a claim's reply may be lost; then the lease lapses, and its jobs are claimed once more.


def test_worker_when_redis_does_not_know_its_settle_script_then_it_has_in_hand_what_it_claims_with_a_settle(
    site: Site,
) -> None:
    _, api = site.start_api()
    client = connect(site.redis.url, NAMESPACE).redis
    worker = Consumer(client_of(client), worker="by hand", lease_s=30)
    accepted(api)
    claim = worker.claim("toy", "1", max_rows=1)  # which makes the claim script known
    accepted(api)
    outcomes = [
        Outcome(job.id, "ticket.1", 1, 1, 42, job.attempt, job.started_us, output=bytes(12)) for job in claim.jobs
    ]
    recorded, following, _ = worker.settle_and_claim(claim, "toy", "1", outcomes, max_rows=1, wait_s=0.01)
    client.close()
    assert recorded == 1
    assert {job.id for job in following.jobs} == claimed(site)


# --- no room on the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    place = tmp_path / "small-disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; returns the file that takes the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            try:
                while shutil.disk_usage(disk).free and file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    assert shutil.disk_usage(disk).free == 0
    return filler


@pytest.mark.parametrize("then", ["Redis goes on", "Redis is restarted", "Redis had ended by itself"])
def test_jobs_when_the_disk_is_full_then_new_ones_are_refused_and_accepted_ones_succeed_once_there_is_room(
    tmp_path: Path, models: Path, small_disk: Path, then: str
) -> None:
    with ExitStack() as stack:
        site = stack.enter_context(a_site(tmp_path, models, small_disk / "redis"))
        if then == "Redis had ended by itself":  # as it does where it promised to have written before it answers
            site.direct.config_set("appendfsync", "always")
        _, api = site.start_api()
        holder = site.start_worker()
        holder.hold()
        ids = [accepted(api)]
        holder.wait_until_held()

        filler = fill(small_disk)
        refused: list[httpx.Response] = []

        def submit() -> None:
            response = api.post("/v1/predictions", json=ROW)
            if response.status_code == 202:
                ids.append(response.json()["id"])
            else:
                refused.append(response)

        until(lambda: refused, "the disk is full", submit)
        if then == "Redis had ended by itself":
            assert "does not answer" in assert_unavailable(refused[0])
            eventually(lambda: site.redis.exit_status() is not None, "Redis has ended")
        else:
            assert "append-only file" in assert_unavailable(refused[0])
            assert_unavailable(api.post("/v1/predictions", json=ROW, headers={"Prefer": "wait"}))
            assert_unavailable(api.post(f"/v1/predictions/{ids[0]}/cancel"))
            assert api.get(f"/v1/predictions/{ids[0]}").json()["status"] == "processing"
        holder.let_go()
        eventually(lambda: "cannot record" in holder.process.output, "the results wait")
        time.sleep(LONGER_THAN_A_LEASE_S)

        filler.unlink()
        if then == "Redis is restarted":
            site.redis.stop()
        if then != "Redis goes on":
            site.restart_redis()
        eventually(lambda: api.post("/v1/predictions", json=ROW).status_code == 202, "jobs are accepted again")
        eventually(lambda: site.states(ids) == {"succeeded"}, "all that was accepted has succeeded")
        assert site.attempts(ids) == {1}

        eventually(lambda: is_written(site), "everything is written")
        site.kill_redis()
        site.restart_redis()
        assert site.states(ids) == {"succeeded"}


# --- no memory


def test_jobs_when_redis_has_no_memory_left_then_new_ones_are_refused_and_accepted_ones_succeed(
    site: Site, models: Path
) -> None:
    publish(models, onnx_models.identity("float32", ("N", 4096)), manifest(
        "wide", inputs=(spec("x", "float32", 4096),), outputs=(spec("y", "float32", 4096),), max_rows=16,
    ))  # fmt: skip
    _, api = site.start_api()
    numbers = random.Random(0)
    ids: list[str] = []
    refused: list[httpx.Response] = []

    def submit() -> None:
        row = [numbers.random() for _ in range(4096)]
        response = api.post("/v1/predictions", json={"version": "wide", "input": {"x": row}})
        if response.status_code == 202:
            ids.append(response.json()["id"])
        else:
            refused.append(response)

    submit()
    site.direct.config_set("maxmemory", site.direct.info("memory")["used_memory"] + 12 * 2**20)
    until(lambda: refused, "Redis is full", submit)
    assert "memory" in assert_unavailable(refused[0], "queue_full")
    assert len(ids) > 100
    assert_unavailable(api.post("/v1/predictions", json=ROW), "queue_full")
    # Not a byte is left, not even for what Celery writes as it connects.
    site.direct.config_set("maxmemory", site.direct.info("memory")["used_memory"] - 2**20)
    site.start_worker()
    eventually(lambda: site.states(ids) == {"succeeded"}, "all that was accepted has succeeded")
    assert site.attempts(ids) == {1}
    site.direct.config_set("maxmemory", 0)
    eventually(lambda: api.post("/v1/predictions", json=ROW).status_code == 202, "jobs are accepted again")
    ids.append(accepted(api))
    eventually(lambda: site.states(ids) == {"succeeded"}, "what came afterwards has succeeded too")


def test_jobs_when_redis_is_out_of_memory_for_longer_than_a_lease_then_none_costs_an_attempt(site: Site) -> None:
    _, api = site.start_api()
    holder = site.start_worker()
    holder.hold()
    ids = [accepted(api) for _ in range(50)]
    holder.wait_until_held()
    site.direct.config_set("maxmemory", 1)
    away_since = time.monotonic()
    while time.monotonic() - away_since < LONGER_THAN_A_LEASE_S:
        detail = assert_unavailable(api.post("/v1/predictions", json=ROW), "queue_full", "queue_unavailable")
        assert "memory" in detail
        assert api.get(f"/v1/predictions/{ids[0]}").json()["status"] == "processing"
        time.sleep(POLL_S)
    site.direct.config_set("maxmemory", 0)
    eventually(lambda: api.post("/v1/predictions", json=ROW).status_code == 202, "jobs are accepted again")
    time.sleep(LONGER_THAN_A_LEASE_S)
    holder.let_go()
    eventually(lambda: site.states(ids) == {"succeeded"}, "all that was accepted has succeeded")
    assert site.attempts(ids) == {1}


# --- a worker is stopped or frozen in the middle of a batch


def test_worker_when_told_to_stop_in_the_middle_of_a_batch_then_it_records_it_and_leaves_the_rest(site: Site) -> None:
    _, api = site.start_api()
    worker = site.start_worker()
    worker.hold()
    ids = {accepted(api) for _ in range(100)}
    worker.wait_until_held()
    held = claimed(site)
    assert set() < held < ids
    worker.process.signal(signal.SIGTERM)
    eventually(lambda: not site.live_workers(), "the worker counts as serving no more")
    time.sleep(LONGER_THAN_A_LEASE_S)  # in which its lease would lapse if it were not renewed to the end
    assert site.states(held) == {"running"}
    worker.let_go()
    assert worker.process.wait() == 0
    assert site.states(held) == {"succeeded"}
    assert site.attempts(held) == {1}
    assert claimed(site) == set()
    assert site.states(ids - held) == {"queued"}

    site.start_worker()
    eventually(lambda: site.states(ids) == {"succeeded"}, "another does the rest")
    assert site.attempts(ids) == {1}
    assert all(succeeded(api, job_id)["output"] == ANSWER for job_id in ids)


def test_worker_when_it_wakes_up_long_after_its_lease_then_it_changes_nothing_of_what_another_holds(site: Site) -> None:
    _, api = site.start_api()
    sleeper = site.start_worker()
    sleeper.hold()
    job_id = accepted(api)
    sleeper.wait_until_held()
    freeze(sleeper.process)
    holder = site.start_worker(is_held=True)
    holder.wait_until_held()  # it took the job over
    job, leases = (
        site.direct.hmget(KEYS.job + job_id, "state", "token", "attempts"),
        site.direct.zrange(KEYS.leases, 0, -1),
    )
    assert job == ["running", leases[0], "2"]
    assert len(leases) == 1

    sleeper.let_go()
    sleeper.process.signal(signal.SIGCONT)
    eventually(
        lambda: "'dropped': 1" in sleeper.process.output, "the sleeper settles, and is told that none was its own"
    )
    time.sleep(LONGER_THAN_A_LEASE_S)  # in which it would renew what it holds
    assert site.direct.hmget(KEYS.job + job_id, "state", "token", "attempts") == job
    assert site.direct.zrange(KEYS.leases, 0, -1) == leases
    assert site.direct.smembers(KEYS.claim + leases[0]) == {job_id}
    assert site.direct.exists(KEYS.input + job_id)
    assert site.direct.hget(KEYS.counts + TOY_KEY, "succeeded") is None

    holder.let_go()
    assert succeeded(api, job_id)["output"] == ANSWER
    assert site.direct.hget(KEYS.counts + TOY_KEY, "succeeded") == "1"
    assert site.attempts([job_id]) == {2}
    eventually(sleeper.process.is_running, "the sleeper goes on")
