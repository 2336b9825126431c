"""The application: wires the parts of one API process and mounts the routes."""

import asyncio
import gc
import logging
import multiprocessing
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from api.access import Gate, KeyFinder
from api.addresses import Addresses
from api.catalog import Catalog
from api.connections import Connections, allowed_connections
from api.door import Door
from api.fast_routes import FastApp
from api.load_feed import LoadBook, LoadFeed
from api.meter import Meter
from api.problems import install_handlers
from api.protocol import CONNECTIONS
from api.routes import batches as batches_routes
from api.routes import dead_letters as dead_letters_routes
from api.routes import (
    docs,
    health,
    infer,
    keys,
    metrics,
    models,
    oip_models,
    owners,
    pages,
    predict,
    predictions,
    repository,
    stats,
)  # fmt: skip
from api.routes import files as files_routes
from api.services import (
    BatchBook,
    DeadLetterOffice,
    Figures,
    FileBook,
    JobQueue,
    OwnerEraser,
    Services,
    WholeQueue,
)  # fmt: skip
from api.stop_bell import STOP_BELL, StopBell
from api.submitter import Submitter
from api.waiters import Waiters
from ferry.bulk.batches import batches_of
from ferry.bulk.files import files_of
from ferry.bulk.storage import storage_of
from ferry.erasure import Eraser
from ferry.errors import QueueUnavailableError
from ferry.local.lifeline import die_with_parent
from ferry.logs import configure_logging, event_log
from ferry.model_mirror import MirrorThread, mirror_of
from ferry.queue.connection import connect, connect_async
from ferry.queue.dead_letters import DeadLetters
from ferry.queue.keeper import Keeper, KeeperRules, KeeperThread
from ferry.queue.key_book import KeyReader
from ferry.queue.load import LoadReader
from ferry.queue.producer import Producer, limits_of
from ferry.queue.safety import SafetyReader, log_faults
from ferry.queue.statistics import Statistics
from ferry.repository import Repository
from ferry.settings import Settings, load_settings

logger = logging.getLogger(__name__)

# Counts of requests reach /metrics within this time.
COUNT_EVERY_S = 1.0

DESCRIPTION = """\
A durable queue for model inference. Submit a job, poll it by its id or wait for it; workers run jobs in batches.
Errors are problem+json (RFC 9457).
"""


def create_app() -> FastAPI:
    """Return the application for the settings in the environment (uvicorn's factory)."""
    if parent := multiprocessing.parent_process():  # one of several: none of them outlives uvicorn's supervisor
        die_with_parent(parent.pid or 0, signal.SIGTERM)
    settings = load_settings()
    configure_logging(settings)
    return build_app(settings)


def build_app(
    settings: Settings,
    queue: WholeQueue | None = None,
    files: FileBook | None = None,
    batches: BatchBook | None = None,
    finder: KeyFinder | None = None,
    loads: LoadBook | None = None,
    eraser: OwnerEraser | None = None,
) -> FastAPI:
    """Return an application; with `queue` on that one and what comes with it (tests), else on the settings' Redis.

    In tests no key is needed where there is no `finder`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        asyncio.get_running_loop().set_exception_handler(_handle_stray)
        given = _Backend(queue, queue, files, batches, finder, loads=loads, eraser=eraser) if queue else None
        async with _running(settings, given) as services:
            app.state.services = services
            # What was imported lives as long as the process; the collector need not look at it again and again.
            gc.freeze()
            connections = Connections(
                max_open=allowed_connections(settings.max_connections), count=services.door.meter.cut_off
            )
            async with _while_running(connections.watch()):
                yield {STOP_BELL: StopBell(services.waiters.release), CONNECTIONS: connections}

    app = FastApp(
        title="Ferry", version=version("ferry-inference"), description=DESCRIPTION, lifespan=lifespan,
        redirect_slashes=False, openapi_url=None,
    )  # fmt: skip
    install_handlers(app)
    for module in (
        predictions,
        dead_letters_routes,
        predict,
        infer,
        oip_models,
        files_routes,
        batches_routes,
        models,
        repository,
        stats,
        keys,
        owners,
        health,
        metrics,
        pages,
        docs,
    ):
        app.include_router(module.router)
    pages.mount_static(app)
    return app


def _handle_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody awaited, without the task's representation, which shows its result.

    Names that were looked up too slowly are left out: their callers have given up and said so.
    """
    error = context.get("exception")
    if not isinstance(error, socket.gaierror):
        logger.error("event loop: %s", context.get("message", "an error"), exc_info=error)


