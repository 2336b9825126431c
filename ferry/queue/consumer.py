"""The working side of the queue, for threads: claim, settle, renew, beat. The worker's half."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from redis.exceptions import NoScriptError

from ferry.jobs import CLASS_SHARE, Claim, Outcome, Turn
from ferry.manifest import Manifest
from ferry.profile import Profile
from ferry.queue.broken_models import report_args
from ferry.queue.connection import ThreadClient, redis_errors
from ferry.queue.keys import MEMORY_FULL_PERCENT, model_key
from ferry.queue.producer import registration
from ferry.queue.records import (
    Heartbeat,
    claimed_from_reply,
    heartbeat_from_reply,
    large_inputs,
    settle_groups,
)

# From so many rows on, the scripts that end a claim and make the next one take milliseconds each.
APART_ROWS = 64


def _seed() -> str:
    return uuid.uuid4().hex


def _settle_args(
    claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, is_last: bool
) -> list[bytes | str | int]:
    return [claim.token, model_key(model, version), _seed(), int(is_last), *settle_groups(outcomes)]


def _or_raise(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _waited_s(asked_at: tuple[int, int], claim_reply: Sequence[Any]) -> float:
    """Return the time from a reply to TIME to the claim after it, by Redis' clock."""
    seconds, micros = asked_at
    return max(0.0, (int(claim_reply[0]) - seconds * 1_000_000 - micros) / 1e6)


