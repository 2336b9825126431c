"""A peer: a server that runs in an environment of its own, with settings to choose. Knows no particular one."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.digits import Pixels, digits
from benchmarks.environments import environment
from benchmarks.places import HOST, MODEL, PEERS, free_port
from benchmarks.processes import Process, running
from benchmarks.setting import Knobs, Setting
from benchmarks.system import System, wait_until_answering
from ferry.local.redis_server import RedisServer

# Commands of one peer: its processes in order, each as a program of the environment's bin folder and its arguments.
Commands = Callable[[int, Setting], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Shape:
    """Path and body of a request, and where the answer has the digit."""

    path: str
    make_body: Callable[[Pixels], dict[str, Any]]
    read_digit: Callable[[Any], int]


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer; `env` are further variables, in which {port}, {port1}, {port2} and a setting's fields are filled in."""

    name: str
    label: str
    keeps_jobs: str
    shape: Shape
    commands: Commands
    knobs: Knobs
    packages: tuple[str, ...]
    python: str = sys.executable
    needs_redis: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    before_install: Callable[[], None] = lambda: None

    def prepare(self) -> None:
        """Make its environment.

        Raises:
            InstallFailedError, PackageMissingError: saying what is missing.
        """
        self.before_install()
        environment(self.name, self.python)

    def system(self, setting: Setting) -> System:
        """Return it as a system under test that runs with a setting."""
        return System(
            name=self.name, label=self.label, keeps_jobs=self.keeps_jobs, path=self.shape.path,
            make_body=self.shape.make_body, read_digit=self.shape.read_digit,
            run=partial(self._serving, setting), prepare=self.prepare, packages=self.packages,
            setting=setting.label(),
        )  # fmt: skip

    @contextmanager
    def _serving(self, setting: Setting, folder: Path) -> Iterator[str]:
        """Run its processes; yields its base URL once it answers."""
        home, port = environment(self.name, self.python), free_port(3)
        with ExitStack() as stack:
            env = self._variables(setting, home, port)
            if self.needs_redis:
                server = RedisServer(folder / "redis", folder / "redis.log")
                stack.callback(server.stop)
                server.start()
                env["BENCH_REDIS_URL"] = server.url
            processes: list[Process] = []
            for number, (program, *arguments) in enumerate(self.commands(port, setting)):
                command, log = [str(home / "bin" / program), *arguments], folder / f"{self.name}-{number}.log"
                processes.append(stack.enter_context(running(command, log=log, cwd=folder, env=env)))
            base_url = f"http://{HOST}:{port}"
            wait_until_answering(self.system(setting).post(base_url, digits(1)[0][0]), processes)
            yield base_url

    def _variables(self, setting: Setting, home: Path, port: int) -> dict[str, str]:
        fields = {
            "port": port, "port1": port + 1, "port2": port + 2, "processes": setting.processes,
            "timer_s": (setting.timer_ms or 0) / 1000,
        }  # fmt: skip
        return {
            "BENCH_MODEL": str(MODEL), "BENCH_PORT": str(port), "PYTHONPATH": f"{PEERS / self.name}:{PEERS}",
            "PATH": f"{home / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            **setting.env(), **{name: value.format(**fields) for name, value in self.env.items()},
        }  # fmt: skip
