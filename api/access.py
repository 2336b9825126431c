"""Who asks: the API key of a request, and whether it may do what the request asks for."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ferry.access import REVOKED_WITHIN_S, ApiKey, Scope, parse_token
from ferry.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from ferry.job_ids import SEPARATOR, scoped_id, split_id
from ferry.jobs import LimitsLeft

# A key is read again after this time.
SEEN_S = REVOKED_WITHIN_S
# A key that was over its limits is told so without a further look for this long, and not before it is over: whoever
# ignores Retry-After costs this process next to nothing. Up to as long again, by chance, keeps a crowd from coming back
# in one moment, in which others would wait.
HOLD_S = 0.25
# More keys than this are not remembered at once.
MOST_SEEN = 10_000
_OPEN = frozenset({"/", "/docs", "/v2", "/v2/health/live", "/v2/health/ready"})
# What the page is made of holds nothing of anybody.
_STATIC = "/static/"
# Any key that is in force may ask what it may do.
OF_ANY_KEY = frozenset({"/v1/key"})
_ADMIN = ("/v1/dead-letters", "/v1/owners")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class HeldError(RateLimitedError):
    """The key was over its limits a moment ago; the queue was not asked. It does not hold the key for longer.

    left: what was left of its limits then.
    """

    left: LimitsLeft | None = None


class KeyFinder(Protocol):
    """What the gate needs of the keys (ferry.queue.key_book.KeyReader)."""

    async def find(self, key_id: str) -> ApiKey | None:
        """Return a key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. owner: whose things it makes. key: None where no key is needed; that caller may do and see all."""

    owner: str = ""
    key: ApiKey | None = None

    def sees(self, owner: str) -> bool:
        """Say whether what belongs to `owner` is this caller's to see."""
        return self.key is None or self.key.sees(owner)

    def job_id(self, called: str) -> str:
        """Return the id by which the queue knows the job that this caller calls `called`.

        A caller who sees everybody's jobs may call them `owner~id`, and `~id` a job without an owner.
        """
        if SEPARATOR in called and self.lists is None:
            return scoped_id(*split_id(called))
        return scoped_id(self.owner, called)

    def calls(self, job_id: str) -> str:
        """Return what this caller calls a job, which `job_id` turns back."""
        owner, own_id = split_id(job_id)
        return own_id if owner == self.owner else f"{owner}{SEPARATOR}{own_id}"

    def keyed(self, path: str, key: str) -> str:
        """Return the text that stands for what this caller asks for at a path under an Idempotency-Key."""
        whose = f"{self.owner}\0" if self.owner else ""
        return f"{whose}{path}\0{key}"

    @property
    def lists(self) -> str | None:
        """Whose things a list shows this caller; None: everybody's."""
        return None if self.key is None or Scope.ADMIN in self.key.scopes else self.owner


ANYBODY = Caller()


def scope_of(method: str, path: str) -> Scope | None:
    """Return what a request needs; None: nothing. What nobody has thought of needs `admin`, unless it only reads."""
    if path in _OPEN or path.startswith(_STATIC):
        return None
    if path == "/metrics":
        return Scope.METRICS
    if path.startswith(_ADMIN):
        return Scope.ADMIN
    if method in _READING or path == "/v2/repository/index":
        return Scope.READ
    return Scope.SUBMIT if path.startswith(("/v1/", "/v2/models/", "/predict")) else Scope.ADMIN


class Gate:
    """Lets requests in; remembers keys for a moment, so that a busy client costs Redis one look a second."""

    def __init__(
        self,
        finder: KeyFinder | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`finder` None: no key is needed."""
        self._finder = finder
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._seen: dict[str, tuple[float, ApiKey | None]] = {}
        self._held: dict[str, tuple[float, RateLimitedError, LimitsLeft | None]] = {}

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return self._finder is None

    async def admit(
        self, method: str, path: str, headers: Mapping[str, str], *, on_known: Callable[[Caller], None] = lambda _: None
    ) -> Caller:
        """Return who asks; `on_known` hears it even where the caller is refused for its limits.

        Raises:
            UnauthenticatedError: a key is needed, and there is none that is in force.
            ForbiddenError: the key has not the scope.
            HeldError: the key was over its limits a moment ago.
            QueueUnavailableError: the key could not be looked up.
        """
        scope = scope_of(method, path)
        if self._finder is None or scope is None:
            return ANYBODY
        key = await self._key(self._finder, headers.get("authorization"))
        if not key.may(scope) and path not in OF_ANY_KEY:
            has = ", ".join(sorted(key.scopes)) or "none"
            raise ForbiddenError(f"{method} {path} needs a key with scope {scope}; key {key.id} has {has}")
        caller = Caller(key.owner, key)
        on_known(caller)
        if scope is Scope.SUBMIT and key.id in self._held and method == "POST":
            await self._wait_out(key.id)
        return caller

    async def confirm(self, caller: Caller) -> None:
        """Check that a caller's key is still in force, after a request that may have taken long to arrive.

        Else a request that began before its owner was erased would leave something behind. Redis is asked only where
        the key was last read SEEN_S ago.

        Raises:
            UnauthenticatedError: it was revoked meanwhile.
            QueueUnavailableError: the key could not be looked up.
        """
        if self._finder is None or caller.key is None:
            return
        key = await self._look_up(self._finder, caller.key.id)
        if key is None or key.revoked_us is not None:
            raise UnauthenticatedError("this API key was revoked while the request was being sent")

    def hold(self, key: ApiKey, error: RateLimitedError, left: LimitsLeft | None = None) -> None:
        """Let a key that is over its limits wait for a moment before it is looked at again."""
        self._held[key.id] = (self._clock() + HOLD_S, error, left)

    async def _wait_out(self, key_id: str) -> None:
        until, error, left = self._held[key_id]
        rest = until - self._clock()
        if rest <= 0:
            self._held.pop(key_id, None)
            return
        await self._sleep(rest + self._chance() * HOLD_S)
        held = HeldError(error.detail, retry_after_s=error.retry_after_s)
        held.left = left
        raise held

    async def _key(self, finder: KeyFinder, header: str | None) -> ApiKey:
        if header is None:
            raise UnauthenticatedError(
                "send `Authorization: Bearer ferry_...` (`ferry batch`: FERRY_API_KEY); `ferry keys create` makes one"
            )
        kind, _, text = header.partition(" ")
        token = parse_token(text.strip()) if kind.lower() == "bearer" else None
        if token is None:
            raise UnauthenticatedError("the Authorization header holds no API key of Ferry: `Bearer ferry_...`")
        key_id, secret = token
        key = await self._look_up(finder, key_id)
        # An unknown key, a wrong secret and a revoked key are told apart by nobody outside.
        if key is None or not key.fits(secret) or key.revoked_us is not None:
            raise UnauthenticatedError("this API key is not known or was revoked")
        return key

    async def _look_up(self, finder: KeyFinder, key_id: str) -> ApiKey | None:
        now = self._clock()
        seen = self._seen.get(key_id)
        if seen and now - seen[0] < SEEN_S:
            return seen[1]
        key = await finder.find(key_id)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[key_id] = (now, key)
        return key
