"""`python -m benchmarks.pages`: W1 with ten pages open beside it, against without.

One load of 64 clients runs all the time. Every five seconds what stands beside it is stopped or goes on, and each spell
with it is compared with the spells before and after: the speed of a shared machine drifts by half within a minute.

pages: ten real pages in a Chromium on the same cores; in between they are hidden, as tabs are, and their browser is
stopped by a signal, so that neither they nor their streams cost anything. streams: ten programs that follow
`/v1/stats/events` and show nothing, which is what pages on other machines cost. Into a file of the day.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from redis import Redis

from benchmarks import machine
from benchmarks.apt import need_program
from benchmarks.digits import digits
from benchmarks.ferry_system import FERRY, stack
from benchmarks.places import RESULTS
from benchmarks.processes import descendants
from benchmarks.queue_keys import KEYS
from benchmarks.turns import fresh_folder
from benchmarks.wrk import load

PAGES = 10
CLIENTS = 64
# What a switch itself stirs up is over after SETTLE_S.
SWITCH_S, SETTLE_S, SPELL_S = 0.5, 1.5, 4.0
PAIRS_OF = {"with_pages": 30, "with_streams": 18}
WARM_UP_S, CALM_S = 5.0, 3.0
MODEL = "mnist:1"
# What a browser does when a tab is shown or hidden; without a window all pages count as shown.
TURN = """(state) => {
  Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""

# Lets what stands beside the load go on, or stops it.
Switch = Callable[..., None]


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


@contextmanager
def streams(url: str) -> Iterator[Switch]:
    """Follow the numbers ten times."""
    running: list[subprocess.Popen[bytes]] = []

    def switch(*, is_on: bool) -> None:
        while running:
            each = running.pop()
            each.terminate()
            each.wait()
        command = ["curl", "-sN", f"{url}/v1/stats/events"]
        running.extend(subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(PAGES if is_on else 0))

    yield switch
    switch(is_on=False)


@contextmanager
def pages(url: str) -> Iterator[Switch]:
    """Open ten pages, a context each: six connections to a host are all that one has."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium; `make test-browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened: list[Page] = [browser.new_context().new_page() for _ in range(PAGES)]
        for page in opened:
            page.goto(url)
        for page in opened:
            page.wait_for_selector("#fleet-models tr")

        def switch(*, is_on: bool) -> None:
            signal_chromium(signal.SIGCONT)
            for page in opened:
                page.evaluate(TURN, "visible" if is_on else "hidden")
            if not is_on:
                signal_chromium(signal.SIGSTOP)

        yield switch
        switch(is_on=True)
        if any(page.is_visible("#connection") for page in opened):
            raise RuntimeError("a page lost its connection")
        browser.close()


def signal_chromium(what: signal.Signals) -> None:
    """Signal the browser's processes among those that this program started."""
    for pid, _ in descendants(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if "chrom" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]:
                os.kill(pid, what)


def measure(folder: Path, beside: Callable[[str], Any], n_pairs: int) -> dict[str, Any]:
    """Return jobs/s of each spell, every other one with it, and the ratios of those to the spells around them."""
    n_spells = 2 * n_pairs + 1
    rates: list[float] = []
    errors: list[int] = []
    with stack(folder) as info, Redis.from_url(info.redis_url) as redis:
        post = FERRY.post(info.api_url, digits(1)[0][0])
        load(post, clients=CLIENTS, seconds=WARM_UP_S, folder=folder)

        def succeeded() -> int:
            return int(redis.hget(KEYS.counts + MODEL, "succeeded") or 0)  # type: ignore[arg-type]

        def load_all_along() -> None:
            seconds = n_spells * (SWITCH_S + SETTLE_S + SPELL_S) + 2 * CALM_S
            errors.append(load(post, clients=CLIENTS, seconds=seconds, folder=folder).errors)

        with beside(info.api_url) as switch:
            time.sleep(CALM_S)
            loading = threading.Thread(target=load_all_along)
            loading.start()
            time.sleep(CALM_S)
            for spell in range(n_spells):
                switch(is_on=spell % 2 == 1)
                time.sleep(SETTLE_S)
                before, started = succeeded(), time.perf_counter()
                time.sleep(SPELL_S)
                rates.append((succeeded() - before) / (time.perf_counter() - started))
            if not loading.is_alive():
                raise RuntimeError("the load was over before the last spell was")
            loading.join()
    if errors != [0]:
        raise RuntimeError(f"errors of the load: {errors}")
    ratios = [2 * rates[at] / (rates[at - 1] + rates[at + 1]) for at in range(1, n_spells, 2)]
    return {
        "jobs_per_s": [round(rate) for rate in rates],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "of_alone": round(statistics.median(ratios), 3),
        "mean": round(statistics.mean(ratios), 3),
        "error_of_mean": round(statistics.stdev(ratios) / len(ratios) ** 0.5, 3),
    }


def main() -> int:
    """Measure and write; returns the exit status."""
    need_program("wrk", "wrk")
    report: dict[str, Any] = {**machine.describe(), "pages": PAGES, "clients": CLIENTS, "spell_s": SPELL_S}
    for name, beside in (("with_pages", pages), ("with_streams", streams)):
        folder = fresh_folder("pages")
        report[name] = measure(folder, beside, PAIRS_OF[name])
        shutil.rmtree(folder, ignore_errors=True)
        say(f"{name}: {report[name]}")
    path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-pages.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    say(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
