"""The whole stack as a user starts it: `ferry up` in a process of its own, spoken to over HTTP."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.processes import GIVE_UP_S, ROOT, eventually

FERRY = str(Path(sys.executable).with_name("ferry"))


@dataclass
class Stack:
    """A running `ferry up`."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    models_dir: Path
    log: Path

    @property
    def run_info(self) -> dict[str, object]:
        return json.loads((self.data_dir / "run.json").read_text())

    @property
    def api_url(self) -> str:
        return str(self.run_info["api_url"])

    @property
    def flower_url(self) -> str:
        return str(self.run_info["flower_url"])

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "FERRY_DATA_DIR": str(self.data_dir), "FERRY_MODELS_DIR": str(self.models_dir)}

    def interrupt(self) -> int:
        """Press Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=GIVE_UP_S)


StartStack = Callable[..., Stack]


@pytest.fixture(scope="session")
def start_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """Start stacks on the model that ships, on whatever ports are free; what still runs at the end is stopped."""
    with ExitStack() as stacks:

        def start(*, data_dir: Path | None = None, **settings: str) -> Stack:
            folder = tmp_path_factory.mktemp("stack")
            models = folder / "models"
            shutil.copytree(ROOT / "models", models)
            stack_env = {"FERRY_API_PORT": "0", "FERRY_FLOWER_PORT": "0", "FERRY_WORKERS": "2", **settings}
            home = data_dir or folder / "data"
            log = folder / "up.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [FERRY, "up"],
                    cwd=ROOT,
                    env={**os.environ, **stack_env, "FERRY_DATA_DIR": str(home), "FERRY_MODELS_DIR": str(models)},
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                )
            stack = Stack(process, home, models, log)
            stacks.callback(_stop, process)
            eventually(
                lambda: (home / "run.json").exists() or process.poll() is not None, f"the stack is up, see {log}"
            )
            assert process.poll() is None, stack.output
            return stack

        yield start


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=GIVE_UP_S)


@pytest.fixture(scope="session")
def stack(start_stack: StartStack) -> Stack:
    """One stack that tests share."""
    return start_stack()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.api_url, timeout=60) as client:
        yield client
