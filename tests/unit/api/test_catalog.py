import asyncio
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from api.catalog import MISS_PAUSE_S, REFRESH_EVERY_S, Catalog, Entry
from ferry.errors import NotFoundError, QueueUnavailableError
from ferry.manifest import MODEL_FILE, Evidence, Execution, ExecutionMode, Manifest
from ferry.profile import WHOLE_JOB_LIMITS
from ferry.queue.broken_models import BrokenModel
from ferry.queue.producer import ModelStatus
from ferry.repository import Repository, Survey
from tests.manifests import manifest, profile
from tests.unit.api.conftest import put_model

pytestmark = pytest.mark.anyio


class Registry:
    """What Redis knows of models, which it may forget."""

    def __init__(self) -> None:
        self.statuses: dict[str, ModelStatus] = {}
        self.is_down = False
        self.looks = 0
        self.reports: list[BrokenModel] = []

    def announce(self, added: Manifest, live_workers: int = 1, waiting_rows: int = 0) -> None:
        self.statuses[added.ref] = ModelStatus(added, live_workers, waiting_rows)

    async def register(self, added: Manifest) -> None:
        self.announce(added, live_workers=0)

    async def aliases(self) -> dict[tuple[str, str], str]:
        return {}

    async def unloaded(self) -> frozenset[tuple[str, str]]:
        return frozenset()

    async def broken(self) -> list[BrokenModel]:
        return self.reports

    async def models(self) -> list[ModelStatus]:
        self.looks += 1
        if self.is_down:
            raise QueueUnavailableError("Redis does not answer: the test says so")
        return list(self.statuses.values())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.now += seconds


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def catalog(folder: Path, registry: Registry, clock: Clock) -> Catalog:
    return Catalog(Repository(folder), registry, clock=clock, sleep=clock.sleep)


def refs(catalog: Catalog) -> list[str]:
    return [entry.manifest.ref for entry in catalog.entries]


# --- folder and Redis


