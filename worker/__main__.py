"""Start a worker: `python -m worker`. Wires settings, models, queue, pulse and keeper to Celery's solo pool."""

import logging
import os
import signal
import socket
import sys
import uuid
import warnings
from functools import partial
from pathlib import Path

from celery import signals
from celery.exceptions import SecurityWarning
from prometheus_client import ProcessCollector, start_http_server

from ferry.bulk.steps import Steps
from ferry.bulk.storage import storage_of
from ferry.cores import available_cores
from ferry.errors import ConfigError, FerryError, QueueUnavailableError
from ferry.logs import configure_logging, event_log
from ferry.loopback import exempt_loopback
from ferry.manifest import Evidence
from ferry.metrics import registry_of
from ferry.model_mirror import MirrorThread, mirror_of
from ferry.open_files import raise_open_files_limit
from ferry.profile import PROFILES_DIR
from ferry.queue.connection import connect
from ferry.queue.consumer import Consumer
from ferry.queue.keeper import Keeper, KeeperRules, KeeperThread
from ferry.queue.keys import CONTROL_QUEUE, ticket_queue
from ferry.queue.records import Heartbeat
from ferry.queue.versions import Versions
from ferry.repository import Repository
from ferry.settings import Settings, load_settings
from worker.app import app
from worker.broken_models import BrokenReporter, refuse_without_a_model
from worker.bulk.batch_files import BatchFiles
from worker.bulk.runner import BulkLimits, BulkRunner
from worker.celery_consumer import connects_with_room
from worker.inspection_answers import answer
from worker.load_marks import MARKS_DIR, LoadMarks
from worker.models import Model
from worker.neighbour_check import Influence, NeighbourCheck
from worker.profile_files import ProfileFiles
from worker.profiler import Profiler, describe_machine
from worker.profiling import Budget
from worker.providers import Accelerator
from worker.pulse import Pulse, try_to
from worker.serving import Shelf
from worker.steps import follow_repository
from worker.tasks import TASK_ARGS, register_tasks
from worker.tickets import TicketRunner
from worker.watch import Watch

logger = logging.getLogger(__name__)


def worker_name(settings: Settings) -> str:
    """Return a name no other process has, in Celery's shape: a restarted worker is another worker."""
    return f"{settings.worker_name or 'worker'}-{uuid.uuid4().hex[:6]}@{socket.gethostname()}"


def threads_of(settings: Settings) -> int:
    """Return the threads of onnxruntime: as set, else one for each core of this process."""
    return settings.ort_threads or available_cores()


def make_profiler(settings: Settings) -> Profiler:
    """Return what measures the models of this process; nothing is read or written yet."""
    return Profiler(
        ProfileFiles(settings.data_dir / PROFILES_DIR),
        machine=describe_machine(threads_of(settings), Accelerator(settings.ort_provider)),
        budget=Budget(latency_s=settings.batch_latency_ms / 1000),
    )


def follow_beat(shelf: Shelf, alive: Path | None, reporter: BrokenReporter, heard: Heartbeat) -> None:
    """Do what a heartbeat that reached Redis brings: leave out what is unloaded, and say that this process lives."""
    shelf.leave_out(heard.unloaded)
    shelf.set_other(heard.other)
    if alive:
        alive.touch()
    reporter.report()


def switch_model(shelf: Shelf, heart: Consumer, found: Influence) -> None:
    """Run a model's jobs one by one from now on, here and on every worker; an operator's word is not overruled.

    Where Redis is away, the next heartbeat that reaches it tells the others.
    """
    model = shelf.find(*found.key)
    if model is None:
        return
    reason = (
        f"a check in production saw that rows influence each other: the answer of job {found.job_id} moved by "
        f"{found.move:.1e} when {found.change}"
    )
    if model.manifest.execution.evidence is Evidence.OVERRIDDEN:
        logger.error("%s: %s; it stays batched, since it was added with --rows-independent", model.manifest.ref, reason)
        return
    model.switch_to_whole_jobs(reason)
    try_to(
        partial(heart.switch, *found.key, digest=model.digest, reason=reason),
        "the other workers could not be told yet",
    )


def find_ready(shelf: Shelf, heart: Consumer, name: str, version: str) -> Model | None:
    """Return a loaded model; None until the queue was asked whether a check switched it to whole jobs.

    The first heartbeat would say so too, but a ticket may come before it.
    """
    model = shelf.find(name, version)
    if model is not None and not model.has_asked:
        try:
            reason = heart.switched(name, version, digest=model.digest)
        except QueueUnavailableError as error:
            logger.warning("%s:%s is not served yet: %s", name, version, error)
            return None
        if reason:
            model.switch_to_whole_jobs(reason)
        model.has_asked = True
    return model


def alive_file(settings: Settings) -> Path | None:
    """Return the file that is touched with each heartbeat; None where none is set.

    Raises:
        ConfigError: its folder cannot be written.
    """
    if not settings.alive_file:
        return None
    path = Path(settings.alive_file)
    if not os.access(path.parent, os.W_OK) or path.is_dir():
        raise ConfigError(f"FERRY_ALIVE_FILE={path} cannot be written; name a file in a folder of this worker's")
    return path


