"""Who may do what: every operation of the API asked with every kind of key, on real stores and a real worker.

`pytest -s tests/integration/test_access.py` prints the table.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import redis
from fastapi import FastAPI

from api.app import build_app
from ferry.access import Scope
from ferry.job_ids import scoped_id
from ferry.jobs import new_job_id
from ferry.queue.connection import connect
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules
from ferry.queue.key_book import KeyBook
from ferry.settings import NAMESPACE, Settings
from tests import onnx_models
from tests.integration.conftest import StartWorker, publish
from tests.manifests import manifest, spec
from tests.namespaces import KEYS, client_of
from tests.processes import GIVE_UP_S, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

ROW = {"x": [1.0, 2.0, 3.0]}
INFER = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
# A model without a worker: what is sent to it waits, and can be made a dead letter by hand.
IDLE = "idle"
MAX_ATTEMPTS = 2
TENANT = frozenset({Scope.SUBMIT, Scope.READ})


class World:
    """An API that asks for keys, and what Ann has in it."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, redis_client: redis.Redis) -> None:
        self.app = app
        self.client = client
        self.redis = redis_client
        self.book = KeyBook(client_of(redis_client))
        self.worker = Consumer(client_of(redis_client), worker="by-hand", lease_s=5)
        self.keeper = Keeper(client_of(redis_client), KeeperRules(lease_s=5, max_attempts=MAX_ATTEMPTS))
        self.tokens = {
            "ann": self._make("ann", TENANT),
            "bob": self._make("bob", TENANT),
            "reader": self._make("bob", frozenset({Scope.READ})),
            "submitter": self._make("bob", frozenset({Scope.SUBMIT})),
            "metrics": self._make("prometheus", frozenset({Scope.METRICS})),
            "admin": self._make("operator", frozenset({Scope.ADMIN})),
        }
        revoked, self.tokens["revoked"] = self.book.create("gone", owner="ann", scopes=frozenset(Scope))
        self.book.revoke(revoked.id)

    def _make(self, owner: str, scopes: frozenset[Scope]) -> str:
        return self.book.create("test", owner=owner, scopes=scopes)[1]

    async def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return await self.client.request(method, path, headers=headers, **more)

    async def _made(self, method: str, path: str, who: str = "ann", **more: Any) -> str:
        answer = await self.ask(who, method, path, **more)
        assert answer.status_code in (200, 201, 202), answer.text
        return str(answer.json()["id"])

    async def job(self, model: str = IDLE) -> str:
        return await self._made("POST", "/v1/predictions", json={"version": model, "input": ROW})

    async def file(self, who: str = "ann") -> str:
        """Store a file of two rows, the second of which no model takes."""
        inputs = [ROW, {"x": ["none"]}]
        asked = {"method": "POST", "url": "/v1/predictions"}
        lines = [json.dumps({"custom_id": str(n)} | asked | {"body": {"input": x}}) for n, x in enumerate(inputs)]
        form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", "\n".join(lines).encode())}}
        return await self._made("POST", "/v1/files", who, **form)

    async def batch(self) -> str:
        asked = {"input_file_id": await self.file(), "endpoint": "/v1/predictions", "model": IDLE}
        return await self._made("POST", "/v1/batches", json=asked)

    async def cancelled_batch(self) -> str:
        """Make a batch that is over before its file was looked at."""
        batch_id = await self.batch()
        answer = await self.ask("ann", "POST", f"/v1/batches/{batch_id}/cancel")
        assert answer.json()["status"] == "cancelled"
        return batch_id

    async def dead_letter(self) -> str:
        """Let a job of Ann's kill its workers until it is given up."""
        job_id = await self.job()
        for _ in range(MAX_ATTEMPTS):
            claim = self.worker.claim(IDLE, "1", max_rows=1000)
            while claim.jobs and scoped_id("ann", job_id) not in {job.id for job in claim.jobs}:
                claim = self.worker.claim(IDLE, "1", max_rows=1000)
            for token in self.redis.zrange(KEYS.leases, 0, -1):
                self.redis.zadd(KEYS.leases, {token: 1})
            self.redis.delete(KEYS.keeper)
            while self.keeper.lapse() is None:  # the API's keeper was faster
                self.redis.delete(KEYS.keeper)
        return job_id


