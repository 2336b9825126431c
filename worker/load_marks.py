"""Which versions ended the workers that loaded them: a model may take all the memory, or crash its process.

A file stands for each load under way, locked by the process that loads; where the lock is gone and the file is not,
that process died of it. Any worker on the same data folder sees this. Knows nothing of how a model is loaded.
"""

import fcntl
import json
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

MARKS_DIR = "loading"
# One death may be anybody's: a machine that was switched off, an operator's kill.
DEATHS_LIMIT = 2
# A version that ended so many is left out for so long, twice as long after each further death.
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
# What is older says nothing any more.
KEPT_S = 7 * 24 * 3600.0

# Name, version, and the digest of its manifest: with other files it is another one.
Load = tuple[str, str, str]


class LoadMarks:
    """The marks in one folder. A folder that cannot be written leaves no marks, and costs no load."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @contextmanager
    def loading(self, load: Load) -> Iterator[None]:
        """Stand for a load while it runs; after one that went well the deaths before it are forgotten."""
        mark = self._folder / f"{uuid.uuid4().hex}.json"
        draft = mark.with_suffix(".draft")
        locked: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            locked = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(locked, json.dumps(load).encode())
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
        for path, _ in self._deaths().get(load, ()):
            _unlink(path)

    def left_out(self) -> Mapping[Load, str]:
        """Return what is not to be loaded now, and why."""
        found = {}
        now = self._clock()
        for load, deaths in self._deaths().items():
            last = max(at for _, at in deaths)
            pause_s = min(FIRST_PAUSE_S * 2 ** (len(deaths) - DEATHS_LIMIT), LONGEST_PAUSE_S)
            if len(deaths) >= DEATHS_LIMIT and now < last + pause_s:
                again = datetime.fromtimestamp(last + pause_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                found[load] = (
                    f"{len(deaths)} workers died while they loaded it (out of memory, or onnxruntime crashed); it is "
                    f"tried again at {again}, and at once when its files change"
                )
        return found

    def _deaths(self) -> dict[Load, list[tuple[Path, float]]]:
        """Return the marks whose processes are gone, and when each was made (Unix time), by what was loaded."""
        found = defaultdict(list)
        for path in self._folder.glob("*.json"):
            # Deleted meanwhile, or damaged: no mark.
            with suppress(OSError, ValueError):
                made_at = path.stat().st_mtime
                if self._clock() - made_at > KEPT_S:
                    _unlink(path)
                elif _is_unlocked(path):
                    name, version, digest = json.loads(path.read_bytes())
                    found[name, version, digest].append((path, made_at))
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
