from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request

from api.access import Gate
from api.addresses import Addresses
from api.catalog import Catalog
from api.door import Door
from api.meter import Meter
from api.services import Services, services_of
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
    door = Door(Gate(None), Meter())
    return Services(settled, queue, queue, catalog, Submitter(queue), Waiters(queue), door, Addresses(settled))


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
