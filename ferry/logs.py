"""How log lines look, set up once per process.

structlog renders the standard library's records, so that Celery's, uvicorn's and ours read alike.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson
import structlog

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
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    steps: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if is_json:
        steps.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*steps, renderer]))
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
        line = orjson.dumps({"event": event, **fields, "level": "info", "logger": name, "timestamp": now})
        sys.stderr.write(line.decode("utf-8") + "\n")

    return write