def called_by(who: str, path: str) -> str:
    """Return a path of Ann's with its job called as `who` calls it: the operator names the owner of another's job."""
    if who != "admin":
        return path
    return re.sub(r"(predictions/|predictions\?id=|dead-letters/)(?!many)(?=\w)", r"\1ann~", path)


Call = Callable[[World], Awaitable[tuple[str, dict[str, Any]]]]


@dataclass(frozen=True)
class Operation:
    """How an operation is called on something of Ann's, and what each key is answered.

    `other`: another tenant's key, with the scope; what it makes or lists is its own. `scope` None: anybody may.
    """

    call: Call
    scope: Scope | str | None
    own: int
    other: int


def plain(path: str, **more: Any) -> Call:
    async def call(world: World) -> tuple[str, dict[str, Any]]:
        return path, more

    return call


def on(make: Callable[[World], Awaitable[str]], path: str, **more: Any) -> Call:
    async def call(world: World) -> tuple[str, dict[str, Any]]:
        return path.format(await make(world)), more

    return call


async def _new_batch(world: World) -> tuple[str, dict[str, Any]]:
    asked = {"input_file_id": await world.file(), "endpoint": "/v1/predictions", "model": IDLE}
    return "/v1/batches", {"json": asked}


async def _put(world: World) -> tuple[str, dict[str, Any]]:
    return f"/v1/predictions/{new_job_id()}", {"json": {"version": IDLE, "input": ROW}}


async def _many(world: World) -> tuple[str, dict[str, Any]]:
    return f"/v1/predictions?id={await world.job()}", {}


