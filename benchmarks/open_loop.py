"""An open-loop generator: jobs leave at their intended times, however slow the answers are.

Latency counts from the intended time, so a stall of the server, or of this process, is in every figure it delays.
Source: G. Tene, "How NOT to Measure Latency" (coordinated omission).
"""

import asyncio
import statistics
from dataclasses import dataclass, field

import uvloop

from benchmarks.ferry_system import PATH
from benchmarks.http_client import Answer, HttpClient
from benchmarks.system import JSON_TYPE

POLL_WAIT_S = 10  # one long poll
MAX_POLLS = 100
RETRY_S = 0.5  # after a poll that brought no answer
DRAIN_S = 30.0  # after the last job left
_DONE = (b'"status":"succeeded"', b'"status":"failed"', b'"status":"canceled"')


@dataclass(slots=True)
class Tally:
    """What became of the jobs; times in ms."""

    latencies_ms: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)  # how late this process was itself
    refused: int = 0
    failed: int = 0
    poll_errors: int = 0  # polls without an answer of 200
    lost: int = 0  # accepted and not terminal by the end

    def figures(self, rate: float, seconds: float) -> dict[str, float]:
        """Return the summary of a run."""
        sent = self.latencies_ms or [float("nan")]
        cuts = statistics.quantiles(sent, n=1000) if len(sent) > 1 else sent * 999
        return {
            "rate": round(rate, 1), "seconds": seconds, "done": len(self.latencies_ms),
            "p50_ms": round(cuts[499], 3), "p99_ms": round(cuts[989], 3), "p999_ms": round(cuts[998], 3),
            "max_ms": round(max(sent), 3), "refused": self.refused, "failed": self.failed,
            "poll_errors": self.poll_errors, "lost": self.lost,
            "sender_lag_p99_ms": round(sorted(self.lags_ms)[int(len(self.lags_ms) * 0.99)], 3),
        }  # fmt: skip


def run(base_url: str, body: bytes, *, rate: float, seconds: float) -> dict[str, float]:
    """Submit `rate` jobs a second for `seconds`, poll each until it is done; returns the figures."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(base_url, body, rate, seconds))


async def _run(base_url: str, body: bytes, rate: float, seconds: float) -> dict[str, float]:
    client, tally, loop = HttpClient(base_url), Tally(), asyncio.get_running_loop()
    submit = client.request("POST", PATH, body, JSON_TYPE)
    tasks: set[asyncio.Task[None]] = set()
    started_s = loop.time() + 0.1
    for number in range(int(rate * seconds)):
        intended_s = started_s + number / rate
        if (pause_s := intended_s - loop.time()) > 0:
            await asyncio.sleep(pause_s)
        tally.lags_ms.append(max(0.0, loop.time() - intended_s) * 1000)
        task = asyncio.create_task(_one_job(client, submit, intended_s, tally))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
        for task in late:
            task.cancel()
        tally.lost += len(late)
    client.close()
    return tally.figures(rate, seconds)


async def _one_job(client: HttpClient, submit: bytes, intended_s: float, tally: Tally) -> None:
    """Submit, then poll until the job is terminal; cancelled at the end of the drain."""
    try:
        accepted = await client.send(submit)
    except OSError:
        tally.refused += 1
        return
    if accepted.status != 202:
        tally.refused += 1
        return
    done = await _poll(client, accepted, tally)
    if done is None:
        tally.lost += 1
    elif _DONE[0] not in done.body:
        tally.failed += 1
    else:
        tally.latencies_ms.append((asyncio.get_running_loop().time() - intended_s) * 1000)


async def _poll(client: HttpClient, accepted: Answer, tally: Tally) -> Answer | None:
    """Return the answer that says a job is terminal, or None when none came."""
    poll = client.request("GET", f"{accepted.header(b'location')}?wait={POLL_WAIT_S}")
    for _ in range(MAX_POLLS):
        try:
            answer = await client.send(poll)
        except OSError:
            answer = None
        if answer and answer.status == 200:
            if any(word in answer.body for word in _DONE):
                return answer
            continue
        # No word on the job (a 503, say): the job may be well all the same, so ask again.
        tally.poll_errors += 1
        await asyncio.sleep(RETRY_S)
    return None
