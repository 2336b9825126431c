"""Debian packages the benchmarks need, installed when missing. Linux with apt-get only."""

import os
import shutil
import subprocess

INSTALL_TIMEOUT_S = 300


class PackageMissingError(RuntimeError):
    """A Debian package is missing and could not be installed; the message says what to do."""


def need_program(program: str, *packages: str) -> str:
    """Return the path of a program, installing its packages first where it is missing.

    Raises:
        PackageMissingError: it cannot be installed here.
    """
    if found := shutil.which(program):
        return found
    install(*packages)
    if found := shutil.which(program):
        return found
    raise PackageMissingError(f"{program} is missing after apt-get install {' '.join(packages)}")


def install(*packages: str) -> None:
    """Install Debian packages.

    Raises:
        PackageMissingError: no apt-get, no right to use it, or it failed.
    """
    command = f"apt-get install {' '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise PackageMissingError(f"install it as root first: {command}")
    apt = ["apt-get", "-qq", "-y"]
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "text": True}
    try:
        subprocess.run([*apt, "update"], timeout=INSTALL_TIMEOUT_S, check=False, **quiet)
        done = subprocess.run(
            [*apt, "install", "--no-install-recommends", *packages], timeout=INSTALL_TIMEOUT_S, check=False, **quiet
        )
    except subprocess.TimeoutExpired:
        raise PackageMissingError(f"{command} took over {INSTALL_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise PackageMissingError(f"{command} failed: {done.stderr.strip()[-500:]}")
