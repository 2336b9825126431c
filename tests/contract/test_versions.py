"""Aliases, and what is unloaded, on a real Redis; and what a worker and the API hear of both."""

from collections.abc import AsyncIterator

import pytest

from ferry.errors import ConflictError, InvalidInputError, NotFoundError
from ferry.queue.connection import connect, connect_async
from ferry.queue.versions import LATEST, Move, Versions, aliases_from_fields
from ferry.settings import NAMESPACE
from tests.contract.conftest import RedisBench
from tests.manifests import LIMITS, manifest
from tests.namespaces import KEYS, client_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def desk(redis_url: str, anyio_backend: str) -> AsyncIterator[tuple[RedisBench, Versions]]:
    client, async_client = connect(redis_url, NAMESPACE).redis, connect_async(redis_url, NAMESPACE).redis
    bench = RedisBench(client, async_client, LIMITS)
    for version in ("1", "2", "10"):
        await bench.producer.register(manifest("toy", version))
    yield bench, Versions(client_of(client))
    client.close()
    await async_client.aclose(close_connection_pool=True)


async def test_move_when_moved_and_rolled_back_then_where_it_stood_and_forth_again(
    desk: tuple[RedisBench, Versions],
) -> None:
    bench, versions = desk
    assert versions.move("toy", "stable", "1") == Move("", "1")
    assert versions.move("toy", "stable", "2") == Move("1", "2")
    assert await bench.producer.aliases() == versions.aliases() == {("toy", "stable"): "2"}
    assert versions.roll_back("toy", "stable") == Move("2", "1")
    assert versions.roll_back("toy", "stable") == Move("1", "2")


async def test_move_when_to_where_it_stands_then_the_way_back_stays(desk: tuple[RedisBench, Versions]) -> None:
    _, versions = desk
    versions.move("toy", "stable", "1")
    versions.move("toy", "stable", "2")
    assert versions.move("toy", "stable", "2") == Move("2", "2")
    assert versions.roll_back("toy", "stable") == Move("2", "1")


async def test_roll_back_when_moved_once_then_it_stands_for_nothing_again(desk: tuple[RedisBench, Versions]) -> None:
    bench, versions = desk
    versions.move("toy", LATEST, "1")
    assert versions.roll_back("toy", LATEST) == Move("1", "")
    assert await bench.producer.aliases() == {}
    with pytest.raises(ConflictError, match="never moved"):
        versions.roll_back("toy", LATEST)


async def test_move_when_nobody_knows_the_version_then_refused(desk: tuple[RedisBench, Versions]) -> None:
    _, versions = desk
    with pytest.raises(NotFoundError, match="toy:3"):
        versions.move("toy", "stable", "3")
    assert versions.aliases() == {}


@pytest.mark.parametrize("alias", ["1", "", "Stable", "-x", "a:b", "x" * 33])
async def test_move_when_it_can_be_no_alias_then_refused(desk: tuple[RedisBench, Versions], alias: str) -> None:
    _, versions = desk
    with pytest.raises(InvalidInputError, match="expected 1 to 32"):
        versions.move("toy", alias, "1")


async def test_unload_when_heard_by_a_worker_then_until_it_is_loaded(desk: tuple[RedisBench, Versions]) -> None:
    bench, versions = desk
    versions.unload([("toy", "1"), ("toy", "2")])
    assert bench.worker.beat(dict.fromkeys([("toy", "10")], "")).unloaded == {("toy", "1"), ("toy", "2")}
    versions.load([("toy", "1")])
    assert versions.unloaded() == await bench.producer.unloaded() == {("toy", "2")}
    await bench.producer.set_loaded([("toy", "2")], is_loaded=True)
    await bench.producer.set_loaded([("toy", "10")], is_loaded=False)
    assert bench.worker.beat({}).unloaded == {("toy", "10")}


async def test_aliases_when_a_newer_release_writes_more_then_what_is_known_is_read(
    desk: tuple[RedisBench, Versions],
) -> None:
    bench, versions = desk
    bench.redis.hset(KEYS.aliases, mapping={"toy:stable": "2 1 more", "toy:odd": "?", "odd": "1 "})
    assert versions.aliases() == {("toy", "stable"): "2"}
    assert aliases_from_fields({}) == {}
