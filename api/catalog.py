"""Which models there are: the repository's folder joined with what workers have announced in Redis.

Kept fresh by a task; a request only looks it up.
"""

import asyncio
import difflib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from api.model_folder import ModelFolder
from ferry.errors import FerryError, NotFoundError
from ferry.manifest import Evidence, Execution, ExecutionMode, Manifest
from ferry.profile import WHOLE_JOB_LIMITS, BatchLimits, Profile, Tuning, limits_in_force
from ferry.queue.broken_models import BrokenModel
from ferry.queue.producer import ModelStatus
from ferry.queue.versions import LATEST
from ferry.repository import Repository
from ferry.tensors import Codec, codec_of

REFRESH_EVERY_S = 1.0
# A name that is not known is looked for once more, at most this often; who asks meanwhile waits for the next look.
MISS_PAUSE_S = 0.2
# What was seen of a drain rate this long ago counts for a third.
DRAIN_MEMORY_S = 5.0
# A name or version that is not known is shown, and compared with those that are, up to this many characters.
SHOWN_CHARS = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One version of a model as the API knows it; its fields as in `ModelStatus`.

    broken: why it cannot be loaded, here or by a worker; others may serve it all the same.
    """

    manifest: Manifest
    live_workers: int = 0
    waiting_rows: int = 0
    profile: Profile | None = None
    tuning: Tuning = field(default_factory=Tuning)
    is_paused: bool = False
    is_draining: bool = False
    is_unloaded: bool = False
    other_workers: int = 0
    switched: str = ""
    broken: str = ""

    @property
    def state(self) -> str:
        """Who serves it, in a word; "broken" where nobody does since it cannot be loaded."""
        if self.is_unloaded:
            return "unloaded"
        if self.live_workers:
            return "ready"
        return "broken" if self.broken else "no_worker"

    @property
    def execution(self) -> Execution:
        """How jobs are executed now: as the manifest says, unless a check in production moved the model."""
        said = self.manifest.execution
        if not self.switched:
            return said
        changes = {"mode": ExecutionMode.WHOLE_JOB, "reason": self.switched, "evidence": Evidence.OBSERVED}
        return said.model_copy(update=changes)

    @property
    def limits(self) -> BatchLimits:
        """The batch limits in force."""
        if self.switched:
            return WHOLE_JOB_LIMITS
        return limits_in_force(self.manifest, self.profile, self.tuning)

    @cached_property
    def is_batched(self) -> bool:
        """Whether rows of many jobs share a run; kept, since every answer asks."""
        return self.manifest.is_batched

    @cached_property
    def manifest_json(self) -> bytes:
        """The manifest as the body reader takes it; kept, since every large body brings it."""
        return self.manifest.model_dump_json().encode()

    @cached_property
    def inputs(self) -> Codec:
        """Packs the inputs of a job."""
        return codec_of(self.manifest.inputs, is_batched=self.is_batched)

    @cached_property
    def outputs(self) -> Codec:
        """Unpacks the outputs of a job."""
        return codec_of(self.manifest.outputs, is_batched=self.is_batched)


class DrainRate:
    """How fast rows leave a queue, seen only while more of them wait: an idle queue says nothing of what it could."""

    def __init__(self) -> None:
        self.rows_a_s: float | None = None
        self._last: tuple[int, float] | None = None

    def see(self, done_rows: int, now: float, *, is_busy: bool) -> None:
        """Take in a count of all rows done so far, at a time in seconds."""
        last, self._last = self._last, (done_rows, now) if is_busy else None
        if not is_busy or last is None:
            return
        rows, seconds = done_rows - last[0], now - last[1]
        if rows < 0 or seconds <= 0:  # a wiped Redis counts from nothing
            return
        weight = 1.0 if self.rows_a_s is None else 1 - math.exp(-seconds / DRAIN_MEMORY_S)
        self.rows_a_s = (1 - weight) * (self.rows_a_s or 0.0) + weight * rows / seconds


class Registry(Protocol):
    """What the catalog needs of the queue (ferry.queue.producer.Producer)."""

    async def register(self, manifest: Manifest) -> None:
        """Make a model known to the queue."""

    async def models(self) -> list[ModelStatus]:
        """Return what is known to the queue."""

    async def aliases(self) -> dict[tuple[str, str], str]:
        """Return versions by (name, alias)."""

    async def unloaded(self) -> frozenset[tuple[str, str]]:
        """Return (name, version) of what is unloaded."""

    async def broken(self) -> list[BrokenModel]:
        """Return what workers cannot load."""


class Catalog:
    """Looks models up by name and version."""

    def __init__(
        self,
        repository: Repository,
        registry: Registry,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder = ModelFolder(repository)
        self._registry = registry
        self._clock = clock
        self._sleep = sleep
        self._entries: dict[tuple[str, str], Entry] = {}
        self._latest: dict[str, Entry] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._unloaded: frozenset[tuple[str, str]] = frozenset()
        self._drains: dict[tuple[str, str], DrainRate] = {}
        # What cannot be loaded, here or by a worker.
        self._broken: dict[tuple[str, str], BrokenModel] = {}
        self._refreshed_at = float("-inf")
        self._refreshing = asyncio.Lock()

    @property
    def entries(self) -> list[Entry]:
        """Every version, names in order, versions in numeric order."""
        return [self._entries[key] for key in sorted(self._entries, key=lambda key: (key[0], int(key[1])))]

    @property
    def broken(self) -> list[BrokenModel]:
        """What cannot be loaded, here or by a worker, names in order."""
        return [self._broken[key] for key in sorted(self._broken)]

    async def find(self, name: str, version: str | None = None) -> Entry:
        """Return a version of a model; `version` may be an alias. None is `latest`: the highest, unless it was moved.

        A model that was there when this was called is found: another API process may have shown it a moment ago.

        Raises:
            NotFoundError: naming what there is instead.
        """
        entry = self.peek(name, version)
        if entry is None:
            await self.look_again()
            entry = self.peek(name, version)
        if entry is None:
            raise NotFoundError(self._what_there_is(name, version))
        return entry

    def peek(self, name: str, version: str | None = None) -> Entry | None:
        """Return what is known right now, without looking further."""
        if version is None or version == LATEST:
            return self._latest.get(name)
        return self._entries.get((name, self._aliases.get((name, version), version)))

    def folder_of(self, entry: Entry) -> Path | None:
        """Return where a version lies on this machine; None where only workers have it."""
        return self._folder.path_of(entry.manifest)

    def aliases_of(self, name: str) -> dict[str, str]:
        """Return a model's versions by alias, `latest` always among them."""
        known = {alias: version for (model, alias), version in sorted(self._aliases.items()) if model == name}
        latest = self._latest.get(name)
        return known | ({LATEST: latest.manifest.version} if latest else {})

    async def refresh(self) -> None:
        """Look at the folder and at Redis; without Redis everything is kept as it was, with no live worker."""
        async with self._refreshing:
            await self._refresh()

    async def look_again(self) -> None:
        """Refresh once more; one look serves all who ask for it meanwhile."""
        await self._look_again(since=self._clock())

    async def _look_again(self, *, since: float) -> None:
        """Return once there was a look that began after `since`; one look serves all who wait for it."""
        async with self._refreshing:
            if self._refreshed_at > since:
                return
            pause_s = self._refreshed_at + MISS_PAUSE_S - self._clock()
            if pause_s > 0:
                await self._sleep(pause_s)
            await self._refresh()

    async def _refresh(self) -> None:
        self._refreshed_at = self._clock()
        await self._folder.look()
        try:
            announced = {
                (status.manifest.name, status.manifest.version): status for status in await self._registry.models()
            }
            for key, manifest in self._folder.manifests.items():
                if key not in announced:
                    await self._registry.register(manifest)
            self._aliases = await self._registry.aliases()
            self._unloaded = await self._registry.unloaded()
            self._broken = self._local_faults() | {each.key: each for each in await self._registry.broken()}
        except FerryError as error:
            self._broken = self._local_faults()
            logger.warning("the catalog could not be refreshed: %s", error)
            # What only workers announced is not unknown because Redis is silent.
            announced = {
                key: ModelStatus(
                    entry.manifest,
                    0,
                    0,
                    entry.profile,
                    entry.tuning,
                    is_paused=entry.is_paused,
                    is_draining=entry.is_draining,
                    switched=entry.switched,
                )
                for key, entry in self._entries.items()
            }
        fresh: dict[tuple[str, str], Entry] = {
            key: Entry(
                self._manifest_of(key, status),
                status.live_workers,
                status.waiting_rows,
                status.profile,
                status.tuning,
                status.is_paused,
                status.is_draining,
                key in self._unloaded,
                status.other_workers,
                status.switched,
                self._reason(key),
            )
            for key, status in announced.items()
        }
        for key, manifest in self._folder.manifests.items():
            fresh.setdefault(key, Entry(manifest, broken=self._reason(key)))
        self._measure(announced.values())
        self._entries = {key: self._kept(key, entry) for key, entry in fresh.items()}
        self._latest = {entry.manifest.name: entry for entry in self.entries}
        for (name, alias), version in self._aliases.items():
            if alias == LATEST and (entry := self._entries.get((name, version))):
                self._latest[name] = entry

    def _local_faults(self) -> dict[tuple[str, str], BrokenModel]:
        return {key: BrokenModel(*key, reason) for key, reason in self._folder.broken.items()}

    def _reason(self, key: tuple[str, str]) -> str:
        return self._broken[key].reason if key in self._broken else ""

    def _manifest_of(self, key: tuple[str, str], status: ModelStatus) -> Manifest:
        """Return the folder's manifest where it has the registered digest: its texts are newer. Else the registered."""
        registered = status.digest or status.manifest.digest
        return self._folder.manifests[key] if self._folder.digests.get(key) == registered else status.manifest

    def drain_of(self, entry: Entry) -> float:
        """Return rows a second that leave a model's queue while rows wait; before that was seen, by its profile."""
        rate = self._drains.get((entry.manifest.name, entry.manifest.version))
        if rate is not None and rate.rows_a_s is not None:
            return rate.rows_a_s
        if entry.profile is None:
            return 0.0
        return entry.live_workers * max(entry.profile.rows_per_s)

    def drain_in_all(self) -> float:
        """Return rows a second that leave the queues of all models that have rows waiting."""
        return sum(self.drain_of(entry) for entry in self._entries.values() if entry.waiting_rows)

    def _measure(self, statuses: Iterable[ModelStatus]) -> None:
        now = self._clock()
        for status in statuses:
            rate = self._drains.setdefault((status.manifest.name, status.manifest.version), DrainRate())
            rate.see(status.done_rows, now, is_busy=status.waiting_rows > 0)

    async def register(self, entry: Entry) -> None:
        """Make a model known to a queue that has forgotten it."""
        await self._registry.register(entry.manifest)

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            try:
                await self.refresh()
            except Exception:
                logger.exception("the catalog's refresh failed")

    def _kept(self, key: tuple[str, str], entry: Entry) -> Entry:
        """Keep the old object when nothing changed: its codecs are made already."""
        old = self._entries.get(key)
        return old if old == entry and old is not None else entry

    def _what_there_is(self, name: str, version: str | None) -> str:
        # What the client sent may be as long as a body; no name or version is.
        name, version = name[:SHOWN_CHARS], version and version[:SHOWN_CHARS]
        names = sorted({known for known, _ in self._entries})
        faults = [each for each in self.broken if each.name == name and (version is None or each.version == version)]
        if faults:
            return f"model {name}:{faults[-1].version} is broken: {faults[-1].reason}"
        if name in names:
            versions = ", ".join(sorted((known for each, known in self._entries if each == name), key=int))
            aliases = sorted((alias, known) for (model, alias), known in self._aliases.items() if model == name)
            also = "".join(f", {alias} is {known}" for alias, known in aliases)
            return f"model {name!r} has no version {version!r}; it has {versions}{also}"
        close = difflib.get_close_matches(name, names, n=3)
        listed = f"; did you mean {', '.join(close)}?" if close else f"; there are {', '.join(names) or 'none'}"
        return f"no model {name!r}{listed}"
