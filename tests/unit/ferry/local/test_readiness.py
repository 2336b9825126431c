import httpx
import pytest

from ferry.local.readiness import fault_of

URL = "http://127.0.0.1:8000/v2/health/ready"


def ask(answer: httpx.Response) -> str:
    with httpx.Client(transport=httpx.MockTransport(lambda request: answer)) as client:
        return fault_of(client, URL)


def test_fault_when_all_is_well_is_empty() -> None:
    assert ask(httpx.Response(200)) == ""


def test_fault_when_the_api_says_why_repeats_it() -> None:
    answer = httpx.Response(503, json={"detail": "no live worker serves any model"})
    assert ask(answer) == "answers 503: no live worker serves any model"


@pytest.mark.parametrize("answer", [httpx.Response(503, text="x"), httpx.Response(503, json=["x"])])
def test_fault_when_no_reason_is_given_names_the_status(answer: httpx.Response) -> None:
    assert ask(answer) == "answers 503: Service Unavailable"


def test_fault_when_nobody_listens_says_so() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with httpx.Client(transport=httpx.MockTransport(refuse)) as client:
        assert fault_of(client, URL) == "does not answer (refused)"
