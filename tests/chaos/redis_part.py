"""The Redis of a run, which can be killed and comes back on its port with its data; and how one waits for a part."""

import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ferry.local.private_files import write_private
from ferry.local.redis_probe import Pong, ping
from ferry.local.redis_server import HOST, find_redis_server, render_config
from tests.processes import POLL_S

PASSWORD = "chaos"
# A part that is started is up by then; a broken machine's bound, never an expectation.
COMES_UP_S = 60.0
# Below what the kernel hands out by itself: while a part is down, nobody's outgoing connection takes its port.
PORTS = range(20_000, 32_000)


class PartError(Exception):
    """A part did not do what it must: come up, or end in good order."""


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return once the condition holds.

    Raises:
        PartError: it does not within `timeout_s`.
    """
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            raise PartError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return port


class Redis:
    """The embedded Redis with its own configuration, on one port for the whole run."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.log = log
        self._folder = folder
        self._config = folder / "redis.conf"
        self._process: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.url = f"redis://:{PASSWORD}@{HOST}:{port}/0"
        folder.mkdir(parents=True)
        write_private(self._config, render_config(port=port, password=PASSWORD, folder=folder, log=log))

    def start(self) -> None:
        """Start it on its data; returns when they are read."""
        self._process = subprocess.Popen([str(find_redis_server()), str(self._config)], start_new_session=True)
        wait_for(lambda: ping(self.url) is Pong.READY, COMES_UP_S, f"Redis answers, see {self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait(timeout=COMES_UP_S)
            self._process = None
