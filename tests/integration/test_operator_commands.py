"""`ferry queue` and `ferry dead` on a real Redis, as an operator types them."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from click.testing import Result
from typer.testing import CliRunner

from ferry.cli.main import app
from ferry.errors import FerryError
from ferry.jobs import Submission
from ferry.queue.connection import connect
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.producer import Producer
from ferry.settings import NAMESPACE
from tests.manifests import manifest, submission
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio
MAX_ATTEMPTS = 2

Ferry = Callable[..., Result]


@pytest.fixture
def ferry(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Ferry:
    """Run a command; a FerryError goes out as its text, as `main` prints it."""
    monkeypatch.setenv("FERRY_REDIS_URL", redis_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, input_: str | None = None) -> Result:
        # In a thread: the commands have event loops of their own.
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(CliRunner().invoke, app, list(arguments), input=input_).result()
        if isinstance(result.exception, FerryError):
            result.stdout_bytes = result.exception.detail.encode()
        return result

    return run


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url, NAMESPACE).redis


@pytest.fixture
async def queue(producer: Producer) -> Producer:
    await producer.register(manifest())
    return producer


def die(client: redis.Redis, job: Submission) -> None:
    """Let the workers that hold a job die until it is given up."""
    worker = Consumer(client_of(client), worker="w", lease_s=5)
    keeper = Keeper(client_of(client), KeeperRules(lease_s=5, max_attempts=MAX_ATTEMPTS))
    for _ in range(MAX_ATTEMPTS):
        claim = worker.claim("toy", "1", max_rows=8)
        assert [each.id for each in claim.jobs] == [job.id]
        client.zadd(KEYS.leases, {claim.token: 1})
        assert keeper.lapse() is not None
    client.delete(KEYS.keeper)


async def dead_job(queue: Producer, client: redis.Redis) -> Submission:
    job = submission(rows=3, payload=b"poison")
    await queue.submit([job])
    die(client, job)
    return job


async def test_queue_list_when_jobs_wait_then_the_rows_and_gates_of_each(queue: Producer, ferry: Ferry) -> None:
    await queue.submit([submission(rows=1200)])
    assert re.search(r"toy:1 +\S? *0 +\S? *1,200 +\S? *open", ferry("queue", "list").stdout.replace("│", " "))
    ferry("queue", "pause", "toy")
    ferry("queue", "drain", "toy")
    assert "paused, draining" in ferry("queue", "list").stdout


async def test_queue_pause_and_resume_when_typed_then_said_and_done(
    queue: Producer, ferry: Ferry, client: redis.Redis
) -> None:
    await queue.submit([submission(), submission()])
    paused = ferry("queue", "pause", "toy:1")
    assert "toy:1 is paused, 2 jobs wait. Go on: ferry queue resume toy:1" in paused.stdout
    worker = Consumer(client_of(client), worker="w", lease_s=5)
    assert worker.claim("toy", "1", max_rows=8).jobs == ()
    assert "toy:1 is open" in ferry("queue", "resume", "toy").stdout
    assert len(worker.claim("toy", "1", max_rows=8).jobs) == 2


async def test_queue_drain_when_it_is_to_wait_then_it_returns_once_nothing_waits(queue: Producer, ferry: Ferry) -> None:
    result = ferry("queue", "drain", "toy", "--wait")
    assert result.exit_code == 0
    assert "takes no new jobs, 0 wait" in result.stdout
    assert "No job of toy:1 waits." in result.stdout


async def test_queue_purge_when_confirmed_then_canceled_and_else_not(queue: Producer, ferry: Ferry) -> None:
    jobs = [submission() for _ in range(3)]
    await queue.submit(jobs)
    asked = ferry("queue", "purge", "toy", input_="n\n")
    assert asked.exit_code == 1
    assert "Cancel 3 waiting jobs of toy:1?" in asked.stdout
    assert "Canceled 3 jobs of toy:1." in ferry("queue", "purge", "toy", "--yes").stdout
    assert {record.error for record in await queue.read_many([job.id for job in jobs]) if record} == {
        "purged by the operator"
    }


async def test_queue_delete_when_known_then_gone_and_else_said(queue: Producer, ferry: Ferry) -> None:
    job = submission()
    await queue.submit([job])
    assert ferry("queue", "delete", job.id, "-y").stdout == f"Deleted {job.id}.\n"
    assert await queue.read(job.id) is None
    again = ferry("queue", "delete", job.id, "-y")
    assert (again.exit_code, again.stdout) == (1, f"no job '{job.id}'")


@pytest.mark.parametrize("command", [("queue", "pause"), ("queue", "drain"), ("queue", "resume"), ("queue", "purge")])
async def test_queue_when_the_model_is_mistyped_then_those_there_are_told(
    queue: Producer, ferry: Ferry, command: tuple[str, str]
) -> None:
    result = ferry(*command, "tyo")
    assert (result.exit_code, result.stdout) == (1, "the queue knows no model 'tyo'; it knows toy:1")


async def test_dead_list_when_there_are_none_then_said(queue: Producer, ferry: Ferry) -> None:
    assert ferry("dead", "list").stdout == "No dead letters.\n"


async def test_dead_list_and_show_when_a_job_was_given_up_then_why(
    queue: Producer, ferry: Ferry, client: redis.Redis
) -> None:
    job = await dead_job(queue, client)
    for shown in (ferry("dead", "list").stdout, ferry("dead", "show", job.id).stdout):
        assert job.id in shown
        assert "the worker died 2 times while it held this job" in shown
    assert "1 dead letters; see `ferry dead list`" in ferry("queue", "list").stdout
    await dead_job(queue, client)
    assert "1 more; --limit shows more" in ferry("dead", "list", "--limit", "1").stdout


async def test_dead_replay_when_named_then_a_new_job(queue: Producer, ferry: Ferry, client: redis.Redis) -> None:
    job = await dead_job(queue, client)
    told = ferry("dead", "replay", job.id).stdout
    new_id = told.split()[-1]
    record = await queue.read(new_id)
    assert told == f"{job.id} goes on as {new_id}\n"
    assert record is not None
    assert (record.replay_of, record.state, record.rows) == (job.id, "queued", 3)
    again = ferry("dead", "replay", job.id)
    assert (again.exit_code, again.stderr) == (1, f"ferry: {job.id}: no such dead letter\n")


async def test_dead_replay_and_drop_when_all_then_none_is_left(
    queue: Producer, ferry: Ferry, client: redis.Redis
) -> None:
    jobs = [await dead_job(queue, client) for _ in range(3)]
    assert len(ferry("dead", "drop", "--all", "-y").stdout.splitlines()) == 3
    assert await queue.read_many([job.id for job in jobs]) == [None] * 3
    more = [await dead_job(queue, client) for _ in range(2)]
    assert len(ferry("dead", "replay", "--all").stdout.splitlines()) == 2
    assert ferry("dead", "list").stdout == "No dead letters.\n"
    assert {record.error_code for record in await queue.read_many([job.id for job in more]) if record} == {
        "worker_lost"
    }


async def test_dead_replay_when_nothing_is_named_or_both_then_said(queue: Producer, ferry: Ferry) -> None:
    for arguments in ((), ("some", "--all")):
        assert ferry("dead", "replay", *arguments).stdout == "name one or more job ids, or --all"


async def test_dead_show_when_unknown_then_said(queue: Producer, ferry: Ferry) -> None:
    assert "no dead letter 'nobody'" in ferry("dead", "show", "nobody").stdout


async def test_models_alias_when_moved_and_rolled_back_then_said_and_known(ferry: Ferry, queue: Producer) -> None:
    await queue.register(manifest(version="2"))
    assert "toy:stable is toy:1;" in ferry("models", "alias", "toy", "stable", "1").stdout
    assert "toy:stable is toy:2 (was 1);" in ferry("models", "alias", "toy", "stable", "2").stdout
    assert await queue.aliases() == {("toy", "stable"): "2"}
    assert "toy:stable is toy:1 (was 2)" in ferry("models", "rollback", "toy", "stable").stdout
    ferry("models", "alias", "toy", "latest", "1")
    assert "toy:latest is the highest version (was 1)" in ferry("models", "rollback", "toy").stdout
    refused = ferry("models", "alias", "toy", "stable", "3")
    assert (refused.exit_code, "knows no model toy:3" in refused.stderr) == (1, True)
    assert "never moved" in ferry("models", "rollback", "toy", "beta").stderr


async def test_models_unload_when_a_version_or_all_are_named_then_those(ferry: Ferry, queue: Producer) -> None:
    await queue.register(manifest(version="2"))
    assert "toy:1: no longer served" in ferry("models", "unload", "toy:1").stdout
    assert await queue.unloaded() == {("toy", "1")}
    ferry("models", "unload", "toy")
    assert await queue.unloaded() == {("toy", "1"), ("toy", "2")}
    assert "toy:1, toy:2: served again" in ferry("models", "load", "toy").stdout
    assert await queue.unloaded() == frozenset()
    assert "knows no model 'nobody'" in ferry("models", "unload", "nobody").stderr


async def test_keys_when_made_listed_and_revoked_then_shown_once_and_known(ferry: Ferry, client: redis.Redis) -> None:
    made = ferry("keys", "create", "ci", "--owner", "team-a", "--scopes", "submit", "--rate", "5", "--unfinished", "9")
    token = made.stdout.strip()
    _, key_id, secret = token.split("_", 2)  # a secret may have further ones
    assert re.fullmatch(r"ferry_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    listed = ferry("keys", "list").stdout
    for said in (key_id, "ci", "team-a", "submit", "5/s, 9 unfinished", "in force"):
        assert said in listed
    assert secret not in listed
    assert "revoked" in ferry("keys", "revoke", key_id).stdout
    assert "revoked 2" in ferry("keys", "list").stdout
    assert "no API key" in ferry("keys", "revoke", "0" * 12).stdout
    assert "unknown scope" in ferry("keys", "create", "x", "--scopes", "write").stdout
    assert not any(secret.encode() in (client.dump(name) or b"") for name in client.keys("*"))
