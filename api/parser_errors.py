"""Why the HTTP parser stopped: what the client sent, or a fault of ours, which is logged. Knows nothing of sockets."""

import logging

import httptools

from api import http_limits as limits
from api.http_limits import Violation

logger = logging.getLogger(__name__)


def violation_of(error: httptools.HttpParserError, target: bytes) -> Violation:
    """Return what ends the connection: 400 for what the client sent, 500 for an error in one of our callbacks.

    uvicorn reads the target in a callback, so a target without a path is an error there, and yet the client's.
    """
    if not isinstance(error, httptools.HttpParserCallbackError) or not _has_path(target):
        return limits.not_http(str(error))
    logger.error("reading a request failed; its connection ends", exc_info=error.__context__)
    return limits.INTERNAL_ERROR


def _has_path(target: bytes) -> bool:
    try:
        path = httptools.parse_url(target).path
    except httptools.HttpParserInvalidURLError:
        return False
    return path is not None and path.isascii()
