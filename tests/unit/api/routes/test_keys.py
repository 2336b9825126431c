import pytest

from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio


async def test_key_when_none_is_needed_then_anybody_may_do_all(api: Api) -> None:
    body = (await api.client.get("/v1/key")).json()
    assert body == {
        "object": "key", "needed": False, "id": None, "name": None, "owner": None,
        "scopes": ["admin", "metrics", "read", "submit"], "rate_per_s": None, "max_unfinished": None,
    }  # fmt: skip
