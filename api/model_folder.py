"""The model repository as this process last saw it. It is read in a thread: a network drive may hang.

Knows nothing of Redis and of requests.
"""

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

from ferry.manifest import Manifest
from ferry.repository import Fingerprint, Repository, Survey

# A look takes milliseconds. One that takes longer is not waited for; the next one takes its result.
LOOK_LIMIT_S = 2.0
THREAD_NAME = "model-folder"

ModelKey = tuple[str, str]
# The survey is None where nothing changed.
_Seen = tuple[Fingerprint, Survey | None]

logger = logging.getLogger(__name__)


class ModelFolder:
    """What lies in one repository, by (name, version). manifests: of what is sound. broken: why the rest is not."""

    def __init__(self, repository: Repository, *, limit_s: float = LOOK_LIMIT_S) -> None:
        self._repository = repository
        self._limit_s = limit_s
        self.manifests: dict[ModelKey, Manifest] = {}
        self.digests: dict[ModelKey, str] = {}
        self.broken: dict[ModelKey, str] = {}
        self._fingerprint: Fingerprint | None = None
        self._looking: asyncio.Future[_Seen] | None = None
        self._hangs = False

    async def look(self) -> None:
        """Look once more; a look that hangs leaves everything as it was."""
        self._looking = self._looking or self._start()
        try:
            async with asyncio.timeout(self._limit_s):
                fingerprint, survey = await asyncio.shield(self._looking)
        except TimeoutError:
            if not self._hangs:
                logger.warning(
                    "model_folder_hangs: %s did not answer within %g s; the models are taken as they were",
                    self._repository.root,
                    self._limit_s,
                )
            self._hangs = True
            return
        except Exception:
            self._looking = None
            raise
        self._looking, self._hangs, self._fingerprint = None, False, fingerprint
        if survey:
            self.manifests, self.broken = survey.entries, survey.broken
            self.digests = {key: manifest.digest for key, manifest in self.manifests.items()}

    def path_of(self, manifest: Manifest) -> Path | None:
        """Return where a version lies; None where only workers have it."""
        key = manifest.name, manifest.version
        return self._repository.folder(*key) if key in self.manifests else None

    def _start(self) -> asyncio.Future[_Seen]:
        """Look in a thread that does not keep the process from ending, as one of a pool would."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Seen] = loop.create_future()

        def run() -> None:
            try:
                settle = partial(future.set_result, self._read())
            except Exception as error:  # noqa: BLE001  who waits gets it
                settle = partial(future.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)

        threading.Thread(target=run, name=THREAD_NAME, daemon=True).start()
        return future

    def _read(self) -> _Seen:
        fingerprint = self._repository.fingerprint()
        return fingerprint, None if fingerprint == self._fingerprint else self._repository.survey()
