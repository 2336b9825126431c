"""Which versions end the workers that load them: a model may take all the memory, or crash its process.

A file stands for each load under way, locked by the process that loads; where the lock is gone and the file is not,
that process died meanwhile. Any worker on the same data folder sees this. Knows nothing of how a model is loaded.
"""

import fcntl
import json
import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

MARKS_DIR = "loading"
# One death of a worker may be anybody's: a machine that was switched off, an operator's kill.
DEATHS_LIMIT = 2
# A version that ended the same worker so often is left out for so long, twice as long after each further death.
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
_LONGEST_POWER = 6
# What is older says nothing any more.
KEPT_S = 7 * 24 * 3600.0
_UNDER_WAY, _DEAD, _DRAFT = ".json", ".dead", ".draft"

# Name, version, and the digest of its manifest: with other files it is another one.
Load = tuple[str, str, str]


@dataclass
class _Marks:
    """The marks of one load. dead: with the worker that died, and when that was seen (Unix time)."""

    n_under_way: int = 0
    dead: list[tuple[Path, str, float]] = field(default_factory=list)


class LoadMarks:
    """The marks in one folder. A folder that cannot be written leaves no marks, and costs no load."""

    def __init__(self, folder: Path, worker: str, *, clock: Callable[[], float] = time.time) -> None:
        """`worker`: a name that its next lives have too."""
        self._folder = folder
        self._worker = worker
        self._clock = clock

    @contextmanager
    def loading(self, load: Load) -> Iterator[None]:
        """Stand for a load while it runs; after one that went well the deaths before it are forgotten."""
        mark = self._folder / f"{uuid.uuid4().hex}{_UNDER_WAY}"
        draft = mark.with_suffix(_DRAFT)
        locked: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            locked = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(locked, json.dumps([*load, self._worker]).encode())
            fcntl.flock(locked, fcntl.LOCK_EX)
            draft.rename(mark)  # locked before anybody sees it
        except OSError:
            _unlink(draft)
        try:
            yield
        finally:
            if locked is not None:
                _unlink(mark)
                os.close(locked)
        for path, _, _ in self._all()[load].dead:
            _unlink(path)

    def left_out(self) -> Mapping[Load, str]:
        """Return what is not to be loaded now, and why."""
        found, now = {}, self._clock()
        for load, marks in self._all().items():
            if not marks.dead:
                continue
            # The deaths of the worker that died most often: all of a machine may have been stopped at once.
            n_deaths = Counter(worker for _, worker, _ in marks.dead).most_common(1)[0][1]
            if n_deaths < DEATHS_LIMIT:
                continue
            last = min(now, max(at for _, _, at in marks.dead))  # a clock may have gone back since
            pause_s = min(FIRST_PAUSE_S * 2 ** min(n_deaths - DEATHS_LIMIT, _LONGEST_POWER), LONGEST_PAUSE_S)
            again = datetime.fromtimestamp(last + pause_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            died = f"a worker died {n_deaths} times while it loaded it (out of memory, or a crash of onnxruntime?)"
            if marks.n_under_way:
                found[load] = f"{died}; another worker is trying it"
            elif now < last + pause_s:
                found[load] = f"{died}; it is tried again at {again}, and at once when its files change"
        return found

    def _all(self) -> defaultdict[Load, _Marks]:
        """Return all marks by what is or was loaded; those that say nothing any more are deleted."""
        found: defaultdict[Load, _Marks] = defaultdict(_Marks)
        for path in self._folder.glob("*"):
            # Deleted or renamed meanwhile, or damaged: no mark.
            with suppress(OSError, ValueError):
                age_s = self._clock() - path.stat().st_mtime
                if path.suffix == _UNDER_WAY and _is_unlocked(path):
                    path = path.rename(path.with_suffix(_DEAD))  # noqa: PLW2901
                    now, age_s = self._clock(), 0.0
                    os.utime(path, (now, now))
                if age_s > KEPT_S:
                    _unlink(path)
                elif path.suffix in (_UNDER_WAY, _DEAD):
                    name, version, digest, worker = json.loads(path.read_bytes())
                    if path.suffix == _DEAD:
                        found[name, version, digest].dead.append((path, worker, self._clock() - age_s))
                    else:
                        found[name, version, digest].n_under_way += 1
        return found


def _is_unlocked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            # Shared, so that two who look at the same time do not take each other for the one who loads.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
