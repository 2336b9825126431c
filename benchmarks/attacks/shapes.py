"""What each attacker sends: pieces of bytes with a pause after each. Knows nothing of sockets."""

from collections.abc import Callable, Iterator
from itertools import repeat

KIB = 2**10
BLOCK = b"x" * 64 * KIB
# More than FERRY_MAX_BODY_BYTES allows, and less.
UPLOAD_BYTES = 1600 * len(BLOCK)
LARGE_BYTES = 800 * len(BLOCK)

Pieces = Iterator[tuple[bytes, float]]
Shape = Callable[[bytes], Pieces]


def _head(verb: bytes, target: bytes, key: bytes, *lines: bytes) -> bytes:
    headers = [b"Host: ferry", *([b"Authorization: Bearer " + key] if key else []), *lines]
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (verb, target, b"\r\n".join(headers))


def _post(key: bytes, *lines: bytes) -> bytes:
    return _head(b"POST", b"/v1/predictions", key, b"Content-Type: application/json", *lines) + b"\r\n"


def _endless(begin: bytes, piece: bytes, pause_s: float = 0.0) -> Pieces:
    yield begin, 0.0
    yield from repeat((piece, pause_s))


def _whole(key: bytes, n_bytes: int) -> Pieces:
    yield _post(key, b"Content-Length: %d" % n_bytes), 0.0
    yield from repeat((BLOCK, 0.0), n_bytes // len(BLOCK))


def silent(_: bytes) -> Pieces:
    """Open a connection and say nothing."""
    yield from repeat((b"", 0.2))


def endless_header(key: bytes) -> Pieces:
    """One header that never ends, as fast as it goes."""
    return _endless(_head(b"GET", b"/v1/models", key) + b"X: ", BLOCK)


def endless_line(_: bytes) -> Pieces:
    """A request line that never ends."""
    return _endless(b"GET /", BLOCK)


def tiny_headers(key: bytes) -> Pieces:
    """Headers of four bytes without an end."""
    return _endless(_head(b"GET", b"/v1/models", key), b"a:b\r\n" * 2000)


def byte_by_byte(key: bytes) -> Pieces:
    """A long header in packets of one byte."""
    return _endless(_head(b"GET", b"/v1/models", key) + b"X: ", b"x")


def slow_head(key: bytes) -> Pieces:
    """A head of which a byte comes now and then."""
    return _endless(_head(b"GET", b"/v1/models", key) + b"X: ", b"x", 0.2)


def slow_body(key: bytes) -> Pieces:
    """A body of which a byte comes now and then."""
    return _endless(_post(key, b"Content-Length: 100000"), b"x", 0.2)


def tiny_chunks(key: bytes) -> Pieces:
    """A body in chunks of one byte."""
    return _endless(_post(key, b"Transfer-Encoding: chunked"), b"1\r\nx\r\n" * 2000)


def endless_extension(key: bytes) -> Pieces:
    """A chunk extension that never ends."""
    return _endless(_post(key, b"Transfer-Encoding: chunked") + b"1;", BLOCK)


def upload(key: bytes) -> Pieces:
    """A body that is larger than the limit."""
    return _whole(key, UPLOAD_BYTES)


def large_body(key: bytes) -> Pieces:
    """A body that the limit allows, so that it is read whole."""
    return _whole(key, LARGE_BYTES)


def held_body(key: bytes) -> Pieces:
    """A body within the limit of which all but the end comes fast, and the end byte by byte."""
    yield _post(key, b"Content-Length: %d" % LARGE_BYTES), 0.0
    yield from repeat((BLOCK, 0.0), LARGE_BYTES // len(BLOCK) - 1)
    yield from repeat((b"x", 1.0), len(BLOCK) - 1)


def pipelined(key: bytes) -> Pieces:
    """Requests by the hundred in one packet."""
    return _endless(b"", (_head(b"GET", b"/v1/models", key) + b"\r\n") * 500)


def long_target(key: bytes) -> Pieces:
    """Requests whose query fills the head."""
    return _endless(b"", _head(b"GET", b"/v1/files?" + b"a=%41&" * 10_000, key) + b"\r\n")


def garbage(_: bytes) -> Pieces:
    """What is no HTTP."""
    return _endless(b"", b"\xff" * 1000)


def deaf(key: bytes) -> Pieces:
    """Ask for large answers; the attacker does not read while it can send."""
    return _endless(b"", (_head(b"GET", b"/openapi.json", key) + b"\r\n") * 20, 0.1)


SHAPES: dict[str, Shape] = {
    shape.__name__: shape
    for shape in (
        silent, endless_header, endless_line, tiny_headers, byte_by_byte, slow_head, slow_body, tiny_chunks,
        endless_extension, upload, large_body, held_body, pipelined, long_target, garbage, deaf,
    )
}  # fmt: skip
# Their attackers do not look for an answer.
NEVER_READ = frozenset({"deaf"})
