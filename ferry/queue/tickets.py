"""Celery's envelope of a ticket, made by the installed Celery itself and filled in by the scripts.

A ticket says "come and claim for this model"; it carries no job. It is a hint: losing it loses nothing.
"""

import json

import celery

from ferry.queue.keys import TICKET_ID, ticket_queue

RUN_TASK = "ferry.run_batches"


def ticket_template(model: str, version: str) -> str:
    """Return the message Celery would push for one ticket, with TICKET_ID for its id.

    Celery publishes it to kombu's in-memory transport, so every field is what this release writes; only the
    random delivery tag is replaced. Source: kombu's virtual transports share one message format.
    """
    queue = ticket_queue(model, version)
    app = celery.Celery("ferry-tickets", broker="memory://", set_as_current=False, fixups=[])
    app.conf.update(task_create_missing_queues=True, task_ignore_result=True, result_backend=None)
    with app.connection_for_write() as connection:
        app.send_task(
            RUN_TASK,
            args=(model, version),
            task_id=TICKET_ID,
            queue=queue,
            connection=connection,
            ignore_result=True,
            origin="ferry",
        )
        channel = connection.default_channel
        message = channel._get(queue)  # the message as the transport stores it
    message["properties"]["delivery_tag"] = TICKET_ID
    return json.dumps(message)