_FORM = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", b"{}")}}
NOT_FOUND = 404
READ, SUBMIT, ADMIN = Scope.READ, Scope.SUBMIT, Scope.ADMIN
# Any key that is in force.
ANY = "any"
OPERATIONS = {
    "POST /v1/predictions": Operation(plain("/v1/predictions", json={"version": IDLE, "input": ROW}), SUBMIT, 202, 202),
    "GET /v1/predictions": Operation(_many, READ, 200, 200),
    "POST /v1/predictions/many": Operation(
        plain("/v1/predictions/many", json={"version": IDLE, "inputs": [ROW, ROW]}), SUBMIT, 202, 202
    ),
    "GET /v1/predictions/{job_id}": Operation(on(World.job, "/v1/predictions/{}"), READ, 200, 404),
    "PUT /v1/predictions/{job_id}": Operation(_put, SUBMIT, 202, 202),
    "DELETE /v1/predictions/{job_id}": Operation(on(World.job, "/v1/predictions/{}"), SUBMIT, 204, 404),
    "POST /v1/predictions/{job_id}/cancel": Operation(on(World.job, "/v1/predictions/{}/cancel"), SUBMIT, 200, 404),
    "POST /predict": Operation(plain("/predict", json=ROW | {"model": "toy"}), SUBMIT, 200, 200),
    "POST /v2/models/{name}/infer": Operation(plain("/v2/models/toy/infer", json=INFER), SUBMIT, 200, 200),
    "POST /v2/models/{name}/versions/{version}/infer": Operation(
        plain("/v2/models/toy/versions/1/infer", json=INFER), SUBMIT, 200, 200
    ),
    "POST /v1/files": Operation(plain("/v1/files", **_FORM), SUBMIT, 200, 200),
    "GET /v1/files": Operation(on(World.file, "/v1/files"), READ, 200, 200),
    "GET /v1/files/{file_id}": Operation(on(World.file, "/v1/files/{}"), READ, 200, 404),
    "GET /v1/files/{file_id}/content": Operation(on(World.file, "/v1/files/{}/content"), READ, 200, 404),
    "DELETE /v1/files/{file_id}": Operation(on(World.file, "/v1/files/{}"), SUBMIT, 200, 404),
    "POST /v1/batches": Operation(_new_batch, SUBMIT, 200, 404),
    "GET /v1/batches": Operation(on(World.batch, "/v1/batches"), READ, 200, 200),
    "GET /v1/batches/{batch_id}": Operation(on(World.batch, "/v1/batches/{}"), READ, 200, 404),
    "GET /v1/batches/{batch_id}/output": Operation(on(World.cancelled_batch, "/v1/batches/{}/output"), READ, 200, 404),
    "POST /v1/batches/{batch_id}/cancel": Operation(on(World.batch, "/v1/batches/{}/cancel"), SUBMIT, 200, 404),
    "GET /v1/models": Operation(plain("/v1/models"), READ, 200, 200),
    "GET /v1/models/{name}": Operation(plain("/v1/models/toy"), READ, 200, 200),
    "GET /v1/models/{name}/examples": Operation(plain("/v1/models/toy/examples"), READ, 200, 200),
    "GET /v1/stats": Operation(plain("/v1/stats"), READ, 200, 200),
    "GET /v1/stats/events": Operation(plain("/v1/stats/events"), READ, 200, 200),
    "GET /v1/dead-letters": Operation(on(World.dead_letter, "/v1/dead-letters"), ADMIN, 403, 403),
    "GET /v1/dead-letters/{job_id}": Operation(on(World.dead_letter, "/v1/dead-letters/{}"), ADMIN, 403, 403),
    "DELETE /v1/dead-letters/{job_id}": Operation(on(World.dead_letter, "/v1/dead-letters/{}"), ADMIN, 403, 403),
    "POST /v1/dead-letters/{job_id}/replay": Operation(
        on(World.dead_letter, "/v1/dead-letters/{}/replay"), ADMIN, 403, 403
    ),
    "GET /v2/models/{name}": Operation(plain("/v2/models/toy"), READ, 200, 200),
    "GET /v2/models/{name}/ready": Operation(plain("/v2/models/toy/ready"), READ, 200, 200),
    "GET /v2/models/{name}/versions/{version}/ready": Operation(
        plain("/v2/models/toy/versions/1/ready"), READ, 200, 200
    ),
    "GET /v2/models/{name}/config": Operation(plain("/v2/models/toy/config"), READ, 200, 200),
    "GET /v2/models/{name}/versions/{version}": Operation(plain("/v2/models/toy/versions/1"), READ, 200, 200),
    "GET /v2/models/{name}/versions/{version}/config": Operation(
        plain("/v2/models/toy/versions/1/config"), READ, 200, 200
    ),
    "POST /v2/repository/index": Operation(plain("/v2/repository/index"), READ, 200, 200),
    "POST /v2/repository/models/{name}/load": Operation(plain("/v2/repository/models/toy/load"), ADMIN, 403, 403),
    "POST /v2/repository/models/{name}/unload": Operation(plain("/v2/repository/models/idle/unload"), ADMIN, 403, 403),
    "GET /metrics": Operation(plain("/metrics"), Scope.METRICS, 403, 403),
    "DELETE /v1/owners/{owner}": Operation(plain("/v1/owners/nobody"), ADMIN, 403, 403),
    "GET /v1/key": Operation(plain("/v1/key"), ANY, 200, 200),
    "GET /v2/health/live": Operation(plain("/v2/health/live"), None, 200, 200),
    "GET /v2/health/ready": Operation(plain("/v2/health/ready"), None, 200, 200),
}
NEED_A_WORKER = frozenset(name for name in OPERATIONS if name.endswith(("predict", "infer", "ready")))
# What is served beside the operations: their description, and the page with its files.
DOCUMENTS = {"/openapi.json", "/docs", "/static/swagger-ui/{name}", "/", "/static"}
WHO = ("", "revoked", "metrics", "reader", "submitter", "bob", "ann", "admin")


def served_paths(world: World) -> set[str]:
    """Return the path of every route that is mounted, in the document or not."""
    mounted = [getattr(route, "original_router", route) for route in world.app.routes]
    return {route.path for each in mounted for route in getattr(each, "routes", None) or [each]}


@pytest.fixture
async def world(
    request: pytest.FixtureRequest,
    redis_url: str,
    tmp_path: Path,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    anyio_backend: str,
) -> AsyncIterator[World]:
    monkeypatch.setattr("api.routes.stats.STREAM_S", 0)
    client = connect(redis_url, NAMESPACE).redis
    called = getattr(request.node, "callspec", None)
    if called and called.params.get("name") in NEED_A_WORKER:
        start_worker()
        eventually(lambda: client.exists(f"{KEYS.live}toy:1"), "the worker serves")
    # Published after the worker's start and taken out of its folder: no worker serves it.
    own = tmp_path / "own"
    for name in ("toy", IDLE):
        outputs = (spec("y", "float32", 3),)
        publish(own, onnx_models.doubled(), manifest(name, outputs=outputs, max_rows=16))
    settings = Settings(
        _env_file=None, redis_url=redis_url, models_dir=own, data_dir=tmp_path / "data", api_keys="on",
    )  # fmt: skip
    app = build_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ferry", timeout=30) as http:
            yield World(app, http, client)
    client.close()


