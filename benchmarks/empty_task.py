"""A Celery application whose one task only publishes: what a Celery round trip costs by itself.

`python -m benchmarks.empty_task` is its worker; BENCH_REDIS_URL and BENCH_ACK_EMULATION (0 or 1) are its settings.
"""

import os
import warnings
from collections.abc import Mapping

import redis
from celery import Celery
from celery.exceptions import SecurityWarning

CHANNEL = "empty"


def make_app(env: Mapping[str, str]) -> Celery:
    """Return the application; the task's name is `empty`."""
    app = Celery("empty", broker=env["BENCH_REDIS_URL"], set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        broker_transport_options={"ack_emulation": env["BENCH_ACK_EMULATION"] == "1"},
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
    )
    client = redis.Redis.from_url(env["BENCH_REDIS_URL"])

    @app.task(name="empty", shared=False)
    def empty() -> None:
        client.publish(CHANNEL, "done")

    return app


if __name__ == "__main__":
    warnings.simplefilter("ignore", SecurityWarning)  # it fears root for pickle's sake; this worker takes JSON alone
    options = ["--pool=solo", "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=warning"]
    make_app(os.environ).worker_main(["--quiet", "worker", *options])
