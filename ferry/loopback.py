"""Keeps the environment's HTTP proxies away from this machine's own addresses. Knows no client of Ferry.

HTTP_PROXY and ALL_PROXY hold for 127.0.0.1 too unless NO_PROXY names it, and no proxy elsewhere can reach it.
"""

import ipaddress
from collections.abc import MutableMapping

import httpx

HOSTS = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def direct_mounts(base_url: str) -> dict[str, None]:
    """Return the `mounts` of an httpx client of `base_url`: on this machine it is asked without a proxy."""
    host = httpx.URL(base_url).host
    if not is_loopback(host):
        return {}
    return {f"all://[{host}]" if ":" in host else f"all://{host}": None}


def exempt_loopback(environ: MutableMapping[str, str]) -> None:
    """Add this machine to NO_PROXY, which every HTTP library and every process that is started from here reads.

    For a process of Ferry's own, at its start: storage on this machine, say, is asked through botocore or aiohttp.
    """
    named = f"{environ.get('no_proxy', '')},{environ.get('NO_PROXY', '')}"
    words = list(dict.fromkeys(word.strip() for word in named.split(",") if word.strip()))
    if "*" not in words:
        words += [host for host in HOSTS if host not in words]
    # Libraries differ in which of the two they read first.
    environ["no_proxy"] = environ["NO_PROXY"] = ",".join(words)
