from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request

from api.access import Gate
from api.catalog import Catalog
from api.door import Door
from api.headers import headers_of
from api.meter import Meter
from api.services import Services, base_url_of, services_of
from api.submitter import Submitter
from api.waiters import Waiters
from ferry.repository import Repository
from ferry.settings import Settings
from tests.fakes.memory_queue import MemoryQueue
from tests.manifests import LIMITS


def services(**settings: object) -> Services:
    queue = MemoryQueue(LIMITS)
    catalog = Catalog(Repository(Path("nowhere")), queue)
    settled = Settings(_env_file=None, **settings)
    return Services(settled, queue, queue, catalog, Submitter(queue), Waiters(queue), Door(Gate(None), Meter()))


def request(app: FastAPI, **scope: object) -> Request:
    return Request({"type": "http", "app": app, "headers": [], "path": "/", "query_string": b"", **scope})


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:5555"),
        ({"flower_host": "10.0.0.1", "flower_port": 80}, "http://10.0.0.1:80"),
        ({"flower_url": "https://flower.example/"}, "https://flower.example"),
    ],
)
def test_flower_url_when_set_or_not_then_where_users_reach_it(settings: dict[str, object], url: str) -> None:
    assert services(**settings).flower_url == url


def test_services_of_when_the_application_runs_then_its_own() -> None:
    app, own = FastAPI(), services()
    app.state.services = own
    assert services_of(request(app)) is own


def test_services_of_when_started_without_then_a_type_error() -> None:
    app = FastAPI()
    app.state.services = SimpleNamespace()
    with pytest.raises(TypeError, match="without its services"):
        services_of(request(app))


@pytest.mark.parametrize(
    ("scope", "url"),
    [
        ({"scheme": "http", "server": ("host", 8000)}, "http://host:8000"),
        ({"scheme": "https", "server": ("host", 443)}, "https://host"),
        (
            {"scheme": "http", "server": ("x", 1), "headers": [(b"host", b"ferry.example:90")]},
            "http://ferry.example:90",
        ),
    ],
)
def test_base_url_of_when_asked_then_as_the_client_sees_it(scope: dict[str, object], url: str) -> None:
    asked = request(FastAPI(), **scope)
    assert base_url_of(asked, headers_of(asked)) == url
