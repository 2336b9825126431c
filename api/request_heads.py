"""Request heads as bytes: written again without an upgrade, and the first part of one found at the end of a piece.

Knows nothing of sockets and of the application.
"""

from collections.abc import Iterable

_EMPTY_LINE = b"\r\n\r\n"
_UPGRADE_OPTIONS = frozenset({b"upgrade", b"http2-settings"})


def head_without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a head that asks for no other protocol: a server may ignore Upgrade (RFC 9110, section 7.8).

    headers: (lower-case name, value), as the parser gave them.
    """
    lines = [b"%s %s HTTP/%s\r\n" % (method, target, version.encode())]
    for name, value in headers:
        kept = _without_upgrade(value) if name == b"connection" else value
        if name != b"upgrade" and (kept or name != b"connection"):
            lines.append(b"%s: %s\r\n" % (name, kept))
    return b"".join([*lines, b"\r\n"])


def begun_head_bytes(data: bytes, last_body: bytes) -> int:
    """Return how many bytes of the next head are at the end of `data`; at least 1.

    data: ends a message, and begins the next head. last_body: the part of `data` that is the end of that message's
    body; empty where the message had no body or a chunked one, which both end with an empty line.
    """
    rest = data[_after_empty_line(data) :]
    if not last_body:  # the empty line may have begun in the piece before
        return len(rest.lstrip(b"\r\n"))
    return max(1, len(rest) - (len(last_body) - _after_empty_line(last_body)))


def _without_upgrade(connection: bytes) -> bytes:
    options = (option.strip() for option in connection.split(b","))
    return b", ".join(option for option in options if option.lower() not in _UPGRADE_OPTIONS)


def _after_empty_line(data: bytes) -> int:
    at = data.rfind(_EMPTY_LINE)
    return at + len(_EMPTY_LINE) if at >= 0 else 0
