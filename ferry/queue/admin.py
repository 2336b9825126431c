"""The operator's side of the queue: which models it knows, and their batch limits set live. Knows no command line."""

import uuid
from collections.abc import Sequence
from typing import cast

from ferry.errors import InvalidInputError, NotFoundError
from ferry.jobs import JobClass
from ferry.manifest import Manifest
from ferry.profile import BatchLimits, Tuning, limits_in_force, parse_profile
from ferry.queue import keys
from ferry.queue.connection import ThreadClient, redis_errors
from ferry.queue.records import tuning_from_fields

# One script call holds Redis for some 15 µs a job.
MAX_PURGED_A_CALL = 500


class Admin:
    """Looks at the queue's models, tunes them, and shuts and opens their queues."""

    def __init__(self, client: ThreadClient) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._tune = client.script("tune")
        self._gate = client.script("gate")
        self._purge = client.script("purge")

    def models(self) -> list[tuple[str, str]]:
        """Return name and version of every registered model, versions in numeric order."""
        with redis_errors():
            names = cast(set[bytes], self._redis.smembers(self._keys.models))
        pairs = (name.decode("ascii").rpartition(":") for name in names)
        return sorted(((name, version) for name, _, version in pairs), key=lambda pair: (pair[0], int(pair[1])))

    def pause(self, model: str, version: str) -> None:
        """Hand out none of the model's jobs until `resume`; what runs goes on, and new jobs are accepted.

        Raises:
            NotFoundError: the queue does not know the model.
        """
        self._shut(model, version, "paused")

    def drain(self, model: str, version: str) -> None:
        """Accept no job of the model until `resume`; those that wait are run. Raises as `pause`."""
        self._shut(model, version, "draining")

    def resume(self, model: str, version: str) -> None:
        """Take back `pause` and `drain`. Raises as `pause`."""
        self._shut(model, version, "open")

    def _shut(self, model: str, version: str, gate: str) -> None:
        key = keys.model_key(model, version)
        with redis_errors():
            if not self._gate(args=[key, uuid.uuid4().hex, gate]):
                raise NotFoundError(f"the queue knows no model {key}")

    def purge(self, model: str, version: str) -> int:
        """Cancel every job of the model that waits now; returns their number, a bulk batch as one. What runs goes on.

        Bounded by what waited at first, so that it ends while others submit.
        """
        key = keys.model_key(model, version)
        purged, most = 0, self.waiting_jobs(model, version)
        while purged < most:
            with redis_errors():
                ended = int(cast(int, self._purge(args=[key, min(MAX_PURGED_A_CALL, most - purged)])))
            if not ended:
                break
            purged += ended
        return purged

    def waiting_jobs(self, model: str, version: str) -> int:
        """Return how many jobs of the model wait."""
        key = keys.model_key(model, version)
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.llen(self._keys.alone + key)
            pipe.llen(self._keys.steps_alone + key)
            for job_class in JobClass:
                pipe.xlen(f"{self._keys.waiting}{key}:{job_class}")
            return sum(pipe.execute())

    def tune(self, model: str, version: str, tuning: Tuning, *, is_reset: bool = False) -> BatchLimits:
        """Set batch limits live, with `is_reset` after taking back what was set before; returns those now in force.

        Effects: tickets are topped up at once; every worker follows with its next heartbeat, within a second.

        Raises:
            NotFoundError: the queue does not know the model.
            InvalidInputError: the model's batch axis is fixed, so its rows cannot be tuned.
        """
        key = keys.model_key(model, version)
        with redis_errors():
            fields = cast(Sequence[bytes | None], self._redis.hmget(self._keys.model + key, ["manifest", "switched"]))
        known, switched = fields
        if known is None:
            raise NotFoundError(f"the queue knows no model {key}")
        check_tuning(Manifest.model_validate_json(known), tuning, (switched or b"").decode("utf-8", "replace"))
        numbers = ("" if number is None else number for number in (tuning.max_rows, tuning.max_wait_ms))
        with redis_errors():
            reply = cast(
                Sequence[bytes | None] | None, self._tune(args=[key, uuid.uuid4().hex, *numbers, int(is_reset)])
            )
        if reply is None:
            raise NotFoundError(f"the queue knows no model {key} any more")
        manifest, profile, *tuned = reply
        changed = Manifest.model_validate_json(manifest or b"")
        return limits_in_force(changed, parse_profile(profile), tuning_from_fields(*tuned))


def check_tuning(manifest: Manifest, tuning: Tuning, switched: str = "") -> None:
    """Refuse what the model cannot do. `switched`: why a check in production moved it to whole jobs, if one did.

    Raises:
        InvalidInputError: its batch axis is fixed at another number of rows, or each of its jobs is a run of its own.
    """
    if (switched or not manifest.is_batched) and (tuning.max_rows is not None or tuning.max_wait_ms is not None):
        reason = switched or manifest.execution.reason
        raise InvalidInputError(f"{manifest.ref} runs one job at a time, so there is no batch to tune: {reason}")
    fixed = manifest.batching.fixed_rows
    if fixed is not None and tuning.max_rows not in (None, fixed):
        raise InvalidInputError(
            f"{manifest.ref} runs {fixed} rows at a time, not {tuning.max_rows}: its manifest fixes the batch axis"
        )
