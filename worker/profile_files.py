"""Profiles kept in files: one measures while the others wait and read. Knows nothing of how they are measured."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ferry.profile import Profile, parse_profile

# A measurement takes about a second; one that holds the lock for longer hangs, and is not waited for.
LOCK_TIMEOUT_S = 10.0
POLL_S = 0.05

logger = logging.getLogger(__name__)


class ProfileFiles:
    """A folder of profiles, and the one lock under which this machine's workers measure."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._sleep = sleep

    def find_or_make(self, name: str, make: Callable[[], Profile]) -> Profile:
        """Return the profile kept under `name`; where there is none, or a damaged one, make and keep it.

        Workers that start together make theirs one after the other, each finding what the others made. A folder
        that cannot be written only costs the measurement next time.

        Raises:
            Exception: whatever `make` raises; nothing is kept then.
        """
        if kept := self._read(name):
            return kept
        with self._lock():
            if kept := self._read(name):
                return kept
            profile = make()
            self._write(name, profile)
        return profile

    def _read(self, name: str) -> Profile | None:
        try:
            return parse_profile((self._folder / name).read_bytes())
        except OSError:
            return None

    def _write(self, name: str, profile: Profile) -> None:
        draft = self._folder / f".{name}.{os.getpid()}.draft"
        try:
            draft.write_text(profile.model_dump_json(indent=2) + "\n", encoding="utf-8")
            draft.replace(self._folder / name)
        except OSError as error:
            logger.warning("a profile could not be kept in %s: %s", self._folder, error.strerror)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock, which ends with the process at the latest; go on without where it cannot be had."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            logger.warning("models are measured unguarded, %s cannot be written: %s", self._folder, error.strerror)
            yield
            return
        try:
            if not self._has_locked(fd):
                logger.warning("another worker has measured for over %g s: measuring beside it", LOCK_TIMEOUT_S)
            yield
        finally:
            os.close(fd)

    def _has_locked(self, fd: int) -> bool:
        give_up = self._clock() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock() >= give_up:
                    return False
                self._sleep(POLL_S)
            else:
                return True
