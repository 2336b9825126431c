"""Which Celery messages a worker takes: JSON, of a task that it has, with that task's arguments. Drops all else.

Celery itself ends the worker over some malformed messages, and logs the whole payload of others. Whoever can write to
Redis can send anything, and a release before this one may have left something there. Knows nothing of jobs.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.transport.virtual import Empty
from kombu.utils import json as kombu_json

JSON_TYPE = "application/json"
JSON_ENCODING = "utf-8"
MAX_NAME_CHARS = 80
# Headers that make Celery hold a task back, or send further messages after it. Ferry's senders set none.
_UNUSED_HEADERS = ("eta", "expires", "group", "compression")
_UNUSED_OPTIONS = ("callbacks", "errbacks", "chain", "chord")

logger = logging.getLogger(__name__)

# Says what is wrong with the arguments of a task; "" where nothing is.
CheckArgs = Callable[[list[Any]], str]


def _is_of_message(error: Exception) -> bool:
    """Say whether Kombu raised this while it read a message.

    Its decoders raise errors of many types, which faults of ours and of the connection have too; so the place decides.
    """
    if isinstance(error, UnicodeError):
        return True
    frames = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__))
    return kombu_json.__name__ in frames and not isinstance(error, MemoryError)


class Channel(redis.Channel):
    """Kombu's channel, which drops an item of a queue that is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        self.connection.is_delivering = False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except Exception as error:
            if self.connection.is_delivering or not _is_of_message(error):
                raise
            _log_dropped("a queue", f"it is no JSON ({type(error).__name__})")
            return True

    def _receive_one(self, connection: Any) -> Any:
        """Take one message of a channel that all workers hear; one that is no JSON is dropped."""
        self.connection.is_delivering = False
        try:
            return super()._receive_one(connection)  # type: ignore[no-untyped-call]
        except Exception as error:
            if self.connection.is_delivering or not _is_of_message(error):
                raise
            _log_dropped("a channel", f"it is no JSON ({type(error).__name__})")
            raise Empty from None


class _WithoutPayload(logging.Filter):
    """Kombu's own line about such a message, without what was in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; returns that it is logged."""
        if str(record.msg).startswith("Cannot process event on channel"):
            record.msg, record.args = "message_dropped: a message of a channel was dropped: it is no JSON", ()
            record.exc_info = record.exc_text = None
        return True


class Transport(redis.Transport):
    """Kombu's transport for Redis, which drops messages that it could not take apart."""

    Channel = Channel
    # Whether what runs now is a message's consumer, whose errors are not the message's.
    is_delivering = False

    def _deliver(self, message: Any, queue: str) -> None:
        if reason := self._why_unreadable(message):
            _log_dropped(queue, reason)
            return
        self.is_delivering = True
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]

    def _why_unreadable(self, message: Any) -> str:
        """Take a message apart as Kombu does later."""
        if not isinstance(message, dict) or not isinstance(message.get("properties"), dict):
            return "it has no properties"
        properties = message["properties"]
        if not isinstance(properties.get("delivery_info"), dict) or not isinstance(properties.get("delivery_tag"), str):
            return "its properties name no delivery"
        if not isinstance(message.get("headers"), dict) or not isinstance(message.get("body"), str):
            return "it has no headers, or no body"
        content_type, encoding = message.get("content-type"), message.get("content-encoding")
        if (content_type, encoding) != (JSON_TYPE, JSON_ENCODING):
            return (
                f"its content type is {_short(content_type)} in {_short(encoding)}, not {JSON_TYPE} in {JSON_ENCODING}"
            )
        try:
            channel = next(iter(self.channels))
            json.loads(channel.decode_body(message["body"], properties.get("body_encoding")))
        except Exception as error:  # noqa: BLE001  whatever it is, Kombu would stumble over it too
            return f"its body cannot be read ({type(error).__name__})"
        return ""


def use_transport() -> None:
    """Let every Celery application of this process that connects to Redis use the transport above."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"
    kombu_log = logging.getLogger(redis.__name__)
    if not any(isinstance(each, _WithoutPayload) for each in kombu_log.filters):
        kombu_log.addFilter(_WithoutPayload())


def why_not_a_task(headers: Mapping[str, Any], body: bytes | str, checks: Mapping[str, CheckArgs]) -> str:
    """Return why a readable message is no task of this worker, "" where it is one (Celery's protocol 2).

    checks: a check of the arguments by name of the task.
    """
    name = headers.get("task")
    if not isinstance(name, str):
        return "its headers name no task (it may be of Celery's protocol 1)"
    if name not in checks:
        return f"there is no task {_short(name)}"
    if not isinstance(headers.get("id"), str):
        return "it has no id"
    if set_headers := [each for each in _UNUSED_HEADERS if headers.get(each) is not None]:
        return f"it has the header {set_headers[0]}"
    return _why_not_called(body, checks[name])


def _why_not_called(body: bytes | str, check: CheckArgs) -> str:
    parts = json.loads(body)
    if not isinstance(parts, list) or [type(part) for part in parts] != [list, dict, dict]:
        return "its body is not [arguments, named arguments, options]"
    args, kwargs, options = parts
    if kwargs:
        return "it has named arguments"
    if set_options := [each for each in _UNUSED_OPTIONS if options.get(each)]:
        return f"it has the option {set_options[0]}"
    return check(args)


def has_types(*types: type) -> CheckArgs:
    """Return a check that arguments are of these types, in this order."""

    def check(args: list[Any]) -> str:
        if tuple(type(arg) for arg in args) == types:
            return ""
        found = ", ".join(type(arg).__name__ for arg in args[: len(types) + 1])
        return f"its arguments are ({found}), not ({', '.join(each.__name__ for each in types)})"

    return check


def _log_dropped(queue: str, reason: str) -> None:
    logger.error("message_dropped: a message of %s was dropped: %s", queue, reason)


def drop(message: Any, reason: str) -> None:
    """Take a task message away without running it, with one line in the log."""
    _log_dropped(str(message.delivery_info.get("routing_key", "a queue"))[:MAX_NAME_CHARS], reason)
    message.reject()


def _short(value: object) -> str:
    return repr(value)[:MAX_NAME_CHARS]
