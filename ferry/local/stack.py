"""The whole of Ferry on one machine: Redis, API, workers and Flower, started and stopped together.

Order: data folder locked, Redis first, then the parts; at the end the parts first, then Redis. Once all is ready, a
part that ends by itself is started again, the embedded Redis too; only where that will not start does all end.
Knows no HTTP shapes and no Redis keys.
"""

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from ferry.local.data_dir import DataDir, RunInfo
from ferry.local.greeting import greeting
from ferry.local.part_manager import REDIS, PartManager
from ferry.local.part_printer import PartPrinter
from ferry.local.part_states import PartStates, save_states
from ferry.local.parts import Addresses, Part, parts_of_stack, worker_names
from ferry.local.ports import PortWish, choose_ports, url_of
from ferry.local.private_files import tail_of
from ferry.local.readiness import wait_until_ready
from ferry.local.redis_probe import check_redis, place_of
from ferry.local.redis_server import HOST, RedisServer
from ferry.local.stop_signals import StopSignals
from ferry.repository import Repository
from ferry.settings import Settings

READY_TIMEOUT_S = 60.0
EXTRA_TIMEOUT_S = 20.0
OK, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started: the parts, the addresses that tell when they are ready, and what the user is told then.

    extra_urls: addresses of parts that the stack does without; the user is told where one does not answer.
    """

    parts: Sequence[Part]
    ready_urls: Sequence[str]
    info: RunInfo
    greeting: str
    extra_urls: Sequence[str] = ()


def run_stack(settings: Settings, *, is_quiet: bool = False) -> int:
    """Run everything until Ctrl-C or SIGTERM (returns 0), or until it cannot go on (returns 1).

    Effects: writes under `settings.data_dir`; `run.json` there exists while the stack is ready.

    Raises:
        ConfigError: when it cannot start: data folder in use, Redis not there, host not of this machine.
    """
    with DataDir(settings.data_dir) as data_dir, StopSignals() as stop:
        log = data_dir.logs / "ferry.log"
        redis = None if settings.redis_url else RedisServer(data_dir.redis, data_dir.logs / "redis.log")
        printer = PartPrinter(log, sys.stdout, is_quiet=is_quiet)
        try:
            if redis:
                redis.start(is_cancelled=stop.is_set, keep_open=(data_dir.lock_fd,))
            else:
                check_redis(settings.redis_url)
            if stop.is_set():
                return OK
            launch = plan_launch(settings, data_dir, redis)
            for note in launch.info.notes:
                printer.say(note)
            return run_launch(launch, data_dir, printer, stop=stop, redis=redis)
        finally:
            printer.close()
            if redis:
                redis.stop(is_impatient=lambda: stop.count > 1)


def plan_launch(settings: Settings, data_dir: DataDir, redis: RedisServer | None) -> Launch:
    """Choose the ports and put together what is started."""
    repository = Repository(settings.models_dir)
    repository.check_root()
    api, flower = choose_ports(
        PortWish("the API", settings.api_host, settings.api_port),
        PortWish("Flower", settings.flower_host, settings.flower_port),
    )
    flower_url = url_of(settings.flower_host, flower.number)
    addresses = Addresses(
        redis_url=redis.url if redis else settings.redis_url,
        api_port=api.number,
        api_url=url_of(settings.api_host, api.number),
        flower_port=flower.number,
        flower_url=flower_url,
        public_flower_url=settings.flower_url or flower_url,
    )
    log = data_dir.logs / "ferry.log"
    info = RunInfo(
        pid=os.getpid(),
        api_url=addresses.api_url,
        flower_url=flower_url,
        redis_url=addresses.redis_url,
        namespace=settings.namespace,
        log=str(log),
        notes=tuple(port.note for port in (api, flower) if port.is_moved),
    )
    where = f"embedded on {HOST}:{redis.port}" if redis else f"at {place_of(settings.redis_url)}"
    # The scan goes by name, then version upwards: the last of each name stays.
    newest = {name: manifest for (name, _), manifest in repository.scan().items()}
    text = greeting(
        needs_keys=settings.needs_keys,
        api_url=addresses.api_url,
        flower_url=addresses.public_flower_url,
        redis=where,
        log=log,
        n_workers=len(worker_names(settings)),
        manifests=tuple(newest.values()),
    )
    # Without a model nothing is ever ready to serve, but the stack is up and takes the first one.
    health = "ready" if newest else "live"
    parts = parts_of_stack(settings, addresses, data_dir.path)
    ready_urls = (f"{addresses.api_url}/v2/health/{health}",)
    return Launch(parts, ready_urls, info, text, extra_urls=(f"{flower_url}/healthcheck",))


def run_launch(
    launch: Launch, data_dir: DataDir, printer: PartPrinter, *, stop: StopSignals, redis: RedisServer | None
) -> int:
    """Run the parts to their end and tell the user how it went; return the exit status."""
    states = PartStates(partial(save_states, data_dir.path))
    manager = PartManager(launch.parts, printer, stop=stop, redis=redis, states=states)
    announcer = Announcer(launch, data_dir, printer, manager)
    try:
        ended = manager.run(announcer.start)
    finally:
        announcer.join()
    if ended is not None:
        lines = tail_of(redis.log) if redis and ended.name == REDIS else printer.tail(ended.name)
        _tell_failure(f"{ended}, so everything was stopped", lines, launch.info.log, sys.stderr)
    elif announcer.fault:
        _tell_failure(f"not ready after {READY_TIMEOUT_S:g} s: {announcer.fault}", (), launch.info.log, sys.stderr)
    return FAILED if ended is not None or announcer.fault else OK


class Announcer:
    """A thread that tells the user and `run.json` when the stack is ready, and ends a stack that never is."""

    def __init__(self, launch: Launch, data_dir: DataDir, printer: PartPrinter, manager: PartManager) -> None:
        self.fault: str | None = None
        self._launch = launch
        self._data_dir = data_dir
        self._printer = printer
        self._manager = manager
        self._thread = threading.Thread(target=self._run, name="announcer")

    def start(self) -> None:
        """Start waiting."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread's end; fine where it never started."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        manager = self._manager

        def is_stopping() -> bool:
            return manager.is_stopping

        self.fault = wait_until_ready(self._launch.ready_urls, READY_TIMEOUT_S, is_cancelled=is_stopping)
        if self.fault:
            manager.give_up()
            return
        if is_stopping():
            return
        manager.mark_ready()
        # The command line finds the stack by it; Flower may take long, or never come up.
        self._data_dir.write_run_info(self._launch.info)
        missing = wait_until_ready(self._launch.extra_urls, EXTRA_TIMEOUT_S, is_cancelled=is_stopping)
        if is_stopping():
            return
        if missing:
            self._printer.say(f"not up yet, the rest is: {missing}")
        self._printer.say(self._launch.greeting)


def _tell_failure(what: str, lines: Sequence[str], log: str, err: TextIO) -> None:
    shown = "".join(f"  | {line}\n" for line in lines)
    last = f"; its last lines:\n{shown}" if shown else "\n"
    try:
        err.write(f"ferry: {what}{last}ferry: the whole log is {log}\n")
    except OSError:  # the terminal is gone; the log has it all
        return
