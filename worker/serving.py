"""Which models this worker has loaded, kept equal to the model repository. Knows nothing of Celery."""

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from ferry.errors import ModelRefusedError
from ferry.manifest import Manifest
from ferry.profile import Profile
from ferry.repository import NO_VERSION, Repository
from worker.load_marks import Load, LoadMarks
from worker.models import Model, load_model
from worker.providers import ON_CPU, Accelerator

logger = logging.getLogger(__name__)

ModelKey = tuple[str, str]
# onnxruntime quotes whole node signatures.
MAX_REASON_CHARS = 500
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
        marks: LoadMarks | None = None,
    ) -> None:
        self._repository = repository
        self._threads = threads
        self._accelerator = accelerator
        self._profiler = profiler
        self._marks = marks
        self._models: dict[ModelKey, Model] = {}
        # What its files looked like when a version was refused, and why: a copy under way is refused, and whole a
        # moment later.
        self._refused: dict[ModelKey, tuple[object, str]] = {}
        # Replaced as a whole, never changed: the heartbeat's thread reads it.
        self._broken: dict[ModelKey, str] = {}
        # How many sound versions an operator unloaded.
        self._n_left_out = 0
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

    @property
    def broken(self) -> dict[ModelKey, str]:
        """Why each version that is there and cannot be served is broken. Read by any thread."""
        return self._broken

    @property
    def has_nothing_left(self) -> bool:
        """Whether there are versions and every one of them is broken; one that an operator unloaded is not.

        A folder without a version is no version: its first one may be on its way.
        """
        has_versions = any(version != NO_VERSION for _, version in self._broken)
        return has_versions and not self._models and not self._n_left_out

    def load_all(self) -> None:
        """Load and warm up every sound version of the repository; each broken one is logged and left out."""
        self.refresh()

    def refresh(self) -> Changes:
        """Load what is new and drop what is gone. A version that fails is logged once, and tried again when changed."""
        fingerprint, left_out = self._repository.fingerprint(), self._left_out
        deadly = self._marks.left_out() if self._marks else {}
        if (fingerprint, left_out, deadly) == self._fingerprint:
            return Changes()
        self._fingerprint = (fingerprint, left_out, deadly)
        stamps = {(name, version): tuple(rest) for name, version, *rest in fingerprint}
        survey = self._repository.survey()
        wanted = {key: manifest for key, manifest in survey.entries.items() if key not in left_out}
        self._n_left_out = len(survey.entries) - len(wanted)
        unloaded = [key for key, model in self._models.items() if wanted.get(key) != model.manifest]
        for key in unloaded:
            del self._models[key]
        broken = {key: reason for key, reason in survey.broken.items() if key not in left_out}
        loaded = []
        for key, manifest in wanted.items():
            if key in self._models:
                continue
            if reason := self._why_not_loaded(manifest, stamps.get(key), deadly):
                broken[key] = reason
            else:
                loaded.append(key)
        self._note_broken(broken)
        return Changes(tuple(loaded), tuple(key for key in unloaded if key not in self._models))

    def _note_broken(self, broken: dict[ModelKey, str]) -> None:
        """Take in what is broken now. A version is logged when it becomes broken, not again while it is."""
        for (name, version), reason in broken.items():
            if (name, version) not in self._broken:
                logger.error("model_broken: %s:%s is not served: %s", name, version, reason)
        self._refused = {key: refused for key, refused in self._refused.items() if key in broken}
        self._broken = broken

    def _why_not_loaded(self, manifest: Manifest, stamp: object, deadly: Mapping[Load, str]) -> str:
        """Load a version; return why that failed, now or before with the same files, or "" where it is served."""
        key = manifest.name, manifest.version
        load = (*key, manifest.digest)
        if load in deadly:
            return deadly[load]
        refused = self._refused.get(key)
        if refused and refused[0] == stamp:
            return refused[1]
        try:
            with self._marks.loading(load) if self._marks else nullcontext():
                self._load(key, manifest)
        except ModelRefusedError as error:
            reason = error.detail
        except Exception as error:  # noqa: BLE001  whatever it is, the other models are served
            reason = f"{type(error).__name__}: {error}"
        else:
            return ""
        reason = _on_one_line(reason.removeprefix(f"{manifest.ref}: "))
        self._refused[key] = (stamp, reason)
        return reason

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
        if key in self._broken:
            logger.info("model_mended: %s can be served again", manifest.ref)
        logger.info("serving %s, batches of up to %d rows", manifest.ref, model.limits.max_rows)


def _on_one_line(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 3] + "..."
