import base64
import json
import uuid

import celery
import pytest

from ferry.queue.keys import TICKET_ID, TICKETS
from ferry.queue.tickets import RUN_TASK, ticket_template


def made(name: str = "toy", version: str = "2") -> dict:
    """Return a ticket without Celery's own random address for replies, of which a ticket has none."""
    ticket = json.loads(ticket_template(name, version))
    uuid.UUID(ticket["properties"].pop("reply_to"))
    return ticket


@pytest.fixture(scope="module")
def ticket() -> dict:
    return made()


@pytest.fixture(scope="module")
def wanted():
    """The message by Celery's own hand."""
    app = celery.Celery("test", broker="memory://", set_as_current=False)
    return app.amqp.as_task_v2(TICKET_ID, RUN_TASK, args=("toy", "2"), origin="ferry", ignore_result=True)


def as_json(value: object) -> object:
    return json.loads(json.dumps(value))


def test_ticket_template_when_made_then_its_headers_are_celerys(ticket: dict, wanted) -> None:
    assert ticket["headers"] == as_json(wanted.headers)


def test_ticket_template_when_made_then_its_body_is_celerys(ticket: dict, wanted) -> None:
    assert ticket["properties"]["body_encoding"] == "base64"
    assert json.loads(base64.b64decode(ticket["body"])) == as_json(wanted.body)
    assert (ticket["content-type"], ticket["content-encoding"]) == ("application/json", "utf-8")


def test_ticket_template_when_made_then_its_properties_are_celerys_and_name_the_models_queue(
    ticket: dict, wanted
) -> None:
    properties = ticket["properties"]
    assert properties["correlation_id"] == wanted.properties["correlation_id"]
    assert properties["delivery_info"]["routing_key"] == TICKETS + "toy:2"
    assert properties["delivery_tag"] == TICKET_ID


def test_ticket_template_when_the_id_is_filled_in_then_every_id_is_the_tickets() -> None:
    text = ticket_template("toy", "2").replace(TICKET_ID, "5eed-1")
    ticket = json.loads(text)
    assert (ticket["headers"]["id"], ticket["headers"]["root_id"]) == ("5eed-1", "5eed-1")
    assert (ticket["properties"]["correlation_id"], ticket["properties"]["delivery_tag"]) == ("5eed-1", "5eed-1")


def test_ticket_template_when_made_again_then_the_same_ticket() -> None:
    assert made() == made()


def test_ticket_template_when_models_differ_then_only_their_names_and_queues_do() -> None:
    one, other = made(), made("my.model-x_1", "10")
    assert base64.b64decode(other["body"]).startswith(b'[["my.model-x_1", "10"]')
    for ticket in (one, other):
        del ticket["body"], ticket["headers"]["argsrepr"], ticket["properties"]["delivery_info"]
    assert one == other


def test_ticket_template_when_made_then_the_current_celery_application_stays() -> None:
    before = celery.current_app._get_current_object()
    ticket_template("toy", "3")
    assert celery.current_app._get_current_object() is before