def serve_metrics(settings: Settings, watch: Watch) -> None:
    """Let Prometheus look at this process, where a port is set.

    Raises:
        ConfigError: the port cannot be listened at.
    """
    if not settings.metrics_port:
        return
    registry = registry_of(watch.readings)
    ProcessCollector(registry=registry)
    try:
        start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as error:
        where = f"{settings.metrics_host}:{settings.metrics_port}"
        raise ConfigError(f"metrics cannot be served at {where} (FERRY_METRICS_PORT): {error}") from error


def main() -> int:
    """Load the models, then serve until SIGTERM; returns the exit status."""
    exempt_loopback(os.environ)
    try:
        settings = load_settings()
        configure_logging(settings)
        raise_open_files_limit()
        connected = partial(connect, settings.require_redis_url(), settings.namespace)
        repository = Repository(settings.models_dir)
        repository.check_root()
        alive = alive_file(settings)
        storage = storage_of(settings)
        accelerator = Accelerator(settings.ort_provider)
        accelerator.prepare()
        shelf = Shelf(
            repository, threads=threads_of(settings), accelerator=accelerator, profiler=make_profiler(settings),
            marks=LoadMarks(settings.data_dir / MARKS_DIR, settings.worker_name or socket.gethostname()),
        )  # fmt: skip
        mirror = mirror_of(settings)
        mirroring = MirrorThread(mirror, every_s=settings.models_sync_s) if mirror else None
        if mirroring:
            mirroring.pull()
            mirroring.start()
        try_to(lambda: shelf.leave_out(Versions(connected()).unloaded()), "could not ask what is unloaded")
        shelf.load_all()
        name = worker_name(settings)
        heart = Consumer(connected(), worker=name, lease_s=settings.lease_s)
        reporter = BrokenReporter(heart, shelf)
        refuse_without_a_model(shelf, reporter)
        watch = Watch(event_log(settings, name))
        serve_metrics(settings, watch)
    except FerryError as error:
        sys.stderr.write(f"worker: {error.detail}\n")
        return 1
    consumer = Consumer(connected(), worker=name, lease_s=settings.lease_s, class_share=settings.class_share)
    pulse = Pulse(
        heart, shelf.models, lease_s=settings.lease_s, max_run_s=settings.max_run_s,
        on_beat=partial(follow_beat, shelf, alive, reporter),
    )  # fmt: skip
    rules = KeeperRules(settings.lease_s, settings.max_attempts, settings.dead_ttl_s)
    keeper = KeeperThread(Keeper(connected(), rules))
    bulk = BulkRunner(
        Steps(connected()), BatchFiles(storage), pulse,
        served=shelf.keys, limits=BulkLimits(settings.file_ttl_s, settings.chunk_bytes, settings.max_run_s),
        told=lambda step: watch.step_done(step.batch, step.step, step.outcome, step.rows),
    )  # fmt: skip
    neighbours = NeighbourCheck(
        partial(switch_model, shelf, heart), share=settings.neighbour_check_share, on_checked=watch.neighbours_checked
    )
    runner = TicketRunner(
        consumer,
        pulse,
        partial(find_ready, shelf, heart),
        give_up_s=settings.max_run_s,
        bulk=bulk,
        watch=watch,
        neighbours=neighbours,
    )
    register_tasks(app, runner, partial(answer, models_dir=settings.models_dir, client=connected()))
    app.steps["consumer"].add(follow_repository(shelf, pulse))

    def start(**_: object) -> None:
        if not pulse.is_alive():
            pulse.start()

    def leave(**_: object) -> None:
        pulse.leave()

    def serve_without_celery() -> int:
        start()  # leases need it
        return sum(runner.serve(uuid.uuid4().hex, each.name, each.version)["jobs"] for each in shelf.manifests())

    app.conf.worker_consumer = connects_with_room(consumer.is_full, serve_without_celery, checks=TASK_ARGS)
    # Counted as serving from when tickets are taken to when they no longer are.
    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutting_down.connect(leave, weak=False)
    for model in shelf.models():
        try_to(partial(heart.register, model.manifest, model.profile), "could not register")
    keeper.start()
    return serve(shelf, name, settings)


def serve(shelf: Shelf, name: str, settings: Settings) -> int:
    """Run Celery's worker loop until it must stop; returns the exit status."""
    # Celery fears root for pickle's sake; this worker takes JSON alone.
    warnings.simplefilter("ignore", SecurityWarning)
    queues = [ticket_queue(manifest.name, manifest.version) for manifest in shelf.manifests()]
    arguments = [
        "--quiet",
        "worker", "--pool=solo", "--concurrency=1", "--without-gossip", "--without-mingle",
        f"--hostname={name}", f"--queues={','.join([CONTROL_QUEUE, *queues])}",
        f"--loglevel={settings.log_level}",
    ]  # fmt: skip
    try:
        app.worker_main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


if __name__ == "__main__":
    # Until Celery listens to it: what runs then is wound up, such as the mark of a load (load_marks.py).
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(main())
