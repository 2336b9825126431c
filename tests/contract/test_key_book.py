"""API keys, made, found, listed and revoked: the same cases in memory and on a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from ferry.access import ApiKey, Scope, parse_token
from ferry.errors import ConflictError, NotFoundError, QueueUnavailableError
from ferry.queue.connection import connect, connect_async
from ferry.queue.key_book import KeyBook, KeyReader, OwnerKeys
from ferry.settings import NAMESPACE
from tests.fakes.memory_keys import MemoryKeys
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio

TENANT = frozenset({Scope.SUBMIT, Scope.READ})
UNKNOWN = "0" * 12


class Office:
    """Both sides of the book."""

    def __init__(self, book: KeyBook | MemoryKeys, reader: KeyReader | MemoryKeys) -> None:
        self.book = book
        self.reader = reader

    def make(self, name: str = "ci", owner: str = "ann", **limits: float) -> tuple[ApiKey, str]:
        return self.book.create(name, owner=owner, scopes=TENANT, **limits)  # type: ignore[arg-type]


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return connect(redis_url, NAMESPACE).redis


@pytest.fixture(params=["memory", "redis"])
async def office(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Office]:
    if request.param == "memory":
        memory = MemoryKeys()
        yield Office(memory, memory)
        return
    url = request.getfixturevalue("redis_url")
    direct, client = connect(url, NAMESPACE).redis, connect_async(url, NAMESPACE).redis
    yield Office(KeyBook(client_of(direct)), KeyReader(client_of(client)))
    direct.close()
    await client.aclose(close_connection_pool=True)


async def test_create_when_all_is_said_then_found_with_all_of_it_by_its_text(office: Office) -> None:
    made, text = office.make(rate_per_s=0.5, max_unfinished=9)
    token = parse_token(text)
    assert token is not None
    assert token[0] == made.id
    assert made.fits(token[1])
    assert (made.name, made.owner, made.scopes, made.rate_per_s, made.max_unfinished, made.revoked_us) == (
        "ci", "ann", TENANT, 0.5, 9, None,
    )  # fmt: skip
    assert await office.reader.find(made.id) == made


async def test_create_when_no_limit_is_said_then_none_and_every_key_is_another(office: Office) -> None:
    (first, first_text), (second, second_text) = office.make(), office.make()
    assert (first.rate_per_s, first.max_unfinished) == (None, None)
    assert await office.reader.find(first.id) == first
    assert first.id != second.id
    assert not first.fits(second_text.rpartition("_")[2])
    assert first_text != second_text


async def test_find_when_there_is_none_then_none(office: Office) -> None:
    office.make()
    assert await office.reader.find(UNKNOWN) is None


async def test_list_all_when_there_are_several_then_all_the_oldest_first_and_revoked_ones_too(office: Office) -> None:
    assert office.book.list_all() == []
    made = [office.make(name)[0] for name in ("c", "a", "b")]
    revoked = office.book.revoke(made[1].id)
    assert office.book.list_all() == [made[0], revoked, made[2]]


async def test_revoke_when_in_force_then_refused_from_now_on_and_another_of_the_owner_is_not(office: Office) -> None:
    (made, text), (other, _) = office.make(), office.make()
    revoked = office.book.revoke(made.id)
    assert revoked.revoked_us is not None
    assert revoked.revoked_us >= made.created_us
    assert revoked.fits(text[-43:]), "its secret is right yet"
    for scope in Scope:
        assert not revoked.may(scope)
    assert await office.reader.find(made.id) == revoked
    assert await office.reader.find(other.id) == other


async def test_revoke_when_revoked_again_then_it_stays_as_it_was(office: Office) -> None:
    made, _ = office.make()
    first = office.book.revoke(made.id)
    assert office.book.revoke(made.id) == first


async def test_revoke_when_there_is_none_then_not_found(office: Office) -> None:
    with pytest.raises(NotFoundError, match=f"no API key '{UNKNOWN}'"):
        office.book.revoke(UNKNOWN)
    assert office.book.list_all() == []


async def test_create_when_made_then_redis_holds_no_secret_and_the_key_does_not_expire(redis: Redis) -> None:
    made, text = KeyBook(client_of(redis)).create("ci", owner="ann", scopes=TENANT)
    secret = text[-43:].encode()
    kept = [redis.dump(name) for name in redis.keys("*")]
    assert len(kept) == 2
    assert all(secret not in each for each in kept)
    assert redis.ttl(KEYS.api_key + made.id) == -1


async def test_rotate_when_there_is_an_overlap_then_both_work_with_one_set_of_limits(office: Office) -> None:
    old, _ = office.make(rate_per_s=0.5, max_unfinished=9)
    ending, made, text = office.book.rotate(old.id, overlap_s=3600)
    token = parse_token(text)
    assert token is not None
    assert (token[0], made.fits(token[1]), old.fits(token[1])) == (made.id, True, False)
    assert (made.name, made.owner, made.scopes, made.rate_per_s, made.max_unfinished, made.limited_as) == (
        "ci", "ann", TENANT, 0.5, 9, old.id,
    )  # fmt: skip
    assert await office.reader.find(made.id) == made
    assert await office.reader.find(old.id) == ending
    assert (ending.revoked_us, ending.may(Scope.READ)) == (None, True)
    assert ending.ends_us == made.created_us + 3_600_000_000
    _, third, _ = office.book.rotate(made.id, overlap_s=1)
    assert third.limited_as == old.id


async def test_rotate_when_there_is_no_overlap_then_the_old_key_is_refused_at_once(office: Office) -> None:
    old, _ = office.make()
    _, made, _ = office.book.rotate(old.id, overlap_s=0)
    found = await office.reader.find(old.id)
    assert found is not None
    assert found.revoked_us == found.ends_us
    assert {key.id: key.may(Scope.READ) for key in office.book.list_all()} == {old.id: False, made.id: True}


async def test_rotate_when_the_clock_goes_back_later_then_an_ended_key_stays_refused(redis: Redis) -> None:
    book = KeyBook(client_of(redis))
    old, _ = book.create("ci", owner="ann", scopes=TENANT)
    ending, made, _ = book.rotate(old.id, overlap_s=3600)
    assert ending.ends_us is not None
    redis.set(KEYS.clock, f"0 {ending.ends_us + 1}")  # the leader saw the end, then the clock went back
    assert {key.id: key.may(Scope.READ) for key in book.list_all()} == {old.id: False, made.id: True}


@pytest.mark.parametrize("step_us", [90_000_000_000, -90_000_000_000])
def test_rotate_when_the_clock_made_a_step_then_the_end_is_shown_by_that_clock(redis: Redis, step_us: int) -> None:
    book = KeyBook(client_of(redis))
    old, _ = book.create("ci", owner="ann", scopes=TENANT)
    redis.set(KEYS.clock, f"{step_us} 0")
    ending, made, _ = book.rotate(old.id, overlap_s=3600)
    assert ending.ends_us == made.created_us + 3_600_000_000
    assert book.list_all()[0] == ending
    redis.set(KEYS.clock, f"{2 * step_us} 0")
    assert book.list_all()[0].ends_us == ending.ends_us + step_us
    redis.set(KEYS.clock, f"{step_us} {ending.ends_us - step_us}")  # its end, in steady time
    ended = book.list_all()[0]
    assert (ended.revoked_us, ended.ends_us) == (ending.ends_us, ending.ends_us)


async def test_rotate_when_revoked_replaced_or_unknown_then_refused(office: Office) -> None:
    old, _ = office.make()
    office.book.rotate(old.id, overlap_s=60)
    with pytest.raises(ConflictError, match="replaced before"):
        office.book.rotate(old.id, overlap_s=60)
    other, _ = office.make()
    office.book.revoke(other.id)
    with pytest.raises(ConflictError, match="revoked"):
        office.book.rotate(other.id, overlap_s=60)
    with pytest.raises(NotFoundError):
        office.book.rotate(UNKNOWN, overlap_s=60)
    assert len(office.book.list_all()) == 3


async def test_list_all_when_a_newer_release_wrote_more_then_what_is_known_here_counts(redis: Redis) -> None:
    made, _ = KeyBook(client_of(redis)).create("ci", owner="ann", scopes=TENANT)
    redis.hset(KEYS.api_key + made.id, mapping={"scopes": "read,submit,fly", "color": "red"})
    assert KeyBook(client_of(redis)).list_all() == [made]


async def test_list_all_when_a_key_is_in_the_index_alone_then_left_out(redis: Redis) -> None:
    made, _ = KeyBook(client_of(redis)).create("ci", owner="ann", scopes=TENANT)
    redis.zadd(KEYS.api_keys, {UNKNOWN: 1})
    assert KeyBook(client_of(redis)).list_all() == [made]


@pytest.mark.parametrize("damage", [{"created_us": "soon"}, {"rate_per_s": b"\xff"}, {"ends_us": ""}, None])
async def test_keys_when_one_record_is_damaged_then_it_is_unknown_and_the_others_are_found(
    redis_url: str, redis: Redis, damage: dict[str, str | bytes] | None, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(connect_async(redis_url, NAMESPACE).redis)
    book, reader = KeyBook(client_of(redis)), KeyReader(client)
    (good, _), (bad, _) = (book.create("ci", owner="ann", scopes=TENANT) for _ in range(2))
    if damage:
        redis.hset(KEYS.api_key + bad.id, mapping=damage)  # type: ignore[arg-type]
    else:
        redis.hdel(KEYS.api_key + bad.id, "sha256")
    for _ in range(2):
        assert await asyncio.gather(reader.find(bad.id), reader.find(good.id)) == [None, good]
        assert book.list_all() == [good]
    assert await OwnerKeys(client).of("ann") == [good]
    with pytest.raises(NotFoundError, match="no API key"):
        book.rotate(bad.id, overlap_s=60)
    with pytest.raises(NotFoundError, match="no API key"):
        book.revoke(bad.id)
    assert [record.message.split(": ")[0] for record in caplog.records] == ["key_damaged"] * 3, "each reader once"
    assert bad.id in caplog.text
    await client.redis.aclose(close_connection_pool=True)


async def test_key_book_when_redis_is_away_then_unavailable() -> None:
    nowhere = "redis://127.0.0.1:1/0"
    book, client = KeyBook(connect(nowhere, NAMESPACE)), connect_async(nowhere, NAMESPACE).redis
    for asking in (
        lambda: book.create("ci", owner="ann", scopes=TENANT), book.list_all, lambda: book.revoke(UNKNOWN),
    ):  # fmt: skip
        with pytest.raises(QueueUnavailableError):
            asking()
    with pytest.raises(QueueUnavailableError):
        await KeyReader(client_of(client)).find(UNKNOWN)
    await client.aclose(close_connection_pool=True)
