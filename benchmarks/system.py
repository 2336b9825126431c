"""What every system under test has in common: how it is started, asked and read. Knows no particular one."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.digits import Pixels, digits
from benchmarks.processes import Process
from benchmarks.wrk import Post

READY_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 30.0
POLL_S = 0.1

JSON_TYPE = (("Content-Type", "application/json"),)


class WrongAnswerError(RuntimeError):
    """A system answered, but not what the model says."""


@dataclass(frozen=True, slots=True)
class System:
    """One server: `run(folder)` yields its base URL while it lives; `packages` are those whose versions matter.

    `setting` says in words how it is set up.
    """

    name: str
    label: str
    keeps_jobs: str  # what becomes of accepted jobs when its processes are killed, in a word or two
    path: str
    make_body: Callable[[Pixels], dict[str, Any]]
    read_digit: Callable[[Any], int]
    run: Callable[[Path], AbstractContextManager[str]]
    prepare: Callable[[], None] = lambda: None
    headers: tuple[tuple[str, str], ...] = JSON_TYPE
    packages: tuple[str, ...] = ()
    setting: str = ""

    def post(self, base_url: str, pixels: Pixels) -> Post:
        """Return the request for one digit."""
        return Post(base_url + self.path, json.dumps(self.make_body(pixels)).encode(), self.headers)


def wait_until_answering(post: Post, processes: Sequence[Process]) -> None:
    """Send a request until it is answered.

    Raises:
        ProcessFailedError: a process ended meanwhile.
        TimeoutError: no answer in time; the message holds the last fault.
    """
    fault = "nothing was tried"
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s:
        for process in processes:
            process.check()
        try:
            ask(post)
        except (OSError, ValueError) as error:
            fault = str(error)
            time.sleep(POLL_S)
        else:
            return
    raise TimeoutError(f"{post.url} did not answer in {READY_TIMEOUT_S:g} s: {fault}\n{processes[-1].tail()}")


def ask(post: Post) -> Any:
    """Send one request and return the JSON of the answer."""
    request = urllib.request.Request(post.url, post.body, dict(post.headers))
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code} {error.read(300).decode(errors='replace')}") from None


def probe(system: System, base_url: str) -> int:
    """Ask for each sample digit and return how many there were.

    Raises:
        WrongAnswerError: one was read wrongly.
    """
    samples = digits()
    for number, (pixels, truth) in enumerate(samples):
        answer = ask(system.post(base_url, pixels))
        try:
            digit = system.read_digit(answer)
        except (KeyError, IndexError, TypeError) as error:
            raise WrongAnswerError(f"{system.label}: {error!r} in {str(answer)[:300]}") from error
        if digit != truth:
            raise WrongAnswerError(f"{system.label} read sample {number} as {digit}, it is {truth}")
    return len(samples)


def best(scores: list[float]) -> int:
    """Return the class with the highest score."""
    return max(range(len(scores)), key=scores.__getitem__)
