"""Listens to the news of settled jobs and counts them: a job that is settled twice is told of twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import msgpack
import redis

from tests.namespaces import KEYS

# How long one read waits; it bounds how long stopping takes.
READ_S = 0.5
AGAIN_S = 0.05


class News(threading.Thread):
    """Counts how often each job was said to be terminal. What is said during an outage is missed, and that is fine."""

    def __init__(self, connect: Callable[[], "redis.Redis"]) -> None:
        super().__init__(name="chaos-news", daemon=True)
        self.counts: Counter[str] = Counter()
        self._connect = connect
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Subscribe, again and again."""
        while not self._stopping.is_set():
            try:
                with self._connect() as client, client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(KEYS.settled)
                    while not self._stopping.is_set():
                        if message := subscription.get_message(timeout=READ_S):
                            self.count(message["data"])
            except (redis.RedisError, OSError):
                time.sleep(AGAIN_S)

    def count(self, message: bytes) -> None:
        """Count the jobs of one message."""
        for _, job_ids, _ in msgpack.unpackb(message, raw=True):
            self.counts.update(job_id.decode("ascii") for job_id in job_ids)
