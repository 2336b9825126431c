"""What every answer has whatever its route: ids, safe headers, a count and, if asked for, a line in the log."""

import httpx
import pytest

from api import http_limits as limits
from api.app import hand_on
from api.door import Door
from api.services import Services
from ferry.errors import QueueUnavailableError
from tests.fakes.http_server import Server, turns
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROW = {"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        self.lines.append((event, dict(fields)))


def door_of(api: Api) -> Door:
    services: Services = api.services
    return services.door


def logged(api: Api) -> Log:
    log = Log()
    door_of(api)._log = log
    return log


@pytest.mark.parametrize("path", ["/v2/health/live", "/v1/predictions/none", "/nowhere", "/openapi.json"])
async def test_answer_when_it_leaves_then_it_has_an_id_and_safe_headers(api: Api, path: str) -> None:
    headers = (await api.client.get(path)).headers
    assert len(headers["x-request-id"]) == 26
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/static/none.js"])
async def test_page_when_it_leaves_then_its_own_files_alone_may_be_run_and_it_is_looked_for_anew(
    api: Api, path: str
) -> None:
    headers = (await api.client.get(path)).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["x-frame-options"] == "DENY"


async def test_answer_when_the_client_sent_an_id_then_that_one(api: Api) -> None:
    response = await api.client.get("/v1/models", headers={"X-Request-Id": "night-42"})
    assert response.headers["x-request-id"] == "night-42"


async def test_job_when_its_client_sent_no_id_then_it_has_its_requests(api: Api) -> None:
    response = await api.client.post("/v1/predictions", json=ROW)
    assert response.json()["id"] == response.headers["x-request-id"]
    (job,) = api.claim().jobs
    assert job.origin == ""


async def test_job_when_its_client_sent_ids_then_they_go_with_it_to_the_worker(api: Api) -> None:
    headers = {"X-Request-Id": "night-42", "traceparent": PARENT, "tracestate": "vendor=a"}
    for _ in range(2):  # one id for two requests still makes two jobs
        assert (await api.client.post("/v1/predictions", json=ROW, headers=headers)).status_code == 202
    first, second = api.claim().jobs
    assert first.id != second.id
    assert first.origin == second.origin == f"night-42 {PARENT} vendor=a"


@pytest.mark.parametrize("path", ["/predict", "/v2/models/toy/infer"])
async def test_job_when_it_is_waited_for_then_its_ids_go_with_it_too(api: Api, path: str) -> None:
    body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    asked = {"x": [1.0, 2.0, 3.0], "model": "toy"} if path == "/predict" else body
    seen: list[str] = []

    def note(arrays: list) -> list:
        return [arrays[0][:, :2]]

    await api.answered(api.client.post(path, json=asked, headers={"X-Request-Id": "night-42"}), compute=note)
    seen += [job.origin for job in api.queue.jobs.values()]
    assert seen == ["night-42"]


async def test_log_when_asked_for_then_a_line_with_the_ids_and_what_became_of_it(api: Api) -> None:
    log = logged(api)
    response = await api.client.post("/v1/predictions", json=ROW, headers={"traceparent": PARENT})
    await api.client.get("/nowhere")
    (event, fields), (_, lost) = log.lines
    assert event == "request"
    assert fields.pop("ms") >= 0
    assert fields == {
        "request_id": response.headers["x-request-id"], "trace_id": PARENT[3:35], "method": "POST",
        "path": "/v1/predictions", "client": "127.0.0.1", "status": 202, "id": response.json()["id"],
    }  # fmt: skip
    assert (lost["status"], lost["path"]) == (404, "/nowhere")


async def test_log_when_a_path_is_long_then_its_beginning(api: Api) -> None:
    log = logged(api)
    await api.client.get("/" + "a" * 2000)
    assert log.lines[0][1]["path"] == "/" + "a" * 511 + "..."


async def test_log_when_a_machine_asks_for_health_then_no_line_unless_it_fails(api: Api) -> None:
    log = logged(api)
    await api.client.get("/v2/health/ready")
    assert log.lines == []
    api.queue.is_down = True
    await api.client.get("/v2/health/ready")
    assert [fields["status"] for _, fields in log.lines] == [503]


async def test_meter_when_requests_pass_then_each_counts_at_its_documented_route(api: Api) -> None:
    door_of(api).meter.take()
    await api.client.post("/v1/predictions", json=ROW)
    await api.client.get("/v1/predictions/none")
    await api.client.get("/v1/models/toy")
    await api.client.get("/v1/dead-letters/none")
    await api.client.get("/some/scan")
    await api.client.post("/v1/predictions", json={})
    counts, _ = door_of(api).meter.take()
    assert {field for field in counts if not field.startswith("seconds")} == {
        "requests POST /v1/predictions 202", "requests GET /v1/predictions/{job_id} 404",
        "requests GET /v1/models/{name} 200", "requests GET /v1/dead-letters/{job_id} 404", "requests GET other 404",
        "requests POST /v1/predictions 422", "rejected invalid_input",
    }  # fmt: skip


async def test_body_when_it_stops_then_line_and_count_have_the_status_that_its_client_got(api: Api) -> None:
    log = logged(api)
    protocol, transport = Server(api.app).connect()
    head = b"POST /v1/predictions HTTP/1.1\r\nHost: ferry\r\nContent-Length: 100\r\n\r\n{"
    protocol.data_received(head)
    await turns()
    protocol.tick(limits.BODY_PAUSE_S)
    for _ in range(5):
        await turns()
    assert transport.statuses == [408]
    assert [fields["status"] for _, fields in log.lines] == [408]
    counts = door_of(api).meter.take()[0]
    assert counts["requests POST /v1/predictions 408"] == 1


async def test_bug_when_a_route_has_one_then_still_an_id_a_count_and_a_line(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(job_id: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(api.queue, "read", broken)
    log = logged(api)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(api.app, raise_app_exceptions=False), base_url="http://t")
    response = await client.get("/v1/predictions/x", headers={"X-Request-Id": "night-42"})
    assert (response.status_code, response.headers["x-request-id"]) == (500, "night-42")
    assert [fields["status"] for _, fields in log.lines] == [500]


async def test_metrics_when_this_api_keeps_no_counts_then_404(api: Api) -> None:
    assert (await api.client.get("/metrics")).status_code == 404


async def test_hand_on_when_redis_is_away_then_nothing_is_lost(api: Api) -> None:
    class Away:
        async def add(self, counts: object, sums: object) -> None:
            raise QueueUnavailableError("away")

    meter = door_of(api).meter
    meter.take()
    meter.saw("GET", "/a", 200, 0.5)
    await hand_on(meter, Away())
    assert meter.take()[0]["requests GET /a 200"] == 1
