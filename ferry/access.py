"""API keys: what one looks like, what it may do and whose things it sees. Knows neither Redis nor HTTP.

A key is shown once, as `ferry_{id}_{secret}`; only the secret's digest is kept. The secret is 32 random bytes, so a
plain SHA-256 is as good as a slow hash, which is for passwords that people choose, and costs a request nothing.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from ferry.errors import InvalidInputError

PREFIX = "ferry"
# A key that was revoked is refused by every API process within this time.
REVOKED_WITHIN_S = 1.0
_ID_BYTES = 6
_SECRET_BYTES = 32
_TOKEN = re.compile(rf"{PREFIX}_([0-9a-f]{{{2 * _ID_BYTES}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Scope(StrEnum):
    """What a key may do; each is asked for by itself, and `admin` implies the others."""

    SUBMIT = "submit"  # jobs, files and batches: make, cancel and delete its own
    READ = "read"  # jobs, files and batches: its own; models
    METRICS = "metrics"  # GET /metrics, for Prometheus
    ADMIN = "admin"  # everything, and everybody's


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept.

    owner: whose jobs, files and batches it makes and sees; several keys may have one owner, so that a key can be
    replaced. rate_per_s: jobs a second, on average. max_unfinished: jobs that wait or run at once. None: no limit.
    revoked_us: since when it is refused. ends_us: when it will be, because a rotation replaced it.
    All times are microseconds by Redis' clock.
    limited_as: id that its limits are counted under, of the key that it replaced; empty: its own.
    """

    id: str
    name: str
    owner: str
    scopes: frozenset[Scope]
    digest: str
    created_us: int
    rate_per_s: float | None = None
    max_unfinished: int | None = None
    revoked_us: int | None = None
    ends_us: int | None = None
    limited_as: str = ""

    def may(self, scope: Scope) -> bool:
        """Say whether the key is in force and has a scope."""
        return self.revoked_us is None and bool(self.scopes & {scope, Scope.ADMIN})

    def sees(self, owner: str) -> bool:
        """Say whether the key may see what belongs to `owner`."""
        return owner == self.owner or Scope.ADMIN in self.scopes

    def fits(self, secret: str) -> bool:
        """Say whether this is the key's secret, in a time that tells nothing of how much of it is right."""
        return hmac.compare_digest(digest_of(secret), self.digest)


def digest_of(secret: str) -> str:
    """Return the stored form of a secret."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def new_token() -> tuple[str, str, str]:
    """Return a new key's id, its secret, and the text that has both."""
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    return key_id, secret, f"{PREFIX}_{key_id}_{secret}"


def parse_token(text: str) -> tuple[str, str] | None:
    """Return id and secret of what may be a key, or None."""
    found = _TOKEN.fullmatch(text)
    return (found[1], found[2]) if found else None


def check_name(text: str, field: str) -> str:
    """Return a key's or an owner's name.

    Raises:
        InvalidInputError: it is none.
    """
    if not _NAME.fullmatch(text):
        detail = f"{field}: expected 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or digit"
        raise InvalidInputError.at(field, detail)
    return text


def scopes_from(text: str) -> frozenset[Scope]:
    """Return the scopes of a list such as "submit,read".

    Raises:
        InvalidInputError: one is unknown, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in set(Scope)]
    if unknown or not names:
        what = f"unknown scope {unknown[0][:40]!r}" if unknown else "no scope is named"
        raise InvalidInputError.at("scopes", f"{what}; there are {', '.join(Scope)}")
    return frozenset(map(Scope, names))
