import json
import logging
import re
import sys
import threading
from decimal import Decimal
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]  # the parsed form has no public name
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
import pytest
import redis
import structlog

from ferry.errors import InvalidInputError, QueueUnavailableError
from ferry.log_text import _ADDRESS, _SECRETS, _SUSPECT, clean, clean_text, describe
from ferry.logs import configure_logging, event_log
from ferry.settings import Settings

PATTERNS = [_SUSPECT, _ADDRESS, *(pattern for pattern, _ in _SECRETS)]
CHATTY = ("httpx", "kombu", "uvicorn.access", "asyncio", "celery.app.trace")


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
    assert (entry["event"], entry["level"], entry["logger"]) == ("job abc is late\\nby a day", "warning", "ferry.test")
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
    assert line == {"event": "request", "level": "info", "logger": "api", "status": 200, "path": "/a\\nb"}


def test_event_log_when_console_then_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console")
    log = event_log(settings(log_format="console"), "api")
    assert log
    log("request", {"status": 200})
    written = capsys.readouterr().err
    assert "request" in written
    assert "status" in written


# --- nothing of a secret, of rows or of control characters


KEY = "ferry_0123456789ab_" + "Zx" * 21 + "Z"
ROW = "patient 4711 0.123456789"
FORMATS = pytest.mark.parametrize("log_format", ["json", "console"])


def fail(key: str, rows: list[str]) -> None:
    """Raise as a parser does, which quotes what it refuses; the locals hold it too."""
    raise ValueError(f"could not read {rows} of {key}")


@FORMATS
def test_configure_logging_when_an_error_quotes_rows_and_key_then_neither_is_written(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    logger = configure(log_format)
    try:
        fail(KEY, [ROW])
    except ValueError as error:
        logger.exception("it failed: %s", error)  # noqa: TRY401  as a library may do it
        structlog.get_logger("ferry.bound").error("it failed", exc_info=True, key=KEY, rows=[ROW.encode()])
        of_celery = {"name": "t", "exc": str(error), "traceback": KEY}
        logger.warning("task %(name)s raised: %(exc)s\n%(traceback)s", of_celery)
    written = capsys.readouterr().err
    assert written.count("in fail") == 2
    assert "ValueError" in written
    assert KEY[20:] not in written
    assert ROW not in written
    assert "4711" not in written


@FORMATS
def test_configure_logging_when_an_error_was_raised_from_another_then_both_are_shown_bounded(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ZeroDivisionError("division by zero")
        deep(n - 1)

    logger = configure(log_format)
    try:
        try:
            deep(500)
        except ZeroDivisionError as error:
            raise KeyError(ROW) from error
    except KeyError:
        logger.exception("it failed")
    written = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in written
    assert "builtins.KeyError" in written
    assert "more frames" in written
    assert len(written) < 10_000


@FORMATS
@pytest.mark.parametrize("sign", ["\n", "\r", "\x1b[2J", "\x9b31m", "\u202e", "\u2028", "\x00", "\x7f", "\ud800"])
def test_configure_logging_when_a_client_sends_control_characters_then_they_are_escaped(
    capsys: pytest.CaptureFixture[str], log_format: str, sign: str
) -> None:
    configure(log_format).warning("GET %s failed", f"/a{sign}b")
    log = event_log(settings(log_format=log_format), "api")
    assert log
    log("request", {"path": f"/a{sign}b"})
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 2
    assert sign[0] not in written.replace("\n", "")
    assert "\\u" in written or "\\x" in written or "\\n" in written or "\\r" in written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer ***"),
        (f"key {KEY} is wrong", "key ferry_0123456789ab_*** is wrong"),
        ("redis://:hunter2@host:6379/0 is away", "redis://***@host:6379/0 is away"),
        ("redis://user:hun/ter2@host", "redis://***@host"),
        ("redis://:p@ss@host/0 is away", "redis://***@host/0 is away"),
        ("redis://:it's@host, away", "redis://***@host, away"),
        ("redis://:a://b@host is away", "redis://***@host is away"),
        ("http://a/b and redis://:pw@host", "http://a/b and redis://***@host"),
        ("PUT https://b.s3/o?X-Amz-Signature=abc&x=1 gave 403", "PUT https://b.s3/o?*** gave 403"),
        ("PUT https://b.s3/o?name='x'&X-Amz-Signature=abc gave 403", "PUT https://b.s3/o?*** gave 403"),
        ("PUT https://u:p@b.s3/o?X-Amz-Signature=abc", "PUT https://***@b.s3/o?***"),
        ("aws_secret_access_key=abc", "aws_secret_access_key=***"),
        ("{'secret_access_key': 'abc'}", "{'secret_access_key': ***}"),
        ("password=hunter2, port=1", "password=***, port=1"),
        ("x" * 5000, "x" * 2000 + "..."),
        ("what is key to it", "what is key to it"),
    ],
)
def test_clean_text_when_it_holds_a_secret_then_only_that_is_left_out(text: str, shown: str) -> None:
    assert clean_text(text) == shown