async def test_table_when_walked_then_it_has_every_operation_there_is(world: World) -> None:
    paths = (await world.ask("admin", "GET", "/openapi.json")).json()["paths"]
    there_are = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert there_are == set(OPERATIONS)
    # And none is hidden from the document but those that serve it.
    assert {path for path in served_paths(world) if path not in paths} == DOCUMENTS


@pytest.mark.parametrize("name", OPERATIONS)
async def test_operation_when_asked_with_every_key_then_what_it_answers(world: World, name: str) -> None:
    operation = OPERATIONS[name]
    seen = {}
    for who in WHO:
        path, more = await operation.call(world)
        path = path if name.startswith("PUT") else called_by(who, path)
        seen[who] = (await world.ask(who, name.partition(" ")[0], path, **more)).status_code
    print(f"\n{name:50}", *(f"{who or 'no key'} {status}  " for who, status in seen.items()))
    admin = seen.pop("admin")
    if operation.scope is None:
        assert set(seen.values()) == {200} == {admin}
        return
    metrics = 200 if operation.scope in (Scope.METRICS, ANY) else 403
    # Each of these has one scope of Bob's two.
    reader, submitter = (
        operation.other if operation.scope in (each, ANY) else 403 for each in (Scope.READ, Scope.SUBMIT)
    )
    assert seen == {
        "": 401, "revoked": 401, "metrics": metrics, "reader": reader, "submitter": submitter, "bob": operation.other,
        "ann": operation.own,
    }  # fmt: skip
    assert admin in (200, 201, 202, 204)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs/", "/nowhere", "/v1/nowhere"])
async def test_path_when_it_is_no_operation_then_a_key_is_needed_too(world: World, path: str) -> None:
    assert (await world.ask("", "GET", path)).status_code == 401


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/docs", "/static/swagger-ui/swagger-ui.css"])
async def test_page_when_no_key_is_sent_then_shown_since_it_holds_nothing_of_anybody(world: World, path: str) -> None:
    assert (await world.ask("", "GET", path)).status_code == 200


async def test_jobs_when_some_are_anothers_then_missing_like_those_that_are_not_there(world: World) -> None:
    job_id = await world.job()
    answers = {
        who: (await world.ask(who, "GET", f"/v1/predictions?id={job_id}&id=none")).json() for who in ("ann", "bob")
    }
    assert [job["id"] for job in answers["ann"]["data"]] == [job_id]
    assert answers["bob"] == {"object": "list", "data": [], "missing": [job_id, "none"]}


async def test_key_when_asked_who_it_is_then_its_name_and_scopes_and_no_secret(world: World) -> None:
    body = (await world.ask("reader", "GET", "/v1/key")).json()
    assert (body["needed"], body["owner"], body["scopes"]) == (True, "bob", ["read"])
    assert "sha256" not in body
    assert "digest" not in body


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
async def test_list_when_another_asks_then_nothing_of_anns_and_the_operator_sees_all(world: World, path: str) -> None:
    made = await (world.file() if path == "/v1/files" else world.batch())

    async def ids(who: str) -> list[str]:
        return [each["id"] for each in (await world.ask(who, "GET", path)).json()["data"]]

    assert made in await ids("ann")
    assert await ids("bob") == []
    assert made in await ids("admin")
    after = await world.ask("bob", "GET", f"{path}?after={made}")
    assert after.status_code == 404


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.other == NOT_FOUND])
async def test_answer_when_it_is_anothers_then_word_for_word_that_of_what_is_not_there_and_nothing_is_done(
    world: World, name: str
) -> None:
    path, more = await OPERATIONS[name].call(world)
    asked = more.get("json", {})
    real = asked.get("input_file_id") or path.split("/")[3]
    unknown = real[:-4] + "zzzz"
    own_path = f"/v1/files/{real}" if asked else "/".join(path.split("/")[:4])
    before = await world.ask("ann", "GET", own_path)
    answers = []
    for each in (real, unknown):
        said = {"json": asked | {"input_file_id": each}} if asked else {}
        answer = await world.ask("bob", name.partition(" ")[0], path.replace(real, each), **said)
        answers.append((answer.status_code, answer.headers["content-type"], answer.text.replace(each, "ID")))
    assert answers[0] == answers[1]
    after = await world.ask("ann", "GET", own_path)
    assert (after.status_code, after.text) == (200, before.text)


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches"])
async def test_list_when_it_goes_on_after_anothers_then_word_for_word_as_after_nothing(world: World, path: str) -> None:
    real = await (world.file() if path == "/v1/files" else world.batch())
    unknown = real[:-4] + "zzzz"
    answers = [(await world.ask("bob", "GET", f"{path}?after={each}")).text for each in (real, unknown)]
    assert answers[0].replace(real, "ID") == answers[1].replace(unknown, "ID")


