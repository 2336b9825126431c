import pytest

from api.access import ANYBODY, HOLD_S, MOST_SEEN, SEEN_S, Caller, Gate, scope_of
from ferry.access import ApiKey, Scope, digest_of
from ferry.errors import ForbiddenError, RateLimitedError, UnauthenticatedError

pytestmark = pytest.mark.anyio

SECRET = "s" * 43


class Finder:
    def __init__(self, *found: ApiKey) -> None:
        self.found = {key.id: key for key in found}
        self.asked: list[str] = []

    async def find(self, key_id: str) -> ApiKey | None:
        self.asked.append(key_id)
        return self.found.get(key_id)


def key(key_id: str = "0a1b2c3d4e5f", scopes=(Scope.SUBMIT,), revoked_us: int | None = None) -> ApiKey:
    return ApiKey(key_id, "ci", "ann", frozenset(scopes), digest_of(SECRET), 1, revoked_us=revoked_us)


def bearer(key_id: str = "0a1b2c3d4e5f", secret: str = SECRET) -> dict[str, str]:
    return {"authorization": f"Bearer ferry_{key_id}_{secret}"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/health/ready", None),
        ("POST", "/v1/predictions", Scope.SUBMIT),
        ("POST", "/predict", Scope.SUBMIT),
        ("POST", "/v2/models/mnist/infer", Scope.SUBMIT),
        ("DELETE", "/v1/files/file-1", Scope.SUBMIT),
        ("GET", "/v1/predictions/1", Scope.READ),
        ("GET", "/v1/models", Scope.READ),
        ("GET", "/v1/dead-letters", Scope.ADMIN),
        ("POST", "/v1/dead-letters/1/replay", Scope.ADMIN),
        ("DELETE", "/v1/owners/ann", Scope.ADMIN),
        ("GET", "/metrics", Scope.METRICS),
        ("POST", "/v2/repository/index", Scope.READ),
        ("POST", "/v2/repository/models/mnist/unload", Scope.ADMIN),
        ("POST", "/something/new", Scope.ADMIN),
    ],
)
def test_scope_when_a_route_is_asked_for_then_what_it_needs(method: str, path: str, scope: Scope | None) -> None:
    assert scope_of(method, path) is scope


async def test_admit_when_no_key_is_needed_then_anybody() -> None:
    assert await Gate(None).admit("POST", "/v1/predictions", {}) is ANYBODY
    assert await Gate(Finder()).admit("GET", "/v2/health/live", {}) is ANYBODY
    assert ANYBODY.sees("whoever")


async def test_admit_when_the_key_is_good_then_its_owner_asks() -> None:
    caller = await Gate(Finder(key())).admit("POST", "/v1/predictions", bearer())
    assert (caller.owner, caller.sees("ann"), caller.sees("bob")) == ("ann", True, False)


async def test_admit_when_the_scope_is_missing_then_forbidden_naming_it() -> None:
    with pytest.raises(ForbiddenError, match="needs a key with scope read; key 0a1b2c3d4e5f has submit"):
        await Gate(Finder(key())).admit("GET", "/v1/predictions/1", bearer())


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer "}, {"authorization": "Basic YTpi"}, {"authorization": "Bearer sk-1"},
     bearer(secret="t" * 43), bearer("ffffffffffff"), bearer("000000000000")],
)  # fmt: skip
async def test_admit_when_there_is_no_good_key_then_unauthenticated_and_no_secret_is_told(headers) -> None:
    gate = Gate(Finder(key(), key("000000000000", revoked_us=5)))
    with pytest.raises(UnauthenticatedError) as caught:
        await gate.admit("POST", "/v1/predictions", headers)
    assert "t" * 43 not in caught.value.detail
    assert SECRET not in caught.value.detail


async def test_admit_when_a_key_comes_again_then_it_is_looked_up_once_a_second_and_a_revoked_one_ends() -> None:
    now, finder = [0.0], Finder(key())
    gate = Gate(finder, clock=lambda: now[0])
    for _ in range(3):
        await gate.admit("POST", "/v1/predictions", bearer())
    assert len(finder.asked) == 1
    finder.found["0a1b2c3d4e5f"] = key(revoked_us=5)
    now[0] = SEEN_S
    with pytest.raises(UnauthenticatedError):
        await gate.admit("POST", "/v1/predictions", bearer())


async def test_admit_when_many_keys_are_made_up_then_memory_stays_bounded() -> None:
    gate = Gate(Finder(key()))
    for number in range(MOST_SEEN + 10):
        with pytest.raises(UnauthenticatedError):
            await gate.admit("POST", "/v1/predictions", bearer(f"{number:012x}"))
    assert len(gate._seen) <= MOST_SEEN


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_admit_when_a_key_was_over_its_limits_then_it_waits_the_moment_out_and_hears_the_same_again() -> None:
    clock, limited = Clock(), key(scopes=(Scope.SUBMIT, Scope.READ))
    gate = Gate(Finder(limited), clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    gate.hold(limited, RateLimitedError("too many", retry_after_s=7))
    with pytest.raises(RateLimitedError, match="too many") as refused:
        await gate.admit("POST", "/v1/predictions", bearer())
    assert (refused.value.retry_after_s, clock.slept) == (7, [pytest.approx(1.5 * HOLD_S)])
    assert (await gate.admit("POST", "/v1/predictions", bearer())).key == limited  # the moment is over
    assert len(clock.slept) == 1


async def test_admit_when_a_key_was_over_its_limits_then_it_may_still_read_and_others_submit() -> None:
    clock, limited, other = Clock(), key(scopes=(Scope.SUBMIT, Scope.READ)), key("ffffffffffff")
    gate = Gate(Finder(limited, other), clock=clock, sleep=clock.sleep)
    gate.hold(limited, RateLimitedError("too many"))
    await gate.admit("GET", "/v1/predictions/1", bearer())
    await gate.admit("POST", "/v1/predictions", bearer("ffffffffffff"))
    assert clock.slept == []


async def test_confirm_when_a_key_was_revoked_while_a_request_came_then_refused() -> None:
    now, finder = [0.0], Finder(key())
    gate = Gate(finder, clock=lambda: now[0])
    caller = Caller("ann", key())
    await gate.confirm(caller)
    await gate.confirm(ANYBODY)
    finder.found["0a1b2c3d4e5f"] = key(revoked_us=5)
    now[0] = SEEN_S
    with pytest.raises(UnauthenticatedError, match="revoked while"):
        await gate.confirm(caller)
    del finder.found["0a1b2c3d4e5f"]
    now[0] = 2 * SEEN_S
    with pytest.raises(UnauthenticatedError, match="revoked while"):
        await gate.confirm(caller)
