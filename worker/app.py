"""The Celery application: broker settings and nothing else. `celery -A worker.app` (Flower, inspect) finds `app` here.

Reads the environment at import, the one module that may: Celery's command line needs an instance.
"""

import sys
from typing import Any

from celery import Celery

from ferry.errors import ConfigError
from ferry.queue.broker import transport_options
from ferry.queue.keys import CONTROL_QUEUE, keys_at
from ferry.settings import Settings, load_settings
from worker.messages import use_transport

# Tickets are hints and the jobs are elsewhere, so the broker need not remember what it handed out: four times
# cheaper than kombu's emulated acknowledgements, and no redelivery an hour later.
_TRANSPORT: dict[str, Any] = {
    "ack_emulation": False,
    "priority_steps": [0],
    "socket_timeout": 30,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def make_app(settings: Settings) -> Celery:
    """Return a Celery application for these settings. Connects to nothing."""
    url = settings.require_redis_url()
    use_transport()
    app = Celery("ferry", broker=url)
    app.conf.update(
        broker_transport_options=_TRANSPORT | transport_options(keys_at(url, settings.namespace)),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=True,
        task_default_queue=CONTROL_QUEUE,
    )
    return app


def _app_of_environment() -> Celery:
    """Return the application; bad settings end the process with one line, where Celery would print a traceback."""
    try:
        return make_app(load_settings())
    except ConfigError as error:
        sys.exit(f"worker: {error.detail}")


app = _app_of_environment()
