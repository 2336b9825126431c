"""How log lines look, set up once per process.

structlog renders the standard library's records, so that Celery's, uvicorn's and ours read alike. Every line goes
through `ferry.log_text`: no secret, no payload, no control character, no local variable.
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson
import structlog

from ferry.log_text import clean, clean_args, error_of, plain_traceback
from ferry.settings import Settings

# Writes one line: what happened, and its fields.
EventLog = Callable[[str, Mapping[str, object]], None]

# Chatty below warning, and saying nothing an operator needs.
_QUIET = (
    "httpx",
    "kombu",
    "uvicorn.access",
    "celery.redirected",
    "celery.worker.strategy",  # two lines per ticket; Flower shows each
    "celery.app.trace",
    "asyncio",
)


def configure_logging(settings: Settings) -> None:
    """Send every record to stderr in the chosen form. Effects: replaces the root logger's handlers."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_json = settings.log_format == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if is_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    steps: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _clean_line]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_CleanFormatter(foreign_pre_chain=shared, processors=[*steps, renderer]))
    # Where a line cannot be written logging would print its arguments as they are.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    _log_uncaught()


class _CleanFormatter(structlog.stdlib.ProcessorFormatter):
    """Cleans the arguments of a record before they become one text with its message."""

    def format(self, record: logging.LogRecord) -> str:
        cleaned = logging.makeLogRecord(record.__dict__)
        if not isinstance(cleaned.msg, dict):  # structlog's own records have no arguments
            cleaned.msg = cleaned.msg if isinstance(cleaned.msg, str) else clean(cleaned.msg)
            cleaned.args = clean_args(cleaned.args)
        cleaned.exc_text = cleaned.stack_info = None
        try:
            return super().format(cleaned)
        except (
            TypeError,
            ValueError,
        ):  # the arguments do not fit the text; logging itself would print them as they are
            cleaned.args = ()
            return super().format(cleaned)


def _clean_line(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Clean every field of a line, and write its exception as frames and a type."""
    given = fields.pop("exc_info", None)
    error = error_of(sys.exc_info() if given is True else given)
    cleaned = {name: clean(value) for name, value in fields.items() if name not in ("exception", "stack", "stack_info")}
    if error is not None:
        cleaned["exception"] = plain_traceback(error)
    return cleaned


def _log_uncaught() -> None:
    """Let what nobody caught be logged as any other error: Python's own hooks print an exception's text.

    Effects: replaces the hooks of this process.
    """
    logger = logging.getLogger(__name__)

    def log_error(kind: type[BaseException], error: BaseException | None, _: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        logger.critical("an error ended this process: %s", kind.__name__, exc_info=error)

    def log_thread(found: threading.ExceptHookArgs) -> None:
        name = found.thread.name if found.thread else "unknown"
        logger.critical("an error ended thread %s", name, exc_info=found.exc_value)

    def log_ignored(found: "sys.UnraisableHookArgs") -> None:
        logger.error("an error in a finalizer was ignored", exc_info=found.exc_value)

    sys.excepthook = log_error
    threading.excepthook = log_thread
    sys.unraisablehook = log_ignored


def event_log(settings: Settings, name: str) -> EventLog | None:
    """Return what writes a line per request or batch, with the ids of its jobs; None where that is not asked for.

    As JSON it goes past structlog and the standard library, which take ten times as long as a small request's share.
    """
    if not settings.log_jobs or settings.log_level not in ("debug", "info"):
        return None
    if settings.log_format != "json":
        logger = structlog.get_logger(name)
        return lambda event, fields: logger.info(event, **fields)

    def write(event: str, fields: Mapping[str, object]) -> None:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        cleaned = {name: clean(value) for name, value in fields.items()}
        line = orjson.dumps({"event": event, **cleaned, "level": "info", "logger": name, "timestamp": now})
        sys.stderr.write(line.decode("utf-8") + "\n")

    return write
