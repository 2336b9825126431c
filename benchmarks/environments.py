"""A virtual environment for each peer, under .ferry/bench, made once from its pinned requirements."""

import subprocess
import sys
from pathlib import Path

from benchmarks.places import PEERS, WORK, uv

INSTALL_TIMEOUT_S = 900
STAMP = ".requirements"


class InstallFailedError(RuntimeError):
    """A peer's packages could not be installed; the message holds what the installer said."""


def environment(peer: str, python: str = sys.executable) -> Path:
    """Return the environment's folder, made first unless it holds just these requirements already.

    Raises:
        InstallFailedError: as named.
    """
    folder, requirements = WORK / peer, PEERS / peer / "requirements.txt"
    wanted, stamp = f"{python}\n{requirements.read_text()}", folder / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _uv("venv", "--clear", "--python", python, str(folder))
    _uv("pip", "install", "--python", str(folder / "bin" / "python"), "-r", str(requirements))
    stamp.write_text(wanted)
    return folder


def versions(folder: Path) -> dict[str, str]:
    """Return every package of an environment with its version."""
    listed = _uv("pip", "list", "--python", str(folder / "bin" / "python"), "--format=freeze")
    return dict(line.split("==", 1) for line in listed.splitlines() if "==" in line)


def _uv(*arguments: str) -> str:
    try:
        done = subprocess.run(
            [uv(), *arguments, "--quiet"] if arguments[-1] != "--format=freeze" else [uv(), *arguments],
            capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailedError(f"uv {' '.join(arguments[:2])}: {error}") from error
    if done.returncode != 0:
        raise InstallFailedError(f"uv {' '.join(arguments[:2])}: {done.stderr.strip()[-1000:]}")
    return done.stdout