@dataclass(frozen=True, slots=True)
class _Backend:
    """What the routes work on: the real Redis and storage, or a test's."""

    queue: JobQueue
    dead_letters: DeadLetterOffice
    files: FileBook | None = None
    batches: BatchBook | None = None
    finder: KeyFinder | None = None
    figures: Figures | None = None
    loads: LoadBook | None = None
    eraser: OwnerEraser | None = None
    safety: SafetyReader | None = None


@asynccontextmanager
async def _running(settings: Settings, given: _Backend | None) -> AsyncIterator[Services]:
    """Run one process's parts; on the real queue a keeper and a sweep of expired files too."""
    if given is not None:
        async with _services(settings, given) as services:
            yield services
        return
    url = settings.require_redis_url()
    storage = storage_of(settings)
    client = connect_async(url, settings.namespace)
    keeper_client = connect(url, settings.namespace)
    rules = KeeperRules(settings.lease_s, settings.max_attempts, settings.dead_ttl_s)
    keeper = KeeperThread(Keeper(keeper_client, rules))
    keeper.start()
    mirror = mirror_of(settings)
    mirroring = MirrorThread(mirror, every_s=settings.models_sync_s) if mirror else None
    try:
        if mirroring:
            await asyncio.to_thread(mirroring.pull)
            mirroring.start()
        safety = SafetyReader(client)
        producer, stored = Producer(client, limits_of(settings)), files_of(client, storage, settings)
        backend = _Backend(
            producer, DeadLetters(client, producer), stored, batches_of(client, settings),
            KeyReader(client) if settings.needs_keys else None, Statistics(client), LoadReader(client),
            Eraser(client, stored), safety,
        )  # fmt: skip
        async with (
            _while_running(stored.sweep_forever(), log_faults(safety)),
            _services(settings, backend) as services,
        ):
            yield services
    finally:
        if mirroring:
            mirroring.stop()
        keeper.stop()
        await asyncio.to_thread(keeper.join)
        keeper_client.redis.close()
        await client.redis.aclose(close_connection_pool=True)


@asynccontextmanager
async def _services(settings: Settings, backend: _Backend) -> AsyncIterator[Services]:
    catalog = Catalog(Repository(settings.models_dir), backend.queue)
    waiters = Waiters(backend.queue)
    await catalog.refresh()
    door = Door(Gate(backend.finder), Meter(), event_log(settings, "api"))
    tasks = [catalog.run(), waiters.listen(), waiters.sweep_forever()]
    if backend.figures is not None:
        tasks.append(_hand_on_forever(door.meter, backend.figures))
    async with _while_running(*tasks):
        services = Services(
            settings, backend.queue, backend.dead_letters, catalog, Submitter(backend.queue), waiters, door,
            Addresses(settings), backend.figures, backend.files, backend.batches,
            LoadFeed(backend.loads) if backend.loads else None, backend.eraser, backend.safety,
        )  # fmt: skip
        with closing(services.requests):
            yield services


async def _hand_on_forever(meter: Meter, figures: Figures) -> None:
    while True:
        await asyncio.sleep(COUNT_EVERY_S)
        await hand_on(meter, figures)


async def hand_on(meter: Meter, figures: Figures) -> None:
    """Hand on what was counted here; while Redis is away it is kept."""
    counts, sums = meter.take()
    try:
        await figures.add(counts, sums)
    except QueueUnavailableError:
        meter.give_back(counts, sums)
    except Exception:
        logger.exception("the counts of requests could not be handed on")


@asynccontextmanager
async def _while_running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these beside the block, and end them with it."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
