"""Dead letters: jobs that were given up since their workers died, with their inputs, for somebody to look at.

A job that killed its worker again and again is the one thing the queue will not try any more by itself.
"""

from typing import cast

from ferry.job_ids import scoped_id
from ferry.jobs import DeadLetter, JobClass, Submission, job_id_of
from ferry.queue.compression import decompress
from ferry.queue.connection import LoopClient, redis_errors
from ferry.queue.producer import Producer


class DeadLetters:
    """Lists dead letters and makes new jobs of them."""

    def __init__(self, client: LoopClient, producer: Producer) -> None:
        self._redis, self._keys = client.redis, client.keys
        self._producer = producer

    async def list_dead(self, *, offset: int = 0, limit: int = 20) -> tuple[list[DeadLetter], int]:
        """Return dead letters, the last first, and how many there are in all."""
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrevrange(self._keys.dead, offset, offset + limit - 1, withscores=True)
                pipe.zcard(self._keys.dead)
                pairs, total = await pipe.execute()
        ids = [job_id.decode("ascii") for job_id, _ in pairs]
        records = await self._producer.read_many(ids) if ids else []
        letters = zip(records, (int(died_ms) for _, died_ms in pairs), strict=True)
        return [DeadLetter(record, died_ms) for record, died_ms in letters if record], int(total)

    async def replay_of(self, job_id: str) -> Submission | None:
        """Return a new job with a dead letter's input; None when there is no such letter, or it was replayed.

        The new job's id follows from the old one's, so that a replay sent twice makes one job.
        """
        with redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zscore(self._keys.dead, job_id)
                pipe.hmget(self._keys.job + job_id, ["model", "class", "rows", "single", "owner"])
                pipe.get(self._keys.input + job_id)
                died_ms, fields, input_ = await pipe.execute()
        if died_ms is None or input_ is None or None in fields[:-1]:
            return None
        ref, job_class, rows, single, owner = (
            raw.decode("ascii") for raw in cast(list[bytes], [*fields[:-1], fields[-1] or b""])
        )
        name, _, version = ref.rpartition(":")
        payload = decompress(input_)
        return replay(
            job_id, name, version, int(rows), payload, single=single == "1", job_class=JobClass(job_class), owner=owner
        )

    async def retire(self, job_id: str) -> bool:
        """Take a letter off the list and drop its input; its record stays for its time. False: it was not there."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.zrem(self._keys.dead, job_id)
                pipe.delete(self._keys.input + job_id)
                removed, _ = await pipe.execute()
        return bool(removed)


def replay(
    job_id: str, model: str, version: str, rows: int, payload: bytes, *, single: bool, job_class: JobClass, owner: str
) -> Submission:
    """Return the job that replays another one; it is the same owner's."""
    new_id = scoped_id(owner, job_id_of(f"replay\0{job_id}"))
    return Submission(new_id, model, version, rows, payload, single, job_class, replay_of=job_id, owner=owner)
