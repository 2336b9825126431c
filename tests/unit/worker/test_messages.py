import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.transport import redis
from kombu.transport.virtual import Empty

from ferry.inspection import INSPECT_TASK
from ferry.queue.tickets import RUN_TASK, ticket_template
from worker.messages import Channel, use_transport, why_not_a_task
from worker.tasks import TASK_ARGS

BODY = json.dumps([["toy", "1"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])


def sent(task: str, args: tuple[object, ...]) -> tuple[dict[str, Any], bytes]:
    """Return headers and body of a message as the installed Celery sends it."""
    app = Celery("test", broker="memory://", set_as_current=False, fixups=[])
    with app.connection_for_write() as connection:
        app.send_task(task, args=args, queue="q", connection=connection, ignore_result=True, retry=False)
        channel = connection.default_channel
        message = channel.Message(channel._get("q"), channel=channel)
    return message.headers, message.body


@pytest.mark.parametrize(
    ("task", "args"),
    [(RUN_TASK, ("toy", "1")), (INSPECT_TASK, ("staged", "toy", "1", ["a"], {"fixed": []}, "reply:x"))],
)
def test_why_not_a_task_when_the_installed_celery_sent_it_then_taken(task: str, args: tuple[object, ...]) -> None:
    headers, body = sent(task, args)
    assert why_not_a_task(headers, body, TASK_ARGS) == ""


def test_why_not_a_task_when_it_is_a_ticket_then_taken() -> None:
    assert why_not_a_task(json.loads(ticket_template("toy", "1"))["headers"], BODY, TASK_ARGS) == ""


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "its headers name no task (it may be of Celery's protocol 1)"),
        ({"task": 5}, "its headers name no task (it may be of Celery's protocol 1)"),
        ({"task": "os.system", "id": "x"}, "there is no task 'os.system'"),
        ({"task": RUN_TASK}, "it has no id"),
        ({"task": RUN_TASK, "id": "x", "expires": "x"}, "it has the header expires"),
    ],
)
def test_why_not_a_task_when_headers_are_wrong_then_said(headers: dict[str, object], reason: str) -> None:
    assert why_not_a_task(headers, BODY, TASK_ARGS) == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "its body is not [arguments, named arguments, options]"),
        ([[], {}], "its body is not [arguments, named arguments, options]"),
        ([["toy", "1"], {"a": 1}, {}], "it has named arguments"),
        ([["toy", "1"], {}, {"chord": {}}], ""),
        ([["toy", "1"], {}, {"chord": {"task": "x"}}], "it has the option chord"),
        ([["toy", 1], {}, {}], "its arguments are (str, int), not (str, str)"),
        ([[], {}, {}], "its arguments are (), not (str, str)"),
        ([["toy"] * 1000, {}, {}], "its arguments are (str, str, str), not (str, str)"),
    ],
)
def test_why_not_a_task_when_the_body_is_wrong_then_said(body: object, reason: str) -> None:
    assert why_not_a_task({"task": RUN_TASK, "id": "x"}, json.dumps(body), TASK_ARGS) == reason


@pytest.mark.parametrize("data", [b"[" * 100_000, b"garbage SECRET", b"\xff\xfe SECRET"])
def test_receive_one_when_a_channel_brings_no_json_then_dropped_with_a_line_without_it(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    use_transport()
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(is_delivering=False)  # type: ignore[assignment]
    channel.connection_errors = (ConnectionError,)
    heard = SimpleNamespace(parse_response=lambda: [b"message", b"/0.celery.pidbox", data])
    with pytest.raises(Empty):
        channel._receive_one(heard)
    assert "message_dropped" in caplog.text
    assert "SECRET" not in caplog.text
    assert "[[[" not in caplog.text


def brpop(reply: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take one item of a queue, as a channel whose Redis answers with `reply`."""
    monkeypatch.setattr(redis.Channel, "_flush_brpop_reauth", lambda self: None)
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(is_delivering=False, _deliver=None)  # type: ignore[assignment]
    channel.connection_errors = (ConnectionError,)
    channel._queue_cycle = SimpleNamespace(rotate=lambda queue: None)
    channel.__dict__["client"] = SimpleNamespace(parse_response=lambda *_, **__: reply(), connection=None)
    return channel._brpop_read()


@pytest.mark.parametrize(
    "item",
    [
        b"[" * 100_000, b"garbage SECRET", b"\xff\xfe SECRET", b'{"__type__": "bytes", "__value__": 5}',
        b'{"__type__": "decimal", "__value__": "SECRET"}', b'{"__type__": "uuid", "__value__": 5}',
    ],
)  # fmt: skip
def test_brpop_when_a_queue_brings_what_kombu_cannot_read_then_dropped(
    item: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert brpop(lambda: (b"q", item), monkeypatch) is True
    assert "message_dropped" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("error", [ValueError("closed file"), AttributeError("ours"), RuntimeError("ours")])
def test_brpop_when_the_fault_is_not_the_messages_then_it_is_raised(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> Any:
        raise error

    with pytest.raises(type(error)):
        brpop(fail, monkeypatch)
    assert caplog.text == ""
