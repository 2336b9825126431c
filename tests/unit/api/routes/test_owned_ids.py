"""Owners who choose the same ids: each has jobs of its own, and learns nothing of the others'."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ferry.access import Scope
from tests.fakes.memory_keys import MemoryKeys
from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio

URL = "/v1/predictions"
CHOSEN = "order-7"
OWNERS = ("ann", "bob")


@pytest.fixture
def tokens() -> dict[str, str]:
    return {}


@pytest.fixture
def api_keys(tokens: dict[str, str]) -> MemoryKeys:
    keys, tenant = MemoryKeys(), frozenset({Scope.SUBMIT, Scope.READ})
    for owner in OWNERS:
        tokens[owner] = keys.create("test", owner=owner, scopes=tenant)[1]
    tokens["operator"] = keys.create("test", owner="operator", scopes=frozenset({Scope.ADMIN}))[1]
    return keys


@dataclass
class Desk:
    """Lets owners ask."""

    api: Api
    tokens: dict[str, str]

    async def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} | more.pop("headers", {})
        return await self.api.client.request(method, path, headers=headers, **more)

    async def put(self, who: str, value: float, own_id: str = CHOSEN, **headers: str) -> httpx.Response:
        body = {"version": "toy", "input": {"x": [value] * 3}}
        return await self.ask(who, "PUT", f"{URL}/{own_id}", json=body, headers=headers)

    async def shown(self, who: str, called: str = CHOSEN) -> dict[str, Any]:
        answer = await self.ask(who, "GET", f"{URL}/{called}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def desk(api: Api, tokens: dict[str, str]) -> Desk:
    return Desk(api, tokens)


async def both(desk: Desk) -> None:
    """Let both owners have a job of the same id that is done: 1 + 1 + 1 and 2 + 2 + 2."""
    for owner, value in zip(OWNERS, (1.0, 2.0), strict=True):
        assert (await desk.put(owner, value)).status_code == 202
    desk.api.serve()


async def test_put_when_two_owners_choose_one_id_then_each_has_its_own_job_under_the_id_it_chose(desk: Desk) -> None:
    await both(desk)
    for owner, total in zip(OWNERS, (3.0, 6.0), strict=True):
        job = await desk.shown(owner)
        assert (job["id"], job["output"]["y"][0]) == (CHOSEN, total)
        assert job["urls"] == {"get": f"http://ferry{URL}/{CHOSEN}", "cancel": f"http://ferry{URL}/{CHOSEN}/cancel"}
    assert {job.record.id for job in desk.api.queue.jobs.values()} == {f"{owner}~{CHOSEN}" for owner in OWNERS}


async def test_put_when_both_wait_then_each_gets_the_answer_of_its_own(desk: Desk) -> None:
    waiting = [
        asyncio.ensure_future(desk.put(owner, value, Prefer="wait=30"))
        for owner, value in zip(OWNERS, (1.0, 2.0), strict=True)
    ]
    while len(desk.api.queue.jobs) < len(OWNERS):  # noqa: ASYNC110  the queue in memory tells nobody
        await asyncio.sleep(0)
    desk.api.serve()
    answers = [(await each).json() for each in waiting]
    assert [(job["id"], job["output"]["y"][0]) for job in answers] == [(CHOSEN, 3.0), (CHOSEN, 6.0)]


async def test_put_when_sent_again_then_the_same_job_and_with_another_body_refused_with_the_id_as_chosen(
    desk: Desk,
) -> None:
    first, again = await desk.put("ann", 1.0), await desk.put("ann", 1.0)
    assert (first.headers["location"], again.headers["location"]) == (f"{URL}/{CHOSEN}",) * 2
    assert again.headers["idempotent-replayed"] == "true"
    detail = assert_problem(await desk.put("ann", 9.0), 422, "reused")
    assert detail.startswith(f"job {CHOSEN} ")
    assert "idempotent-replayed" not in (await desk.put("bob", 1.0)).headers


async def test_put_when_another_has_the_id_then_answered_as_if_nobody_had(desk: Desk) -> None:
    def without_times(answer: httpx.Response) -> tuple[int, set[str], dict[str, Any]]:
        body = answer.json()
        times = dict.fromkeys(("created_at", "deadline"), "")
        return answer.status_code, set(answer.headers), body | times

    alone = without_times(await desk.put("bob", 2.0))
    await desk.ask("bob", "DELETE", f"{URL}/{CHOSEN}")
    await desk.put("ann", 1.0)
    assert without_times(await desk.put("bob", 2.0)) == alone


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "?wait=1"), ("DELETE", ""), ("POST", "/cancel")])
async def test_job_when_another_asks_for_it_by_any_name_then_404_as_for_what_is_not_there_and_nothing_is_done(
    desk: Desk, method: str, path: str
) -> None:
    await desk.put("ann", 1.0)
    before = await desk.shown("ann")
    for called in (CHOSEN, f"ann~{CHOSEN}", f"~{CHOSEN}"):
        answer = await desk.ask("bob", method, f"{URL}/{called}{path}")
        assert f"no job {called!r}; " in assert_problem(answer, 404, "not_found")
    assert await desk.shown("ann") == before


async def test_cancel_and_delete_when_both_have_the_id_then_only_of_ones_own(desk: Desk) -> None:
    for owner in OWNERS:
        await desk.put(owner, 1.0)
    canceled = await desk.ask("ann", "POST", f"{URL}/{CHOSEN}/cancel")
    assert (canceled.json()["id"], canceled.json()["status"]) == (CHOSEN, "canceled")
    assert (await desk.ask("ann", "DELETE", f"{URL}/{CHOSEN}")).status_code == 204
    assert (await desk.ask("ann", "GET", f"{URL}/{CHOSEN}")).status_code == 404
    assert (await desk.shown("bob"))["state"] == "queued"


async def test_many_when_two_owners_choose_the_same_ids_then_each_reads_its_own(desk: Desk) -> None:
    ids = ["a", "b"]
    for owner, value in zip(OWNERS, (1.0, 2.0), strict=True):
        inputs = [{"x": [value] * 3}, {"x": [10 * value] * 3}]
        answer = await desk.ask(owner, "POST", f"{URL}/many", json={"version": "toy", "inputs": inputs, "ids": ids})
        assert [job["id"] for job in answer.json()["data"]] == ids
    desk.api.serve()
    for owner, totals in zip(OWNERS, ([3.0, 30.0], [6.0, 60.0]), strict=True):
        found = (await desk.ask(owner, "GET", URL, params={"id": [*ids, "c"]})).json()
        assert [(job["id"], job["output"]["y"][0]) for job in found["data"]] == list(zip(ids, totals, strict=True))
        assert found["missing"] == ["c"]


@pytest.mark.parametrize("path", [URL, "/v1/files"])
async def test_key_when_two_owners_use_the_same_idempotency_key_then_each_has_a_thing_of_its_own(
    desk: Desk, path: str
) -> None:
    asked: dict[str, Any] = {
        URL: {"json": {"version": "toy", "input": {"x": [1.0] * 3}}},
        "/v1/files": {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", b"{}")}},
    }[path]
    ids = []
    for owner in (*OWNERS, *OWNERS):
        answer = await desk.ask(owner, "POST", path, headers={"Idempotency-Key": "nightly"}, **asked)
        ids.append(answer.json()["id"])
        assert (await desk.ask(owner, "GET", f"{path}/{ids[-1]}")).status_code == 200
    assert (ids[:2], len(set(ids))) == (ids[2:], 2)


async def test_job_when_submitted_without_an_id_then_its_owner_calls_it_by_the_id_of_the_request(desk: Desk) -> None:
    answer = await desk.ask("ann", "POST", URL, json={"version": "toy", "input": {"x": [1.0] * 3}})
    made = answer.json()["id"]
    assert (made, answer.headers["location"]) == (answer.headers["x-request-id"], f"{URL}/{made}")
    assert list(desk.api.queue.jobs) == [f"ann~{made}"]
    assert (await desk.ask("bob", "GET", f"{URL}/{made}")).status_code == 404


async def test_operator_when_a_job_is_anothers_then_called_by_owner_and_id(desk: Desk) -> None:
    await both(desk)
    assert (await desk.ask("operator", "GET", f"{URL}/{CHOSEN}")).status_code == 404
    for owner, total in zip(OWNERS, (3.0, 6.0), strict=True):
        called = f"{owner}~{CHOSEN}"
        job = await desk.shown("operator", called)
        assert (job["id"], job["output"]["y"][0]) == (called, total)
        assert job["urls"]["get"] == f"http://ferry{URL}/{called}"
    await desk.put("operator", 5.0)
    assert (await desk.shown("operator"))["id"] == CHOSEN
    assert (await desk.ask("operator", "DELETE", f"{URL}/ann~{CHOSEN}")).status_code == 204
    assert [(await desk.ask(who, "GET", f"{URL}/{CHOSEN}")).status_code for who in ("ann", "bob")] == [404, 200]


async def test_operator_when_a_job_has_no_owner_then_called_by_a_name_of_its_own(desk: Desk) -> None:
    """As those made before API keys were asked for."""
    await desk.put("operator", 5.0)
    job = next(iter(desk.api.queue.jobs.values()))
    desk.api.queue.jobs[CHOSEN] = job
    job.record.id, job.record.owner = CHOSEN, ""
    assert (await desk.shown("operator", f"~{CHOSEN}"))["id"] == f"~{CHOSEN}"


async def test_dead_letter_when_two_owners_chose_its_id_then_each_has_one_and_replays_its_own(
    desk: Desk,
) -> None:
    queue = desk.api.queue
    for owner in OWNERS:
        await desk.put(owner, 1.0)
    for _ in range(2 * queue.max_attempts):
        desk.api.claim()
        queue.leases = dict.fromkeys(queue.leases, 0)
        queue.lapse()
    letters = (await desk.ask("operator", "GET", "/v1/dead-letters")).json()["data"]
    assert {letter["id"] for letter in letters} == {f"{owner}~{CHOSEN}" for owner in OWNERS}
    replayed = await desk.ask("operator", "POST", f"/v1/dead-letters/ann~{CHOSEN}/replay")
    called = replayed.json()["id"]
    assert (called.partition("~")[0], replayed.json()["replay_of"]) == ("ann", f"ann~{CHOSEN}")
    assert replayed.headers["location"] == f"{URL}/{called}"
    own = await desk.shown("ann", called.removeprefix("ann~"))
    assert (own["id"], own["replay_of"]) == (called.removeprefix("ann~"), CHOSEN)
    assert (await desk.ask("operator", "DELETE", f"/v1/dead-letters/bob~{CHOSEN}")).status_code == 204
    assert (await desk.ask("bob", "GET", f"{URL}/{CHOSEN}")).status_code == 404