class Consumer:
    """Takes jobs under leases and records their outcomes. Thread-safe, as its client is."""

    def __init__(self, client: ThreadClient, *, worker: str, lease_s: float, class_share: float = CLASS_SHARE) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._worker = worker
        self._class_share = class_share
        self._lease_ms = int(lease_s * 1000)
        self._claim = client.script("claim")
        self._settle = client.script("settle")
        self._renew = client.script("renew")
        self._beat = client.script("beat")
        self._register = client.script("register")
        self._leave = client.script("leave")
        self._switch = client.script("switch")
        self._broken = client.script("broken")

    def claim(
        self, model: str, version: str, *, max_rows: int, beside_high: int | None = None, token: str = "",
        may_be_bulk: bool = True, digest: str = "",
    ) -> Claim:  # fmt: skip
        """Take waiting jobs of up to `max_rows` rows (one larger job comes alone); with `token`, add to that claim.

        `beside_high`: with high-priority jobs in a claim, others fill it up to so many rows only, since all jobs of a
        claim are settled together; None is `max_rows`.

        A step of a bulk batch comes by itself too; not `may_be_bulk` leaves the whole bulk class alone. `digest`: of
        the files that the caller serves; under another than the registered one it gets nothing. Empty for a caller
        that serves no files.

        Effects: each job becomes running under the token, with a fresh lease. No jobs: the claim is empty and
        nothing was written.

        Raises:
            QueueUnavailableError: Redis did not answer; jobs it gave lapse by themselves.
        """
        held = token or _seed()
        args = self._claim_args(
            model, version, held, max_rows, beside_high, is_fresh=not token, may_be_bulk=may_be_bulk, digest=digest
        )
        with redis_errors():
            return self._claimed(held, self._claim(args=args), max_rows)

    def _claimed(self, token: str, reply: Sequence[Any], max_rows: int) -> Claim:
        large: dict[bytes, bytes | None] = {}
        if ids := large_inputs(reply):
            inputs = self._redis.mget([self._keys.input.encode("ascii") + job_id for job_id in ids])
            large = dict(zip(ids, cast(list[bytes | None], inputs), strict=True))
        room = int(reply[1])
        return Claim(token, claimed_from_reply(reply, large), room, is_cut=room < max_rows)

    def settle(self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, is_last: bool) -> int:
        """Record outcomes; returns how many still belonged to this claim. `is_last` ends the claim.

        Safe to repeat: what is recorded once does not change.

        Raises:
            QueueUnavailableError: Redis did not answer; repeat, or let the lease lapse.
        """
        with redis_errors():
            return int(self._settle(args=_settle_args(claim, model, version, outcomes, is_last=is_last)))

    def settle_and_claim(
        self, claim: Claim, model: str, version: str, outcomes: Sequence[Outcome], *, max_rows: int, wait_s: float,
        beside_high: int | None = None, digest: str = "",
    ) -> Turn:  # fmt: skip
        """End a claim and take the next one of the same model, in one round trip; as `settle`, then `claim`.

        A large claim, and one with high-priority jobs, is ended in a round trip of its own: what one trip asks for
        is done without a pause, and its news is sent after all of it. So nobody who submits or waits has to wait for
        two large scripts.

        Between the two it waits up to `wait_s` for the model's next ticket, which it takes from Celery's queue: of all
        who wait there, Redis serves the first, so an idle worker goes before this one.

        Raises:
            QueueUnavailableError: Redis did not answer; settle again, and claim later.
        """
        held = _seed()
        is_apart = claim.is_cut or claim.rows >= APART_ROWS
        with redis_errors():
            if is_apart:
                recorded = self.settle(claim, model, version, outcomes, is_last=True)
            with self._redis.pipeline(transaction=False) as pipe:
                if not is_apart:
                    self._settle.queue_in(pipe, _settle_args(claim, model, version, outcomes, is_last=True))
                pipe.time()
                pipe.brpop([self._keys.tickets + model_key(model, version)], timeout=wait_s)
                self._claim.queue_in(
                    pipe, self._claim_args(model, version, held, max_rows, beside_high, is_fresh=True, digest=digest)
                )
                *settled, asked_at, ticket, reply = pipe.execute(raise_on_error=False)
                recorded = settled[0] if settled else recorded
            # A Redis that was restarted knows neither script, or one of them; the calls of one script load it. What
            # was claimed is in hand even where the settle before it was not known.
            following, waited_s = Claim(held, ()), None
            if not isinstance(reply, NoScriptError):
                following = self._claimed(held, _or_raise(reply), max_rows)
                waited_s = _waited_s(_or_raise(asked_at), reply)
            if isinstance(recorded, NoScriptError):
                recorded, waited_s = (
                    self._settle(args=_settle_args(claim, model, version, outcomes, is_last=True)),
                    None,
                )
            _or_raise(ticket)
            return Turn(int(_or_raise(recorded)), following, waited_s)

    def _claim_args(
        self,
        model: str,
        version: str,
        token: str,
        max_rows: int,
        beside_high: int | None,
        *,
        is_fresh: bool,
        may_be_bulk: bool = True,
        digest: str,
    ) -> list[str | int | float]:
        return [
            model_key(model, version), token, max_rows, self._lease_ms, _seed(), int(is_fresh), self._class_share,
            int(may_be_bulk), digest, max_rows if beside_high is None else beside_high,
        ]  # fmt: skip

    def renew(self, tokens: Iterable[str]) -> set[str]:
        """Push out the leases of claims; returns those still held."""
        with redis_errors():
            return {token.decode("ascii") for token in self._renew(args=[self._lease_ms, *tokens])}

    def beat(self, models: Mapping[tuple[str, str], str]) -> Heartbeat:
        """Say that this worker lives and which digest of each model it serves; an empty one is not checked."""
        pairs = [part for model, digest in models.items() for part in (model_key(*model), digest)]
        with redis_errors():
            reply = self._beat(args=[self._worker, _seed(), self._lease_ms, *pairs])
        return heartbeat_from_reply(list(models), reply)

    def switched(self, model: str, version: str, *, digest: str) -> str:
        """Return why the files of this digest run one job at a time by now; empty where no check found anything."""
        with redis_errors():
            known = self._redis.hmget(self._keys.model + model_key(model, version), ["digest", "switched"])
        registered, reason = cast(list[bytes | None], known)
        return (reason or b"").decode("utf-8", "replace") if registered == digest.encode("ascii") else ""

    def switch(self, model: str, version: str, *, digest: str, reason: str) -> bool:
        """Let every worker run a model's jobs one by one from now on; returns whether that was new.

        It stays so over restarts, for as long as this digest is registered.
        """
        with redis_errors():
            return int(self._switch(args=[model_key(model, version), digest, reason])) == 1

    def register(self, manifest: Manifest, profile: Profile | None = None) -> None:
        """Make a model known to the queue; a worker that serves it has the last word on manifest and profile.

        Where another digest is registered nothing changes, unless this one may take over (lua/digests.lua).
        """
        with redis_errors():
            self._register(args=[*registration(manifest, profile), self._lease_ms, 1])

    def report_broken(self, broken: Mapping[tuple[str, str], str], before: Collection[tuple[str, str]] = ()) -> None:
        """Say which models this worker cannot serve, with the reason of each; `before`: those that it said last.

        A report counts for BROKEN_KEPT_MS.
        """
        with redis_errors():
            self._broken(args=[self._worker, *report_args(broken, before)])

    def is_full(self) -> bool:
        """Return whether Redis has no memory for new jobs; what runs and waits may still use the last of it."""
        with redis_errors():
            memory = cast(dict[str, int], self._redis.info("memory"))
        limit = memory.get("maxmemory", 0)
        return 0 < limit * MEMORY_FULL_PERCENT / 100 < memory["used_memory"]

    def leave(self, models: Iterable[tuple[str, str]]) -> None:
        """Say that this worker no longer serves `models`."""
        with redis_errors():
            self._leave(args=[self._worker, *(model_key(*model) for model in models)])