async def test_jobs_when_the_operator_asks_then_anothers_by_owner_and_id(world: World) -> None:
    job_id = await world.job()
    answer = (await world.ask("admin", "GET", f"/v1/predictions?id=ann~{job_id}&id={job_id}")).json()
    assert ([job["id"] for job in answer["data"]], answer["missing"]) == ([f"ann~{job_id}"], [job_id])


async def test_put_when_two_owners_choose_one_id_and_wait_then_each_gets_the_answer_of_its_own(
    world: World, start_worker: StartWorker
) -> None:
    inputs = {"ann": {"x": [1.0] * 3}, "bob": {"x": [20.0] * 3}}
    waiting = {
        who: asyncio.ensure_future(
            world.client.put(
                "/v1/predictions/order-7",
                json={"version": "toy", "input": row},
                headers={"Authorization": f"Bearer {world.tokens[who]}", "Prefer": "wait=60"},
            )
        )
        for who, row in inputs.items()
    }
    start_worker()
    answers = {who: (await each).json() for who, each in waiting.items()}
    assert {who: (job["id"], job["output"]["y"]) for who, job in answers.items()} == {
        "ann": ("order-7", [2.0] * 3), "bob": ("order-7", [40.0] * 3),
    }  # fmt: skip
    await world.ask("bob", "DELETE", "/v1/predictions/order-7")
    left = [await world.ask(who, "GET", "/v1/predictions/order-7") for who in ("ann", "bob")]
    assert [answer.status_code for answer in left] == [200, 404]
    assert left[0].json()["output"] == {"y": [2.0] * 3}


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/files", "/v1/batches"])
async def test_key_when_two_owners_use_the_same_idempotency_key_then_each_has_a_thing_of_its_own(
    world: World, path: str
) -> None:
    ids = []
    files = {who: await world.file(who) for who in ("ann", "bob")}
    for who in ("ann", "bob", "ann"):
        batch = {"input_file_id": files[who], "endpoint": "/v1/predictions", "model": IDLE}
        asked = {
            "/v1/predictions": {"json": {"version": IDLE, "input": ROW}}, "/v1/files": _FORM,
            "/v1/batches": {"json": batch},
        }[path]  # fmt: skip
        headers = {"Authorization": f"Bearer {world.tokens[who]}", "Idempotency-Key": "nightly"}
        ids.append((await world.client.post(path, headers=headers, **asked)).json()["id"])
    assert ids[0] == ids[2] != ids[1]


async def test_batch_when_it_comes_again_after_its_file_was_deleted_then_it_is_the_same(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.tokens['ann']}", "Idempotency-Key": "nightly"}
    path, more = await _new_batch(world)
    first = await world.client.post(path, headers=headers, **more)
    deleted = await world.ask("ann", "DELETE", f"/v1/files/{more['json']['input_file_id']}")
    again = await world.client.post(path, headers=headers, **more)
    assert (deleted.status_code, again.status_code, again.headers["idempotent-replayed"]) == (200, 200, "true")
    assert again.json()["id"] == first.json()["id"]


