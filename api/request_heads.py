"""Request heads as bytes: a head is written again without its request for an upgrade.

Knows nothing of sockets and of the application.
"""

from collections.abc import Iterable

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


def _without_upgrade(connection: bytes) -> bytes:
    options = (option.strip() for option in connection.split(b","))
    return b", ".join(option for option in options if option.lower() not in _UPGRADE_OPTIONS)
