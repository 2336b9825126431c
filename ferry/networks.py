"""Addresses, networks, origins and URL prefixes as settings name them. Knows no setting and no request."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 with a zone, brackets and a port has fewer.
MAX_ADDRESS_CHARS = 128
# Ferry's own paths. A prefix that begins with one of them could not be told from the path after it.
OWN_PATHS = frozenset({"docs", "metrics", "openapi.json", "predict", "static", "v1", "v2"})
# One or more segments of unreserved characters (RFC 3986), so that a prefix reads the same before and after decoding.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def words_of(text: str) -> list[str]:
    """Return the parts of a comma-separated list without white space and empty parts."""
    return [word for part in text.split(",") if (word := part.strip())]


def networks_of(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list of addresses and CIDRs.

    Raises:
        ValueError: a part is neither.
    """
    return tuple(ipaddress.ip_network(word, strict=False) for word in words_of(text))


def address_of(text: str) -> Address | None:
    """Return an address, with `[]` and port taken off and IPv4 taken out of IPv6; None when it is none."""
    return _address_of(text) if len(text) <= MAX_ADDRESS_CHARS else None


# Each request of a proxy names the same few.
@lru_cache(maxsize=1024)
def _address_of(text: str) -> Address | None:
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_host(text: str) -> bool:
    """Say whether a text is a host name or address with or without a port."""
    return _HOST.fullmatch(text) is not None


def is_prefix(text: str) -> bool:
    """Say whether a text is a path prefix: `/a` or `/a/b`, each segment of letters, digits and `._~-`."""
    return _PREFIX.fullmatch(text) is not None


def checked_prefix(text: str) -> str:
    """Return a path prefix without a slash at its end; empty is none.

    Raises:
        ValueError: it is no prefix, or begins with a path of Ferry's own.
    """
    prefix = text.rstrip("/")
    if prefix and not is_prefix(prefix):
        raise ValueError("must be a path such as /ferry, of letters, digits and ._~-, or empty")
    if prefix and (first := prefix.split("/")[1]) in OWN_PATHS:
        raise ValueError(f"must not begin with /{first}, which is a path of Ferry's own")
    return prefix


def checked_public_url(text: str) -> str:
    """Return a public URL without a slash at its end; empty is none.

    Raises:
        ValueError: it is no http or https URL of a host with or without a path prefix.
    """
    parts = urlsplit(text)
    is_good = parts.scheme in ("http", "https") and is_host(parts.netloc) and not (parts.query or parts.fragment)
    if text and not is_good:
        raise ValueError("must be a URL such as https://ferry.example.org or https://example.org/ferry, or empty")
    checked_prefix(parts.path)
    return text.rstrip("/")


def checked_origins(text: str) -> str:
    """Return a comma-separated list of origins as browsers write them, or `*`, or nothing.

    Raises:
        ValueError: a part is no origin, or `*` is not alone.
    """
    words = words_of(text)
    for word in words if words != ["*"] else []:
        scheme, _, host = word.partition("://")
        if scheme not in ("http", "https") or not is_host(host):
            raise ValueError("must be origins such as https://app.example.org, with commas between; or * alone")
    return ",".join(word.lower() for word in words)
