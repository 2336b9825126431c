"""The data folder of `ferry up`: its lock, its layout and `run.json`, which says where the running stack is reached."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ferry.errors import ConfigError
from ferry.local.part_states import PARTS_FILE
from ferry.local.private_files import write_private

RUN_FILE = "run.json"
# A Redis whose `ferry up` was killed still holds the lock while it flushes and ends.
ORPHAN_TIMEOUT_S = 30.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What `run.json` holds while a stack is up and ready. `notes` tell of ports that moved.

    `redis_url` and `namespace` together say where its queue is.
    """

    pid: int
    api_url: str
    flower_url: str
    redis_url: str
    namespace: str
    log: str
    notes: tuple[str, ...] = ()


class DataDir:
    """A data folder that is ours alone while entered."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock_fd: int | None = None

    @property
    def redis(self) -> Path:
        """Folder of the embedded Redis."""
        return self.path / "redis"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.path / "logs"

    @property
    def lock_fd(self) -> int:
        """The lock's file descriptor. A process that inherits it holds the lock too, until the last one closes it."""
        if self._lock_fd is None:
            raise RuntimeError("the data folder is not entered")
        return self._lock_fd

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"FERRY_DATA_DIR={self.path}: {error.strerror}; name a folder that can be written"
            ) from None
        self._lock(self._lock_fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove_run_info()
        os.close(self.lock_fd)
        self._lock_fd = None

    def _lock(self, fd: int) -> None:
        deadline_s = time.monotonic() + ORPHAN_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pid = int(os.pread(fd, 20, 0) or b"0")
                if _is_alive(pid) or time.monotonic() > deadline_s:
                    os.close(fd)
                    self._lock_fd = None
                    raise ConfigError(
                        f"{self.path} is in use by process {pid}: stop that one first, or set FERRY_DATA_DIR to another"
                    ) from None
                time.sleep(POLL_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self.remove_run_info()

    def write_run_info(self, info: RunInfo) -> None:
        """Write `run.json` (mode 0600, it holds the Redis password)."""
        write_private(self.path / RUN_FILE, json.dumps(asdict(info), indent=2) + "\n")

    def remove_run_info(self) -> None:
        """Remove `run.json` and `parts.json`; fine where there is none."""
        for name in (RUN_FILE, PARTS_FILE):
            (self.path / name).unlink(missing_ok=True)


def read_run_info(path: Path) -> RunInfo | None:
    """Return what the data folder at `path` says of its running stack; None while none is ready."""
    try:
        fields = json.loads((path / RUN_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return RunInfo(**fields | {"notes": tuple(fields["notes"])})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
