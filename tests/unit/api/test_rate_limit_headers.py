import httpx
import pytest

from api.rate_limit_headers import left_header, policy_header
from ferry.access import Scope
from ferry.jobs import JobLimits, LimitsLeft
from tests.fakes.memory_keys import MemoryKeys
from tests.unit.api.conftest import Api

BODY = {"version": "toy", "input": {"x": [1.0, 2.0, 3.0]}}


@pytest.mark.parametrize(
    ("limits", "header"),
    [
        (JobLimits("k", 50, 1000), '"rate";q=50;w=1, "unfinished";q=1000;qu="concurrent-requests"'),
        (JobLimits("k", 1.5), '"rate";q=1;w=1'),
        (JobLimits("k", 0.25), '"rate";q=1;w=4'),
        (JobLimits("k", None, 2), '"unfinished";q=2;qu="concurrent-requests"'),
    ],
)
def test_policy_header_when_a_key_has_limits_then_each_is_a_policy(limits: JobLimits, header: str) -> None:
    assert policy_header(limits) == (b"ratelimit-policy", header.encode())


@pytest.mark.parametrize(
    ("left", "header"),
    [
        (LimitsLeft(3, 7), '"rate";r=3, "unfinished";r=7'),
        (LimitsLeft(0, None, 2300), '"rate";r=0;t=3'),
        (LimitsLeft(None, 0), '"unfinished";r=0'),
    ],
)
def test_left_header_when_the_queue_counted_then_what_is_left(left: LimitsLeft, header: str) -> None:
    assert left_header(left) == (b"ratelimit", header.encode())


@pytest.fixture
def tokens() -> dict[str, str]:
    return {}


@pytest.fixture
def api_keys(tokens: dict[str, str]) -> MemoryKeys:
    keys, scopes = MemoryKeys(), frozenset({Scope.SUBMIT, Scope.READ})
    tokens["limited"] = keys.create("ci", owner="ann", scopes=scopes, rate_per_s=2, max_unfinished=9)[1]
    tokens["free"] = keys.create("ci", owner="bob", scopes=scopes)[1]
    return keys


async def submit(api: Api, token: str) -> httpx.Response:
    return await api.client.post("/v1/predictions", json=BODY, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.anyio
async def test_answers_when_a_key_has_limits_then_they_say_so_and_what_is_left_where_it_was_counted(
    api: Api, tokens: dict[str, str]
) -> None:
    policy = '"rate";q=2;w=1, "unfinished";q=9;qu="concurrent-requests"'
    answers = [await submit(api, tokens["limited"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {policy}
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"rate";r=1, "unfinished";r=8', '"rate";r=0;t=1, "unfinished";r=7', '"rate";r=0;t=1, "unfinished";r=7',
    ]  # fmt: skip
    held = await submit(api, tokens["limited"])
    assert (held.status_code, held.headers["ratelimit-policy"]) == (429, policy)
    assert held.headers["ratelimit"] == answers[-1].headers["ratelimit"]  # it was counted a moment ago
    shown = await api.client.get("/v1/key", headers={"Authorization": f"Bearer {tokens['limited']}"})
    assert shown.headers["ratelimit-policy"] == policy
    free = await submit(api, tokens["free"])
    assert not {"ratelimit", "ratelimit-policy"} & set(free.headers)
