"""Fixtures that more than one layer uses."""

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog

from ferry.local.redis_server import RedisServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _hooks_as_they_were() -> Iterator[None]:
    """Give Python its hooks for uncaught errors back: setting up the logs replaces them."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Give pytest its handlers back, and every logger its level: a handler of one test writes to a stream that ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    if root.handlers == handlers and root.level == level:
        return
    logging.raiseExceptions = True
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis for the whole run: the embedded one, as `make up` starts it."""
    folder = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder / "data", folder / "redis.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    client = redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def models_dir() -> Path:
    """The model repository that ships."""
    return Path(__file__).parent.parent / "models"
