"""What the proxies in front say of a request: X-Forwarded-* or Forwarded (RFC 7239). Knows no settings.

A proxy adds its entry to the right of what it got. An entry is believed only if a trusted proxy wrote everything to its
right. A proxy writes one of the two kinds of headers; the other one, where it is sent too, may be a client's.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ferry.networks import address_of

# One pair of an element, or the comma that ends the element; quoted values may hold commas and semicolons.
# Lengths are bounded, so that the work is linear in the header's length.
_TOKEN = re.compile(r"""([A-Za-z]{1,10})=("(?:[^"\\]|\\.){0,256}"|[^\s",;]{0,256})|(,)""")
# Entries read from the right; those further left were written by a client.
MAX_HOPS = 32
# Characters of a Forwarded header that are read, its last ones; MAX_HOPS elements have fewer.
MAX_TEXT = 4096


class Forwarded(NamedTuple):
    """Client address, scheme, host and prefix as proxies name them; each is empty when it is not named."""

    client: str = ""
    scheme: str = ""
    host: str = ""
    prefix: str = ""


def forwarded_of(headers: Mapping[str, str], trusts: Callable[[str], bool]) -> Forwarded:
    """Return what the proxies say; `headers` came from a trusted one.

    Where X-Forwarded-* and Forwarded are sent, a client may have written either: believed is what both say alike.
    """
    plain, standard = _plain(headers, trusts), _standard(headers.get("forwarded", ""), trusts)
    if plain is None or standard is None:
        return plain or standard or Forwarded()
    return Forwarded(*(one if one == other else "" for one, other in zip(plain, standard, strict=True)))


def _plain(headers: Mapping[str, str], trusts: Callable[[str], bool]) -> Forwarded | None:
    """Return what X-Forwarded-* say; None where there are none."""
    names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")
    hops, scheme, host, prefix = (headers.get(name, "") for name in names)
    if not (hops or scheme or host or prefix):
        return None
    # Of several values the last is the nearest proxy's own.
    client = _client(hops.rsplit(",", MAX_HOPS)[-MAX_HOPS:], trusts)[0]
    return Forwarded(client, _nearest(scheme).lower(), _nearest(host), _nearest(prefix))


def _standard(text: str, trusts: Callable[[str], bool]) -> Forwarded | None:
    """Return what a Forwarded header says; None where it says nothing."""
    elements = _elements(text[-MAX_TEXT:])[-MAX_HOPS:] if text else []
    if not elements:
        return None
    client, at = _client([element.get("for", "") for element in elements], trusts)
    return Forwarded(client, elements[at].get("proto", "").lower(), elements[at].get("host", ""))


def _client(hops: list[str], trusts: Callable[[str], bool]) -> tuple[str, int]:
    """Return the first address from the right that is no trusted proxy's, and its index; else the left-most one."""
    client, at = "", len(hops) - 1
    for index in range(len(hops) - 1, -1, -1):
        address = address_of(hops[index])
        if address is None:  # "unknown", or an obfuscated name: nothing to its left can be believed
            break
        client, at = str(address), index
        if not trusts(client):
            break
    return client, at


def _elements(text: str) -> list[dict[str, str]]:
    """Return the elements of a Forwarded header, each with its pairs by lower-case name."""
    elements: list[dict[str, str]] = [{}]
    for name, value, comma in _TOKEN.findall(text):
        if comma:
            elements.append({})
        else:
            elements[-1][name.lower()] = _unquoted(value)
    return [element for element in elements if element]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _nearest(values: str) -> str:
    return values.rpartition(",")[2].strip()