async def test_refresh_when_models_are_in_folder_and_redis_then_joined_in_order(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    for version in ("2", "10"):
        put_model(folder, manifest("b", version))
    registry.announce(manifest("a"), live_workers=3, waiting_rows=7)
    registry.announce(manifest("b", "9"))
    await catalog.refresh()
    assert refs(catalog) == ["a:1", "b:2", "b:9", "b:10"]
    assert (catalog.entries[0].live_workers, catalog.entries[0].waiting_rows) == (3, 7)


async def test_refresh_when_both_know_a_version_then_the_folders_texts_and_the_live_workers(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    newer = manifest().model_copy(update={"description": "from the folder"})
    put_model(folder, newer)
    registry.announce(manifest(), live_workers=2, waiting_rows=5)
    await catalog.refresh()
    assert catalog.entries == [Entry(newer, 2, 5)]


async def test_refresh_when_workers_serve_other_files_than_the_folders_then_jobs_are_checked_against_theirs(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    put_model(folder, manifest(labels=("from", "folder")))
    registry.announce(manifest(labels=("from", "redis")), live_workers=2)
    await catalog.refresh()
    assert catalog.entries == [Entry(manifest(labels=("from", "redis")), 2)]


async def test_refresh_when_a_check_switched_the_model_then_the_entry_says_so(
    catalog: Catalog, registry: Registry
) -> None:
    registry.statuses["toy:1"] = ModelStatus(manifest(), 1, 0, switched="job j moved by 0.5")
    await catalog.refresh()
    (entry,) = catalog.entries
    assert entry.execution == Execution(
        mode=ExecutionMode.WHOLE_JOB, reason="job j moved by 0.5", evidence=Evidence.OBSERVED
    )
    assert entry.limits == WHOLE_JOB_LIMITS


async def test_refresh_when_redis_does_not_know_the_folders_models_then_they_are_registered(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    put_model(folder, manifest())
    await catalog.refresh()
    assert list(registry.statuses) == ["toy:1"]
    registry.statuses.clear()  # wiped
    await catalog.refresh()
    assert list(registry.statuses) == ["toy:1"]


async def test_refresh_when_a_version_appears_then_listed_and_the_highest_is_found(
    catalog: Catalog, folder: Path
) -> None:
    put_model(folder, manifest())
    await catalog.refresh()
    put_model(folder, manifest(version="2"))
    await catalog.refresh()
    assert refs(catalog) == ["toy:1", "toy:2"]
    assert (await catalog.find("toy")).manifest.version == "2"


async def test_refresh_when_a_version_goes_from_folder_and_redis_then_it_is_gone(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    for version in ("1", "2"):
        put_model(folder, manifest(version=version))
    await catalog.refresh()
    shutil.rmtree(folder / "toy" / "2")
    del registry.statuses["toy:2"]
    await catalog.refresh()
    assert refs(catalog) == ["toy:1"]


async def test_refresh_when_a_version_goes_from_the_folder_alone_then_still_what_redis_says(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    put_model(folder, manifest(labels=("from", "folder")))
    registry.announce(manifest(labels=("from", "redis")))
    await catalog.refresh()
    shutil.rmtree(folder / "toy")
    await catalog.refresh()
    assert catalog.entries == [Entry(manifest(labels=("from", "redis")), 1, 0)]


async def test_refresh_when_a_folder_is_broken_then_the_others_are_listed(catalog: Catalog, folder: Path) -> None:
    put_model(folder, manifest("good"))
    (put_model(folder, manifest("bad")) / MODEL_FILE).unlink()
    await catalog.refresh()
    assert refs(catalog) == ["good:1"]


async def test_refresh_when_nothing_changed_then_the_same_objects_with_their_codecs(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    put_model(folder, manifest())
    registry.announce(manifest())
    await catalog.refresh()
    (before,) = catalog.entries
    codec = before.inputs
    await catalog.refresh()
    (after,) = catalog.entries
    assert after is before
    assert after.inputs is codec
    registry.announce(manifest(), live_workers=2)
    await catalog.refresh()
    assert catalog.entries == [replace(before, live_workers=2)]


async def test_refresh_when_the_folder_is_as_it_was_then_not_read_again(folder: Path, registry: Registry) -> None:
    class Counted(Repository):
        scans = 0

        def survey(self) -> Survey:
            self.scans += 1
            return super().survey()

    repository = Counted(folder)
    catalog = Catalog(repository, registry)
    put_model(folder, manifest())
    for _ in range(3):
        await catalog.refresh()
    assert repository.scans == 1


async def test_register_when_called_then_the_registry_knows_the_model(catalog: Catalog, registry: Registry) -> None:
    await catalog.register(Entry(manifest()))
    assert list(registry.statuses) == ["toy:1"]


# --- outages


async def test_refresh_when_redis_was_never_there_then_the_folder_with_no_live_worker(
    catalog: Catalog, folder: Path, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.is_down = True
    put_model(folder, manifest())
    with caplog.at_level(logging.WARNING):
        await catalog.refresh()
    assert catalog.entries == [Entry(manifest(), 0, 0)]
    assert "Redis does not answer" in caplog.text


async def test_refresh_when_redis_goes_away_then_everything_is_kept_with_no_live_worker(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    put_model(folder, manifest())
    registry.announce(manifest(), live_workers=2, waiting_rows=3)
    registry.announce(manifest("remote"), live_workers=1)
    await catalog.refresh()
    registry.is_down = True
    for _ in range(2):
        await catalog.refresh()
        assert catalog.entries == [Entry(manifest("remote"), 0, 0), Entry(manifest(), 0, 0)]
    registry.is_down = False
    await catalog.refresh()
    assert [entry.live_workers for entry in catalog.entries] == [1, 2]


async def test_refresh_when_redis_is_away_then_new_folders_are_still_seen(
    catalog: Catalog, folder: Path, registry: Registry
) -> None:
    registry.is_down = True
    put_model(folder, manifest())
    await catalog.refresh()
    put_model(folder, manifest(version="2"))
    await catalog.refresh()
    assert refs(catalog) == ["toy:1", "toy:2"]


# --- looking up


async def test_find_when_no_version_is_named_then_the_highest_by_number(catalog: Catalog, folder: Path) -> None:
    for version in ("9", "10", "2"):
        put_model(folder, manifest(version=version))
    await catalog.refresh()
    assert (await catalog.find("toy")).manifest.version == "10"
    assert (await catalog.find("toy", "9")).manifest.version == "9"


async def test_find_when_unknown_then_looked_for_once_more(
    catalog: Catalog, folder: Path, registry: Registry, clock: Clock
) -> None:
    await catalog.refresh()
    clock.now += 3600
    put_model(folder, manifest())
    assert (await catalog.find("toy")).manifest == manifest()
    assert (registry.looks, clock.now) == (2, 3600)


async def test_find_when_it_came_right_after_a_look_then_the_next_look_is_waited_for(
    catalog: Catalog, folder: Path, registry: Registry, clock: Clock
) -> None:
    await catalog.refresh()
    put_model(folder, manifest())
    assert (await catalog.find("toy")).manifest == manifest()
    assert (registry.looks, clock.now) == (2, MISS_PAUSE_S)


async def test_find_when_many_ask_for_the_unknown_then_one_look_serves_them_all(
    catalog: Catalog, registry: Registry, clock: Clock
) -> None:
    await catalog.refresh()
    found = await asyncio.gather(*(catalog.find("toy") for _ in range(50)), return_exceptions=True)
    assert all(isinstance(each, NotFoundError) for each in found)
    assert (registry.looks, clock.now) == (2, MISS_PAUSE_S)


async def test_find_when_known_then_nothing_is_looked_for(
    catalog: Catalog, folder: Path, registry: Registry, clock: Clock
) -> None:
    put_model(folder, manifest())
    await catalog.refresh()
    clock.now += 3600
    await catalog.find("toy")
    assert registry.looks == 1


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("mnits", None, "no model 'mnits'; did you mean mnist?"),
        ("weather", None, "no model 'weather'; there are fashion, mnist"),
        ("mnist", "3", "model 'mnist' has no version '3'; it has 1, 10"),
        ("", None, "no model ''; there are fashion, mnist"),
    ],
)
async def test_find_when_unknown_then_said_what_there_is(
    catalog: Catalog, registry: Registry, name: str, version: str | None, said: str
) -> None:
    for known in (("mnist", "10"), ("mnist", "1"), ("fashion", "1")):
        registry.announce(manifest(*known))
    with pytest.raises(NotFoundError) as caught:
        await catalog.find(name, version)
    assert caught.value.detail == said


async def test_find_when_there_is_no_model_at_all_then_said(catalog: Catalog) -> None:
    with pytest.raises(NotFoundError, match="no model 'toy'; there are none"):
        await catalog.find("toy")


async def test_find_when_the_name_is_endless_then_the_message_is_not(catalog: Catalog, registry: Registry) -> None:
    registry.announce(manifest())
    for name, version in (("x" * 10_000_000, None), ("toy", "x" * 10_000_000)):
        with pytest.raises(NotFoundError) as caught:
            await catalog.find(name, version)
        assert len(caught.value.detail) < 200


# --- how fast queues drain


def busy(registry: Registry, done_rows: int, waiting_rows: int = 100, name: str = "toy") -> None:
    registry.statuses[name] = ModelStatus(manifest(name), 2, waiting_rows, done_rows=done_rows)


async def test_drain_of_when_rows_wait_then_what_was_done_a_second(
    catalog: Catalog, registry: Registry, clock: Clock
) -> None:
    for second in range(5):
        clock.now = second
        busy(registry, done_rows=second * 40)
        await catalog.refresh()
    assert catalog.drain_of(catalog.entries[0]) == pytest.approx(40)


async def test_drain_of_when_the_rate_changes_then_it_follows_within_seconds(
    catalog: Catalog, registry: Registry, clock: Clock
) -> None:
    done = 0
    for second in range(40):
        clock.now = second
        done += 40 if second < 20 else 10
        busy(registry, done)
        await catalog.refresh()
    assert catalog.drain_of(catalog.entries[0]) == pytest.approx(10, abs=1)


async def test_drain_of_when_nothing_waits_then_what_was_seen_before_stays(
    catalog: Catalog, registry: Registry, clock: Clock
) -> None:
    for second, (done, waiting) in enumerate([(0, 100), (40, 100), (41, 0), (41, 0), (41, 100), (81, 100)]):
        clock.now = second
        busy(registry, done, waiting)
        await catalog.refresh()
        assert catalog.drain_of(catalog.entries[0]) == pytest.approx(40 if second else 0)


async def test_drain_of_when_redis_was_wiped_then_no_negative_rate(
    catalog: Catalog, registry: Registry, clock: Clock
) -> None:
    for second, done in enumerate([0, 40, 0, 40]):
        clock.now = second
        busy(registry, done)
        await catalog.refresh()
    assert catalog.drain_of(catalog.entries[0]) == pytest.approx(40)


async def test_drain_of_when_never_seen_then_by_the_profile_of_each_live_worker(
    catalog: Catalog, registry: Registry
) -> None:
    measured = profile()
    registry.statuses["toy:1"] = ModelStatus(manifest(), 2, 100, measured)
    await catalog.refresh()
    assert catalog.drain_of(catalog.entries[0]) == 2 * max(measured.rows_per_s)


async def test_drain_in_all_when_models_wait_then_their_sum(catalog: Catalog, registry: Registry, clock: Clock) -> None:
    for second in range(3):
        clock.now = second
        busy(registry, second * 40)
        busy(registry, second * 7, name="other")
        await catalog.refresh()
    busy(registry, 0, waiting_rows=0, name="idle")
    assert catalog.drain_in_all() == pytest.approx(47)


# --- for ever


async def test_run_when_running_then_it_looks_each_second_whatever_happens(
    catalog: Catalog, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    task = asyncio.ensure_future(catalog.run())
    await asyncio.sleep(REFRESH_EVERY_S * 3.5)
    registry.is_down = True
    await asyncio.sleep(REFRESH_EVERY_S * 3)
    registry.is_down, models = False, registry.models
    registry.models = None
    await asyncio.sleep(REFRESH_EVERY_S * 3)
    assert "the catalog's refresh failed" in caplog.text
    registry.models = models
    registry.announce(manifest())
    await asyncio.sleep(REFRESH_EVERY_S)
    assert refs(catalog) == ["toy:1"]
    assert registry.looks == 7
    task.cancel()
