"""Which models workers cannot serve, as they report it in Redis: how it is written and read. Knows no repository."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ferry.queue.keys import BROKEN_KEPT_MS, model_key

ModelKey = tuple[str, str]
# Models that one worker reports; a folder full of other things must not fill Redis.
MAX_REPORTED = 100


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A version that `workers` workers of the last BROKEN_KEPT_MS could not serve, and the reason that one gives."""

    name: str
    version: str
    reason: str
    workers: int = 0

    @property
    def key(self) -> ModelKey:
        """(name, version)."""
        return self.name, self.version


def report_args(broken: Mapping[ModelKey, str], before: Collection[ModelKey]) -> list[bytes]:
    """Return the arguments of the broken script after the worker's name; `before`: what it reported last."""
    reported = dict(list(broken.items())[:MAX_REPORTED])
    mended = [model_key(*key) for key in before if key not in reported]
    pairs = [part for key, reason in reported.items() for part in (model_key(*key), reason)]
    # A folder's name may hold bytes that are no text.
    return [part.encode("utf-8", "backslashreplace") for part in (str(len(mended)), *mended, *pairs)]


def broken_from_fields(fields: Mapping[bytes, bytes], steady_ms: int) -> list[BrokenModel]:
    """Read the hash of broken models (`ferry.queue.keys.Keys.broken`), names in order; old reports are left out."""
    found: dict[ModelKey, BrokenModel] = {}
    for field, value in sorted(fields.items()):
        _, _, ref = field.decode("utf-8", "replace").partition(" ")
        at_ms, _, reason = value.decode("utf-8", "replace").partition(" ")
        if not at_ms.isdecimal() or abs(steady_ms - int(at_ms)) > BROKEN_KEPT_MS:
            continue
        name, _, version = ref.rpartition(":")
        before = found.get((name, version))
        found[name, version] = BrokenModel(name, version, reason, before.workers + 1 if before else 1)
    return [found[key] for key in sorted(found)]
