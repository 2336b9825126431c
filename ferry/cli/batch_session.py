"""What the commands of `ferry batch` share: the API they ask, the console, patience with an API that restarts."""

import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console

from ferry.cli.batch_bars import Bars
from ferry.cli.first_job import expected_api_url, running_api_url
from ferry.cli.model_tables import say
from ferry.client import ApiError, Client
from ferry.errors import FerryError
from ferry.settings import load_settings

# An API that restarts is asked again after pauses that grow from the first to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 5.0
# Statuses of a proxy whose API is away.
_PROXY_STATUSES = frozenset({502, 504})

T = TypeVar("T")


class Patience:
    """Does what the API cannot do right now again, until it has been away for `patience_s`."""

    def __init__(
        self, patience_s: float, note: Callable[[str], None], *,
        sleep: Callable[[float], None], clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.patience_s = patience_s
        self._note = note
        self._sleep = sleep
        self._clock = clock
        self._away_since: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def run(self, action: Callable[[], T]) -> T:
        """Return what `action` does, which is safe to repeat.

        Raises:
            FerryError: the API refuses, or was away for too long.
        """
        while True:
            try:
                result = action()
            except FerryError as error:
                if not _is_passing(error):
                    raise
                self._wait_out(error)
            else:
                self.met()
                return result

    def met(self) -> None:
        """Take note that the API answers."""
        if self._away_since is not None:
            self._away_since, self._pause_s = None, FIRST_PAUSE_S
            self._note("the API answers again")

    def _wait_out(self, error: FerryError) -> None:
        if self._away_since is None:
            self._away_since = self._clock()
            self._note(f"{error.detail}; waiting for it, up to {self.patience_s:g} s")
        left_s = self._away_since + self.patience_s - self._clock()
        if left_s <= 0:
            raise error
        self._sleep(min(self._pause_s, left_s))
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)


def _is_passing(error: FerryError) -> bool:
    return error.retryable or (isinstance(error, ApiError) and error.status in _PROXY_STATUSES)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's API and console. url_option: what a further command needs to reach the same API."""

    client: Client
    console: Console
    bars: Bars
    patience: Patience
    url_option: str = ""

    def say(self, text: str) -> None:
        """Print a line."""
        say(self.console, text)


@contextmanager
def open_session(url: str | None, patience_s: float = 0) -> Iterator[Session]:
    """Open the API at `url`, else that of the stack that is up, else where one would be.

    What is said goes to standard error, since standard output may be the batch's.
    """
    console = Console(stderr=True, highlight=False)
    with make_client(_api_url(url)) as client:
        yield Session(
            client, console, Bars(console, time.monotonic),
            Patience(patience_s, lambda text: say(console, text), sleep=time.sleep, clock=time.monotonic),
            f" --url {shlex.quote(url)}" if url else "",
        )  # fmt: skip


def make_client(url: str) -> Client:
    """Return a client, with the API key of the settings."""
    return Client(url, load_settings().api_key or None)


def _api_url(url: str | None) -> str:
    if url:
        return url
    settings = load_settings()
    return running_api_url(settings) or expected_api_url(settings)


class Interrupts:
    """Whether Ctrl-C was pressed while it was held back."""

    def __init__(self) -> None:
        self.is_pressed = False


@contextmanager
def held_interrupts(note: Callable[[str], None]) -> Iterator[Interrupts]:
    """Hold the first Ctrl-C back, so that a request's answer is known; the second is one."""
    held = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return

    def press(*_: object) -> None:
        if held.is_pressed:
            raise KeyboardInterrupt
        held.is_pressed = True
        note("one moment, the batch is being made; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
