"""Reaching the queue of the stack that runs, from a command: its Redis, and which model is meant. Prints nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from ferry.bulk.files import files_of
from ferry.bulk.storage import storage_of
from ferry.erasure import Eraser
from ferry.errors import ConfigError, NotFoundError
from ferry.local.data_dir import read_run_info
from ferry.queue.admin import Admin
from ferry.queue.connection import connect, connect_async
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.key_book import KeyBook
from ferry.queue.producer import Producer, limits_of
from ferry.queue.versions import Versions
from ferry.settings import Settings


def queue_of(settings: Settings) -> tuple[str, str]:
    """Return URL of Redis and namespace: as set, else those of the stack that is up in the data folder.

    Raises:
        ConfigError: neither is there.
    """
    if settings.redis_url:
        return settings.redis_url, settings.namespace
    try:
        running = read_run_info(settings.data_dir)
    except (OSError, ValueError, KeyError, TypeError):
        running = None
    if running is None:
        raise ConfigError("no stack is up in FERRY_DATA_DIR, and FERRY_REDIS_URL is not set")
    return running.redis_url, running.namespace


@contextmanager
def admin_of(settings: Settings) -> Iterator[Admin]:
    """Open the operator's side of the queue. Raises as `queue_of`."""
    client = connect(*queue_of(settings))
    try:
        yield Admin(client)
    finally:
        client.redis.close()


@contextmanager
def key_book_of(settings: Settings) -> Iterator[KeyBook]:
    """Open the book of API keys. Raises as `queue_of`."""
    client = connect(*queue_of(settings))
    try:
        yield KeyBook(client)
    finally:
        client.redis.close()


@asynccontextmanager
async def eraser_of(settings: Settings) -> AsyncIterator[Eraser]:
    """Open what erases owners. Files lie where `storage_url` says, else in the data folder. Raises as `queue_of`."""
    client = connect_async(*queue_of(settings))
    try:
        yield Eraser(client, files_of(client, storage_of(settings), settings))
    finally:
        await client.redis.aclose(close_connection_pool=True)


@contextmanager
def versions_of(settings: Settings) -> Iterator[Versions]:
    """Open aliases and what is unloaded. Raises as `queue_of`."""
    client = connect(*queue_of(settings))
    try:
        yield Versions(client)
    finally:
        client.redis.close()


@asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[tuple[Producer, DeadLetters]]:
    """Open the asking side of the queue. Raises as `queue_of`."""
    client = connect_async(*queue_of(settings))
    producer = Producer(client, limits_of(settings))
    try:
        yield producer, DeadLetters(client, producer)
    finally:
        await client.redis.aclose(close_connection_pool=True)


def resolve_live(admin: Admin, ref: str) -> tuple[str, str]:
    """Return name and version of `name` (its latest version) or `name:version`.

    Raises:
        NotFoundError: the queue knows no such model; those it knows are told.
        QueueUnavailableError: Redis does not answer.
    """
    name, _, version = ref.partition(":")
    known = admin.models()
    versions = [each for model, each in known if model == name and version in ("", each)]
    if not versions:
        there_are = ", ".join(f"{model}:{each}" for model, each in known) or "none"
        raise NotFoundError(f"the queue knows no model {ref!r}; it knows {there_are}")
    return name, versions[-1]
