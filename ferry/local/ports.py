"""Which port each part listens on: the wanted one where it can be had, else a free one. Knows nothing of the parts."""

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from ferry.errors import ConfigError

ANY_PORT = 0
# Errors of bind that another port on the same address cures, and what the user reads then.
_CURED_BY_ANOTHER_PORT = {errno.EADDRINUSE: "is taken", errno.EACCES: "needs more rights"}


@dataclass(frozen=True, slots=True)
class PortWish:
    """What to listen on: `port` 0 is any free one; `what` names the listener in messages."""

    what: str
    host: str
    port: int = ANY_PORT


@dataclass(frozen=True, slots=True)
class ChosenPort:
    """The port to use; `note` tells the user why it is not the one asked for, and is empty where it is."""

    number: int
    note: str = ""

    @property
    def is_moved(self) -> bool:
        """Whether the port asked for could not be had."""
        return bool(self.note)


def choose_ports(*wishes: PortWish) -> tuple[ChosenPort, ...]:
    """Return one port per wish, all different; nothing listens on them yet.

    Raises:
        ConfigError: when a host is no address of this machine.
    """
    # All are held until all are chosen, or the kernel could hand out the same free port twice.
    with ExitStack() as held:
        return tuple(_choose(wish, held) for wish in wishes)


def check_listen(what: str, host: str, port: int, *, settings: str) -> None:
    """Return when a server could listen there; `settings` names what says where.

    Raises:
        ConfigError: host or port cannot be used, and why.
    """
    try:
        with ExitStack() as held:
            _bind(host, port, held)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{what} cannot listen on {host}:{port} ({settings}): {reason}") from None


def _choose(wish: PortWish, held: ExitStack) -> ChosenPort:
    try:
        return ChosenPort(_bind(wish.host, wish.port, held))
    except OSError as error:
        why = _CURED_BY_ANOTHER_PORT.get(error.errno or 0)
        if why is None or wish.port == ANY_PORT:
            raise ConfigError(
                f"{wish.what} cannot listen on {wish.host}:{wish.port}: {error.strerror or error}; "
                "set its host to an address of this machine"
            ) from None
    number = _bind(wish.host, ANY_PORT, held)
    return ChosenPort(number, f"port {wish.port} {why}, {wish.what} is on {number}")


def _bind(host: str, port: int, held: ExitStack) -> int:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    # As the servers themselves do it: a port whose last connections linger in TIME_WAIT is free.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    # Two sockets that do not listen may share a port under SO_REUSEADDR.
    listener.listen()
    number: int = listener.getsockname()[1]
    return number


def url_of(host: str, port: int) -> str:
    """Return the address a browser on this machine can open; a wildcard host becomes the loopback."""
    reachable = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
