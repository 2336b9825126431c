"""What Celery needs so that all it writes carries Ferry's namespace. Imports no Celery, which is slow to import.

Kombu puts `global_keyprefix` before every key and channel: queues, bindings, events and control commands. Flower counts
the tickets of a queue by it.
"""

from typing import Any

from ferry.queue.keys import Keys


def transport_options(keys: Keys) -> dict[str, Any]:
    """Return the part of `broker_transport_options` that every Celery application of one Ferry needs."""
    return {"global_keyprefix": keys.prefix}