async def test_batch_when_a_worker_has_run_it_then_its_output_is_its_owners_alone(
    world: World, start_worker: StartWorker
) -> None:
    start_worker()
    asked = {"input_file_id": await world.file(), "endpoint": "/v1/predictions", "model": "toy"}
    batch_id = (await world.ask("ann", "POST", "/v1/batches", json=asked)).json()["id"]
    with anyio.fail_after(GIVE_UP_S):
        while True:
            batch = (await world.ask("ann", "GET", f"/v1/batches/{batch_id}")).json()
            if batch["status"] == "completed":
                break
            await anyio.sleep(0.05)
    made = {batch["output_file_id"], batch["error_file_id"]}
    for file_id in made:
        content = f"/v1/files/{file_id}/content"
        assert [(await world.ask(who, "GET", content)).status_code for who in ("ann", "bob", "admin")] == [
            200,
            404,
            200,
        ]
    for who, sees in (("ann", made), ("bob", set()), ("admin", made)):
        listed = (await world.ask(who, "GET", "/v1/files?purpose=batch_output")).json()["data"]
        assert {each["id"] for each in listed} == sees


async def test_limits_when_a_key_is_over_them_then_429_with_a_time_and_another_key_goes_on(world: World) -> None:
    _, limited = world.book.create("slow", owner="ann", scopes=TENANT, max_unfinished=2)
    world.tokens["limited"] = limited
    asked = {"json": {"version": IDLE, "input": ROW}}
    answers = [await world.ask("limited", "POST", "/v1/predictions", **asked) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["code"] == "rate_limited"
    assert (await world.ask("ann", "POST", "/v1/predictions", **asked)).status_code == 202
    await world.ask("ann", "DELETE", f"/v1/predictions/{answers[0].json()['id']}")
    # The place is free; whether the moment of the last refusal is over is chance.
    again = [(await world.ask("limited", "POST", "/v1/predictions", **asked)).status_code for _ in range(2)]
    assert sorted(again) == [202, 429]


async def test_keys_when_listed_then_the_same_and_no_secret(world: World) -> None:
    listed = {key.id: key for key in world.book.list_all()}
    assert len(listed) == len(world.tokens)
    assert all(token not in repr(listed) for token in world.tokens.values())
    revoked = world.tokens["revoked"].split("_")[1]
    first = listed[revoked].revoked_us
    assert world.book.revoke(revoked).revoked_us == first


async def test_owner_when_erased_amid_load_then_nothing_is_left_and_the_other_is_untouched(
    world: World, tmp_path: Path
) -> None:
    statuses: dict[str, list[int]] = {"ann": [], "bob": []}
    is_over = asyncio.Event()

    async def keep_submitting(who: str) -> None:
        while not is_over.is_set() and 401 not in statuses[who]:
            answer = await world.ask(who, "POST", "/v1/predictions", json={"version": IDLE, "input": ROW})
            statuses[who].append(answer.status_code)
            await asyncio.sleep(0.01)

    await world.dead_letter()
    await world.cancelled_batch()
    await world.batch()
    kept = await world.file("bob")
    clients = [asyncio.create_task(keep_submitting(who)) for who in ("ann", "bob") for _ in range(8)]
    await asyncio.sleep(0.3)
    assert (await world.ask("admin", "DELETE", "/v1/owners/ann")).status_code == 409
    erased = await world.ask("admin", "DELETE", "/v1/owners/ann?revoke=true")
    is_over.set()
    await asyncio.gather(*clients)

    numbers = erased.json()
    assert erased.status_code == 200, erased.text
    assert (numbers["batches"], numbers["files"], numbers["dead_letters"], numbers["keys"]) == (2, 2, 1, 2)
    assert numbers["jobs"] == statuses["ann"].count(202) + 1
    assert set(statuses["ann"]) == {202, 401}
    assert set(statuses["bob"]) == {202}
    assert [key for key in world.redis.keys("*") if b"ann~" in key or b":ann" in key] == []
    assert not any(b"ann~" in fields[b"j"] for _, fields in world.redis.xrange(f"{KEYS.waiting}{IDLE}:1:normal"))
    assert world.redis.hget(KEYS.backlog + f"{IDLE}:1", "rows") == str(statuses["bob"].count(202)).encode()
    assert (await world.ask("bob", "GET", f"/v1/files/{kept}/content")).status_code == 200
    assert [path.name for path in (tmp_path / "data").rglob("file-*")] == [kept]
    assert (await world.ask("admin", "DELETE", "/v1/owners/ann")).json()["jobs"] == 0
