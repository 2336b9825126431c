"""The limits of a connection, and the answers of those who break them. Knows nothing of sockets and of the application.

An answer from here is written by the protocol itself, before a request exists.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from api.connections import INTERNAL
from api.problems import PROBLEM_JSON, PROBLEM_TYPES

KIB = 2**10
MAX_HEAD_BYTES = 64 * KIB
# What chunk sizes, extensions and trailers may take beyond the body's own size. A chunk costs 1 us, however small.
MAX_FRAMING_BYTES = 16 * KIB
# Paths and queries are decoded and matched at up to 0.5 us a byte.
MAX_TARGET_BYTES = 8 * KIB
# More than any length that the parser takes, and few enough to convert.
MAX_LENGTH_DIGITS = 64
# As many as Apache takes; browsers behind two proxies send about 40.
MAX_HEADERS = 100
# Requests that wait on one connection while another of it is served.
MAX_PIPELINED = 8
# From the first byte of a head to its last; also how long a new connection may stay silent.
HEAD_S = 10.0
# How long a kept-alive connection may stay silent. Proxies keep theirs for 60 s, so that they close first.
IDLE_S = 75.0
# A body may be this long behind a rate of so many bytes a second. It cannot be ahead of it.
BODY_PAUSE_S = 30.0
BODY_BYTES_PER_S = 512
# A client that reads nothing of its answer for this long is cut off.
STALL_S = 60.0
# The unread rest of a refused body up to this size is read, and the connection stays open; beyond, it ends.
MAX_REST_BYTES = 64 * KIB
# Then this much of the rest is discarded, within this time, so that the client reads the answer rather than a reset.
# Clients that write the whole body before they read (urllib) need the whole of it.
MAX_DISCARDED_BYTES = 64 * KIB * KIB
# The same where no request is whole: there nothing is worth waiting for.
MAX_DISCARDED_HEAD_BYTES = 64 * KIB
DISCARD_S = 1.0
# RFC 3986's characters of a host, and a port. Empty is allowed (RFC 9112, section 3.2).
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]*)(:[0-9]{0,5})?")


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a connection ends: the answer (status, title, detail) and `reason`, its name in log and metrics."""

    status: HTTPStatus
    reason: str
    detail: str

    def answer(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the whole response, problem+json in its body."""
        body = orjson.dumps(
            {
                "type": PROBLEM_TYPES + self.reason.replace("_", "-"),
                "title": self.status.phrase,
                "status": int(self.status),
                "detail": self.detail,
                "code": self.reason,
                "error": self.detail,
            }
        )
        headers = [
            *default_headers,
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (self.status, self.status.phrase.encode(), lines, body)


def not_http(reason: str) -> Violation:
    """Return the violation of what the parser cannot read."""
    return Violation(HTTPStatus.BAD_REQUEST, "bad_http", f"this is not HTTP/1.1: {reason}")


HEAD_TOO_LARGE = Violation(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"request line and headers have more than {MAX_HEAD_BYTES} bytes, which is the limit; send shorter ones",
)
TARGET_TOO_LONG = Violation(
    HTTPStatus.REQUEST_URI_TOO_LONG,
    "target_too_long",
    f"path and query have more than {MAX_TARGET_BYTES} bytes, which is the limit; send a shorter URL",
)
TOO_MANY_HEADERS = Violation(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "too_many_headers",
    f"the request has more than {MAX_HEADERS} headers, which is the limit; send fewer",
)
HEAD_TIMEOUT = Violation(
    HTTPStatus.REQUEST_TIMEOUT,
    "head_timeout",
    f"request line and headers took more than {HEAD_S:.0f} s, which is the limit; send them at once",
)
BODY_TIMEOUT = Violation(
    HTTPStatus.REQUEST_TIMEOUT,
    "body_timeout",
    f"the body is {BODY_PAUSE_S:.0f} s behind {BODY_BYTES_PER_S} bytes/s, the lowest rate; send it again, and faster",
)
LENGTH_TOO_LONG = not_http(f"Content-Length has more than {MAX_LENGTH_DIGITS} characters; send the number alone")
FRAMING_TOO_LARGE = Violation(
    HTTPStatus.BAD_REQUEST,
    "framing_too_large",
    f"chunk sizes, extensions and trailers exceed the body by more than {MAX_FRAMING_BYTES} bytes; send larger chunks",
)
BAD_HOST = Violation(
    HTTPStatus.BAD_REQUEST, "bad_host", "an HTTP/1.1 request has exactly one valid Host header; send one"
)
BAD_VERSION = Violation(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_version", "only HTTP/1.0 and HTTP/1.1 are read here"
)
UNKNOWN_CODING = Violation(
    HTTPStatus.NOT_IMPLEMENTED,
    "unknown_transfer_coding",
    "chunked is the only Transfer-Encoding that is read here; send the body as it is, or with Content-Encoding",
)
NOT_CHUNKED = not_http("a Transfer-Encoding ends with chunked; send chunked alone, or Content-Length")
CHUNKED_IN_1_0 = not_http("HTTP/1.0 has no Transfer-Encoding; send Content-Length")
TOO_MANY_PIPELINED = Violation(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_pipelined",
    f"{MAX_PIPELINED} requests wait on this connection, which is the limit; send the rest again",
)
TOO_MANY_CONNECTIONS = Violation(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_connections",
    "this process has as many connections as it may (FERRY_MAX_CONNECTIONS); try again, or reuse a connection",
)


INTERNAL_ERROR = Violation(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    INTERNAL,
    "the request could not be read, by a fault of the server; its log says more",
)


def is_host(value: bytes) -> bool:
    """Whether a Host header may have this value."""
    return _HOST.fullmatch(value) is not None


def violation_of_head(version: str, target_bytes: int, *, n_hosts: int, is_chunked: bool) -> Violation | None:
    """Return what a whole head breaks of what its parser lets pass."""
    if version not in ("1.1", "1.0"):
        return BAD_VERSION
    if target_bytes > MAX_TARGET_BYTES:
        return TARGET_TOO_LONG
    if n_hosts > 1 or (version == "1.1" and not n_hosts):
        return BAD_HOST
    if is_chunked and version == "1.0":
        return CHUNKED_IN_1_0
    return None
