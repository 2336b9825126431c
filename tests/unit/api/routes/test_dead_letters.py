import pytest

from tests.unit.api.conftest import Api, assert_problem

pytestmark = pytest.mark.anyio

URL = "/v1/dead-letters"
ROW = [1.0, 2.0, 3.0]


async def dead(api: Api) -> str:
    """Have the workers of one job die until it is given up; returns its id."""
    job_id: str = (await api.submitted(ROW))["id"]
    for _ in range(api.queue.max_attempts):
        api.claim()
        api.queue.leases = dict.fromkeys(api.queue.leases, 0)
        api.queue.lapse()
    return job_id


async def test_list_when_none_then_empty(api: Api) -> None:
    assert (await api.client.get(URL)).json() == {"object": "list", "data": [], "total": 0, "has_more": False}


async def test_list_when_some_then_pages_with_the_reason_of_each(api: Api) -> None:
    ids = {await dead(api) for _ in range(3)}
    first = (await api.client.get(URL, params={"limit": 2})).json()
    second = (await api.client.get(URL, params={"limit": 2, "offset": 2})).json()
    assert {letter["id"] for letter in first["data"] + second["data"]} == ids
    assert (first["total"], first["has_more"], second["has_more"]) == (3, True, False)
    letter = first["data"][0]
    assert (letter["status"], letter["error_code"], letter["attempts"]) == ("failed", "worker_lost", 3)
    assert letter["died_at"].startswith("2027-")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "limit=x"])
async def test_list_when_the_page_is_none_then_422(api: Api, query: str) -> None:
    assert_problem(await api.client.get(f"{URL}?{query}"), 422, "invalid_input")


async def test_show_when_dead_then_the_job(api: Api) -> None:
    job_id = await dead(api)
    assert (await api.client.get(f"{URL}/{job_id}")).json()["error_code"] == "worker_lost"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/replay")])
async def test_requests_when_the_job_is_not_dead_or_unknown_then_404(api: Api, method: str, path: str) -> None:
    for job_id in ((await api.submitted(ROW))["id"], "nobody"):
        response = await api.client.request(method, f"{URL}/{job_id}{path}")
        assert "GET /v1/dead-letters lists them" in assert_problem(response, 404, "not_found")


async def test_replay_when_dead_then_a_new_job_that_says_so(api: Api) -> None:
    job_id = await dead(api)
    response = await api.client.post(f"{URL}/{job_id}/replay")
    body = response.json()
    assert (response.status_code, body["replay_of"], body["input"]) == (202, job_id, {"x": ROW})
    assert response.headers["location"] == f"/v1/predictions/{body['id']}"
    api.serve()
    done = (await api.client.get(response.headers["location"])).json()
    assert (done["status"], done["replay_of"], done["attempts"]) == ("succeeded", job_id, 1)
    assert (await api.client.get(URL)).json()["total"] == 0


async def test_replay_when_the_queue_is_full_then_503_and_the_letter_stays(api: Api) -> None:
    job_id = await dead(api)
    api.queue.has_memory = False
    assert_problem(await api.client.post(f"{URL}/{job_id}/replay"), 503, "queue_full")
    api.queue.has_memory = True
    assert (await api.client.post(f"{URL}/{job_id}/replay")).status_code == 202


async def test_replay_when_the_answer_was_lost_before_the_letter_was_taken_off_then_one_job(api: Api) -> None:
    job_id = await dead(api)
    job = await api.queue.replay_of(job_id)
    assert job is not None
    await api.queue.submit([job])
    response = await api.client.post(f"{URL}/{job_id}/replay")
    assert response.json()["id"] == job.id
    assert [claimed.id for claimed in api.claim().jobs] == [job.id]
    assert api.claim().jobs == ()


async def test_drop_when_dead_then_forgotten(api: Api) -> None:
    job_id = await dead(api)
    response = await api.client.delete(f"{URL}/{job_id}")
    assert (response.status_code, response.content) == (204, b"")
    assert_problem(await api.client.get(f"/v1/predictions/{job_id}"), 404, "not_found")
    assert (await api.client.get(URL)).json()["total"] == 0
