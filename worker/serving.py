"""Which models this worker has loaded, kept equal to the model repository. Knows nothing of Celery."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ferry.errors import ModelRefusedError
from ferry.manifest import Manifest
from ferry.profile import Profile
from ferry.repository import Repository
from worker.models import Model, load_model
from worker.providers import ON_CPU, Accelerator

logger = logging.getLogger(__name__)

ModelKey = tuple[str, str]
# Measures a model, None where it cannot be.
Profiler = Callable[[Model], Profile | None]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh did."""

    loaded: tuple[ModelKey, ...] = ()
    unloaded: tuple[ModelKey, ...] = ()


class Shelf:
    """The loaded models of one worker."""

    def __init__(
        self,
        repository: Repository,
        *,
        threads: int,
        accelerator: Accelerator = ON_CPU,
        profiler: Profiler | None = None,
    ) -> None:
        self._repository = repository
        self._threads = threads
        self._accelerator = accelerator
        self._profiler = profiler
        self._models: dict[ModelKey, Model] = {}
        # What its files looked like when a version was refused: a copy under way is refused, and whole a moment later.
        self._refused: dict[ModelKey, object] = {}
        self._fingerprint: object = None
        # Versions that an operator unloaded. Written by the pulse's thread, read by the worker's own.
        self._left_out: frozenset[ModelKey] = frozenset()
        # Versions whose registered files are others than the loaded ones; the same threads.
        self._other: frozenset[ModelKey] = frozenset()

    def leave_out(self, models: frozenset[ModelKey]) -> None:
        """Serve these versions no more from the next refresh on, and those that were left out before again."""
        self._left_out = models

    def set_other(self, models: frozenset[ModelKey]) -> None:
        """Note the versions that the queue knows under another digest: this worker gets no job of them."""
        for key in models - self._other:
            if key in self._models:
                logger.warning(
                    "other_digest: %s:%s is registered with other files than those here (%s), so this worker gets no "
                    "job of it; make the files the same on every worker",
                    *key, self._models[key].digest[:12],
                )  # fmt: skip
        self._other = models

    def is_other(self, key: ModelKey) -> bool:
        """Say whether the queue knows this version under another digest."""
        return key in self._other

    def find(self, name: str, version: str) -> Model | None:
        """Return a loaded model, or None."""
        return self._models.get((name, version))

    def manifests(self) -> list[Manifest]:
        """Return the manifests of all loaded models."""
        return [model.manifest for model in self.models()]

    def keys(self) -> list[ModelKey]:
        """Return (name, version) of all loaded models."""
        return list(self._models)

    def models(self) -> list[Model]:
        """Return all loaded models."""
        return list(self._models.values())

    def load_all(self) -> None:
        """Load and warm up everything in the repository.

        Raises:
            ModelRefusedError: naming each model that will not be served, and why.
        """
        self._fingerprint = (self._repository.fingerprint(), self._left_out)
        survey = self._repository.survey()
        refused = [f"{name}:{version}: {reason}" for (name, version), reason in survey.broken.items()]
        for key, manifest in survey.entries.items():
            if key in self._left_out:
                continue
            try:
                self._load(key, manifest)
            except ModelRefusedError as error:
                refused.append(error.detail)
        if refused:
            raise ModelRefusedError("cannot serve:\n  " + "\n  ".join(refused))

    def refresh(self) -> Changes:
        """Load what is new and drop what is gone. A new model that fails is logged once and left out."""
        fingerprint, left_out = self._repository.fingerprint(), self._left_out
        if (fingerprint, left_out) == self._fingerprint:
            return Changes()
        self._fingerprint = (fingerprint, left_out)
        stamps = {(name, version): tuple(rest) for name, version, *rest in fingerprint}
        wanted = {key: manifest for key, manifest in self._repository.scan().items() if key not in left_out}
        unloaded = [key for key, model in self._models.items() if wanted.get(key) != model.manifest]
        for key in unloaded:
            del self._models[key]
        missing = {key: manifest for key, manifest in wanted.items() if key not in self._models}
        loaded = [key for key, manifest in missing.items() if self._try_load(key, manifest, stamps.get(key))]
        return Changes(tuple(loaded), tuple(key for key in unloaded if key not in self._models))

    def _try_load(self, key: ModelKey, manifest: Manifest, stamp: object) -> bool:
        if key in self._refused and self._refused[key] == stamp:
            return False
        try:
            self._load(key, manifest)
        except ModelRefusedError as error:
            self._refused[key] = stamp
            logger.error("not served: %s", error)  # noqa: TRY400  the reason is the message, a traceback says no more
            return False
        return True

    def _load(self, key: ModelKey, manifest: Manifest) -> None:
        folder = self._repository.folder(*key)
        model = load_model(folder, manifest, threads=self._threads, accelerator=self._accelerator)
        if self._profiler:
            model.adopt(self._profiler(model))
        try:
            model.warm_up()
        except Exception as error:  # noqa: BLE001  a model may dislike zeros and still be right about real rows
            logger.warning("%s could not be warmed up with zeros: %s", manifest.ref, error)
        self._models[key] = model
        logger.info("serving %s, batches of up to %d rows", manifest.ref, model.limits.max_rows)
