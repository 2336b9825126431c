"""The worker's pulse: a thread that says the process lives, renews its leases, and ends a process that hangs.

A solo worker's own loop is blocked while a batch runs, hence the thread and a Redis connection of its own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from ferry.errors import FerryError, QueueUnavailableError
from ferry.manifest import Manifest
from ferry.profile import Profile, Tuning
from ferry.queue.keys import HEARTBEAT_S
from ferry.queue.records import Heartbeat

# A lease is renewed this many times in its length, so that one lost renewal does not cost the claim.
RENEWALS_A_LEASE = 4
# What a process that is ended for a batch over `max_run_s` exits with (EX_SOFTWARE of sysexits.h).
EXIT_HUNG = 70

logger = logging.getLogger(__name__)


class Heart(Protocol):
    """What the pulse needs of the queue (ferry.queue.consumer.Consumer)."""

    def beat(self, models: Mapping[tuple[str, str], str]) -> Heartbeat:
        """Say that this worker lives, and the digest of each model that it serves."""

    def register(self, manifest: Manifest, profile: Profile | None = None) -> None:
        """Make a model known."""

    def switch(self, model: str, version: str, *, digest: str, reason: str) -> bool:
        """Let every worker run a model's jobs one by one."""

    def renew(self, tokens: Iterable[str]) -> set[str]:
        """Push out leases."""

    def leave(self, models: Iterable[tuple[str, str]]) -> None:
        """Say that this worker serves no more."""


class Served(Protocol):
    """What the pulse needs of a loaded model (worker.models.Model)."""

    manifest: Manifest
    profile: Profile | None
    digest: str
    switched: str

    def retune(self, tuning: Tuning) -> None:
        """Follow what was set live."""

    def switch_to_whole_jobs(self, reason: str) -> None:
        """Run jobs one by one from now on."""


class Pulse(threading.Thread):
    """Beats, renews and watches until stopped."""

    def __init__(
        self,
        heart: Heart,
        served: Callable[[], Sequence[Served]],
        *,
        lease_s: float,
        max_run_s: float,
        clock: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], None] = os._exit,
        on_beat: Callable[[Heartbeat], None] = lambda _: None,
    ) -> None:
        """`on_beat` is called after each heartbeat that reached Redis, with its answer."""
        super().__init__(name="ferry-pulse", daemon=True)
        self._heart = heart
        self._served = served
        self._max_run_s = max_run_s
        self._renew_every_s = lease_s / RENEWALS_A_LEASE
        self._clock = clock
        self._end_process = end_process
        self._on_beat = on_beat
        self._stopping = threading.Event()
        self._held: dict[str, float] = {}
        self._beat_due = self._renew_due = clock()
        self._is_away = False
        self._is_leaving = False

    @contextmanager
    def holding(self, token: str) -> Iterator[None]:
        """Renew the lease of `token` until the context ends, for `max_run_s` at most."""
        self._held[token] = self._clock()
        try:
            yield
        finally:
            del self._held[token]

    def touch(self, token: str) -> None:
        """Say that what is held gets on: its `max_run_s` begins again."""
        if token in self._held:
            self._held[token] = self._clock()

    @property
    def is_leaving(self) -> bool:
        """Whether this worker must stop."""
        return self._is_leaving

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()

    def leave(self) -> None:
        """Stop beating and say good-bye, so that no ticket counts on this worker; leases are renewed to the end."""
        self._is_leaving = True
        try_to(lambda: self._heart.leave(self._models()), "could not say good-bye")

    def run(self) -> None:
        """Do what is due, again and again."""
        tick_s = min(HEARTBEAT_S, self._renew_every_s) / 2
        while not self._stopping.wait(tick_s):
            try:
                self.tick()
            except Exception:
                # Without this thread every lease would lapse in the worker's hands.
                logger.exception("the pulse's round failed")

    def tick(self) -> None:
        """Do what is due now; survives every Redis outage."""
        now = self._clock()
        self._end_if_hung(now)
        try:
            if now >= self._renew_due:
                self._renew_due = now + self._renew_every_s
                if tokens := list(self._held):
                    self._heart.renew(tokens)
                    self._is_away = False
            if now >= self._beat_due and not self._is_leaving:
                self._beat_due = now + HEARTBEAT_S
                self.beat()
                self._is_away = False
        except QueueUnavailableError as error:
            if not self._is_away:
                logger.warning("no heartbeat: %s", error)
            self._is_away = True

    def beat(self) -> None:
        """Say what is served and follow what was tuned; what Redis does not know is registered anew (it was wiped)."""
        models = self._models()
        heard = self._heart.beat({key: model.digest for key, model in models.items()})
        for key, tuning in heard.tuned.items():
            models[key].retune(tuning)
        for key in heard.unknown:
            self._heart.register(models[key].manifest, models[key].profile)
        for key, model in models.items():
            if reason := heard.switched.get(key, "") if key not in heard.other else "":
                model.switch_to_whole_jobs(reason)
            elif model.switched:  # found here while Redis was away, or before it was wiped
                self._heart.switch(*key, digest=model.digest, reason=model.switched)
        self._on_beat(heard)

    def _models(self) -> dict[tuple[str, str], Served]:
        return {(model.manifest.name, model.manifest.version): model for model in self._served()}

    def _end_if_hung(self, now: float) -> None:
        """A run past its limit cannot be stopped from outside; the process goes, and its claim lapses."""
        for token, since in list(self._held.items()):
            if now - since > self._max_run_s:
                logger.critical("claim %s has run for over %g s: ending this process", token, self._max_run_s)
                self._end_process(EXIT_HUNG)


def try_to(action: Callable[[], object], what: str) -> None:
    """Do something that may fail while Redis is away, and say so."""
    try:
        action()
    except FerryError as error:
        logger.warning("%s: %s", what, error)
