import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from ferry.logs import configure_logging, event_log
from ferry.settings import Settings

CHATTY = ("httpx", "kombu", "uvicorn.access", "asyncio", "celery.app.trace")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Give pytest its handlers back, and every logger its level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logging.root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """Read what was logged as JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def configure(log_format: str = "json", log_level: str = "info") -> logging.Logger:
    configure_logging(Settings(_env_file=None, log_format=log_format, log_level=log_level))
    return logging.getLogger("ferry.test")


def test_configure_logging_when_json_then_one_object_a_line_with_name_level_and_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure().warning("job %s is late\nby a day", "abc")
    (entry,) = entries(capsys)
    assert (entry["event"], entry["level"], entry["logger"]) == ("job abc is late\nby a day", "warning", "ferry.test")
    assert entry["timestamp"].endswith("Z")


def test_configure_logging_when_json_and_an_error_is_logged_then_the_traceback_is_a_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = configure()
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("it failed")
    (entry,) = entries(capsys)
    assert entry["event"] == "it failed"
    assert entry["exception"].endswith("ZeroDivisionError: division by zero")
    assert "Traceback" in entry["exception"]


def test_configure_logging_when_console_then_plain_text_without_colours_outside_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("console").error("it failed")
    written = capsys.readouterr().err
    assert "it failed" in written
    assert "error" in written
    assert "\x1b" not in written


def test_configure_logging_when_structlog_is_used_then_it_reads_like_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    structlog.get_logger("ferry.bound").bind(job="abc").info("claimed")
    (entry,) = entries(capsys)
    assert (entry["event"], entry["job"], entry["level"], entry["logger"]) == ("claimed", "abc", "info", "ferry.bound")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_configure_logging_when_a_level_is_set_then_nothing_below_it(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    logger = configure(log_level=level)
    for each in ("debug", "info", "warning", "error"):
        getattr(logger, each)(each)
    assert [entry["event"] for entry in entries(capsys)] == shown


@pytest.mark.parametrize("name", CHATTY)
def test_configure_logging_when_a_library_is_chatty_then_only_its_warnings(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    configure(log_level="debug")
    logging.getLogger(name).info("one more thing")
    logging.getLogger(name).warning("one thing")
    assert [entry["event"] for entry in entries(capsys)] == ["one thing"]


def test_configure_logging_when_the_level_is_error_then_chatty_libraries_obey_it_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(log_level="error")
    logging.getLogger("kombu").warning("one thing")
    assert entries(capsys) == []


def test_configure_logging_when_called_again_then_each_line_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    configure().info("once")
    assert len(entries(capsys)) == 1


def settings(**fields: object) -> Settings:
    return Settings(_env_file=None, **{"log_format": "json", "log_jobs": True} | fields)


@pytest.mark.parametrize("fields", [{"log_jobs": False}, {"log_level": "warning"}])
def test_event_log_when_not_asked_for_then_none(fields: dict[str, object]) -> None:
    assert event_log(settings(**fields), "api") is None


def test_event_log_when_json_then_a_line_like_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    configure().info("a record")
    log = event_log(settings(), "api")
    assert log
    log("request", {"status": 200, "path": "/a\nb"})
    record, line = entries(capsys)
    assert line.pop("timestamp")[:13] == record["timestamp"][:13]
    assert line == {"event": "request", "level": "info", "logger": "api", "status": 200, "path": "/a\nb"}


def test_event_log_when_console_then_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console")
    log = event_log(settings(log_format="console"), "api")
    assert log
    log("request", {"status": 200})
    written = capsys.readouterr().err
    assert "request" in written
    assert "status" in written
