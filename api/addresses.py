"""Where clients reach this API: prefix, public URL, and what trusted proxies say of a request. Knows no route.

Everything after this module sees paths without the prefix: routes, keys' scopes, counts, ids made of paths.
"""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import Scope

from api.forwarded import Forwarded, forwarded_of
from api.headers import headers_in
from ferry.networks import Address, address_of, is_host, is_prefix, networks_of
from ferry.settings import Settings

# A request's scope holds the prefix that its client sees, the host that a proxy named, and the public URL.
_PREFIX = "ferry.prefix"
_HOST = "ferry.host"
_PUBLIC_URL = "ferry.public_url"
# Set on a request for the prefix alone, without a slash at its end.
IS_BARE = "ferry.is_bare_prefix"
_SCHEMES = ("http", "https")


class Addresses:
    """What settings say of the proxies in front of this API."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.prefix
        self._public_url = settings.public_url
        self._trusted = networks_of(settings.trusted_proxies)
        # Each request of a proxy comes from the same few addresses.
        self._trusts = lru_cache(maxsize=1024)(self._is_in_trusted_network)
        self._is_plain = not (self._prefix or self._public_url or self._trusted)

    def enter(self, scope: Scope) -> None:
        """Make a request look as if no proxy stood between: scheme, client, and a path without the prefix."""
        if self._is_plain:
            return
        if self._trusted and self._is_trusted(scope):
            self._believe(scope, forwarded_of(headers_in(scope), self.trusts))
        if self._prefix:
            scope[_PREFIX] = self._prefix
            _strip(scope, self._prefix)
        if self._public_url:
            scope[_PUBLIC_URL] = self._public_url

    def trusts(self, text: str) -> bool:
        """Say whether an address belongs to a trusted proxy."""
        address = address_of(text)
        return address is not None and self._trusts(address)

    def _is_in_trusted_network(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _is_trusted(self, scope: Scope) -> bool:
        client = scope.get("client")
        return client is not None and self.trusts(client[0])

    def _believe(self, scope: Scope, said: Forwarded) -> None:
        if said.client:
            scope["client"] = (said.client, 0)
        if said.scheme in _SCHEMES:
            scope["scheme"] = said.scheme
        if is_host(said.host):
            scope[_HOST] = said.host
        prefix = said.prefix.rstrip("/")
        if is_prefix(prefix):
            scope[_PREFIX] = prefix


def _strip(scope: Scope, prefix: str) -> None:
    """Take the prefix off a path that has it. A proxy that strips it sends paths without."""
    path: str = scope["path"]
    if path == prefix:
        scope["path"], scope[IS_BARE] = "/", True
    elif path.startswith(f"{prefix}/"):
        scope["path"] = path[len(prefix) :]
        raw: bytes = scope.get("raw_path") or b""
        if raw.startswith(prefix.encode()):
            scope["raw_path"] = raw[len(prefix) :]


def prefix_of(request: Request) -> str:
    """Return the path prefix that the client of a request sees; empty is none."""
    prefix: str = request.scope.get(_PREFIX, "")
    return prefix


def public_path(request: Request, path: str) -> str:
    """Return a path of the API as the client of a request sees it."""
    return prefix_of(request) + path


def location_of(request: Request, path: str) -> str:
    """Return a `Location` for a path of the API.

    It is absolute under FERRY_PUBLIC_URL. Else it is a path, which a client resolves against the URL it asked: that is
    right behind a proxy that does not tell scheme and host.
    """
    base: str = request.scope.get(_PUBLIC_URL) or request.scope.get(_PREFIX, "")
    return base + path


def base_url_of(request: Request, headers: Mapping[str, str]) -> str:
    """Return scheme, host and prefix as the client sees them, without a slash at the end."""
    scope = request.scope
    if url := scope.get(_PUBLIC_URL):
        return str(url)
    host = scope.get(_HOST) or headers.get("host")
    if host is None:
        parts = urlsplit(str(request.base_url))
        return f"{parts.scheme}://{parts.netloc}{scope.get(_PREFIX, '')}"
    return f"{scope['scheme']}://{host}{scope.get(_PREFIX, '')}"