@pytest.mark.parametrize("value", [np.int64(5), np.float32(5), Decimal(5), np.uint8(5), 5])
def test_log_when_a_number_is_of_a_library_then_written_as_a_number(
    capsys: pytest.CaptureFixture[str], value: object
) -> None:
    configure().warning("%d rows at %s", value, Path("/a/b"))
    assert entries(capsys)[0]["event"] == "5 rows at /a/b"


def test_log_when_the_arguments_do_not_fit_then_the_text_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure().warning("%d rows of %s", [47.11], KEY)
    configure().warning("%s of %s", KEY)
    written = capsys.readouterr().err
    assert "%d rows of %s" in written
    assert "47.11" not in written
    assert KEY[19:] not in written


def endless(items: Any, *, is_last: bool = True) -> list[Any]:
    """Return the repeats of a parsed pattern that are long or endless, and after which more must match."""
    found = []
    for place, (kind, value) in enumerate(items):
        ends = is_last and place == len(items) - 1
        if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT):
            _, most, repeated = value
            found += [value] * (most > 64 and not ends) + endless(repeated, is_last=ends and most == 1)
        elif kind is constants.SUBPATTERN:
            found += endless(value[-1], is_last=ends)
        elif kind is constants.BRANCH:
            found += [each for branch in value[1] for each in endless(branch, is_last=ends)]
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_when_read_then_only_the_last_part_may_be_of_any_length(pattern: re.Pattern[str]) -> None:
    # Then a try at one place either fails after few steps, or matches and takes what it read: the work is linear.
    assert endless(parser.parse(pattern.pattern, pattern.flags)) == []


@pytest.mark.parametrize("pattern", [r"a+b", r"(a+)?b", r"(?:a|b+)c", r"(?:a{1,9}b*)+", r"a{0,500}b"])
def test_endless_when_a_pattern_has_a_long_repeat_before_its_end_then_found(pattern: str) -> None:
    assert endless(parser.parse(pattern))


def test_clean_when_a_field_is_an_object_then_only_its_type() -> None:
    assert clean({"rows": (1, b"rows", {"a": object()})}) == {"rows": [1, "<bytes>", {"a": "<object>"}]}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (InvalidInputError("4711 is no float"), "InvalidInputError (its text may hold"),
        (QueueUnavailableError("Redis is away"), "QueueUnavailableError: Redis is away"),
        (FileNotFoundError(2, "No such file or directory", "/secret"), "FileNotFoundError: [Errno 2] No such file or"),
        (OSError("4711"), "builtins.OSError (its text may"),
        (redis.ConnectionError("Error 111 connecting"), "ConnectionError: Error 111 connecting"),
    ],
)
def test_describe_when_an_error_may_quote_a_client_then_only_its_type(error: Exception, shown: str) -> None:
    described = describe(error)
    assert described.startswith(shown)
    assert "4711" not in described
    assert "/secret" not in described


def test_configure_logging_when_nobody_catches_an_error_then_it_is_a_line_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure()
    thread = threading.Thread(target=fail, args=(KEY, [ROW]), name="helper")
    thread.start()
    thread.join()
    try:
        fail(KEY, [ROW])
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    first, second = entries(capsys)
    assert first["event"] == "an error ended thread helper"
    assert "in fail" in first["exception"]
    assert (second["event"], second["level"]) == ("an error ended this process: ValueError", "critical")
    assert ROW not in first["exception"] + second["exception"]
