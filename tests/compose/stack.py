"""The stack of docker-compose.yml as a user starts it: built, up on free ports, scaled, broken and taken down again."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
# In place of a developer's own .env, which may say anything.
NO_SETTINGS = Path(__file__).parent / "none.env"
SERVICES = ("redis", "api", "worker", "flower")
# Bounds for a slow machine, never expectations.
BUILD_S, UP_S, COMMAND_S, POLL_S = 900.0, 240.0, 120.0, 0.25


def tools() -> dict[str, str]:
    """Return the environment compose is run in: Debian's docker-compose goes with Debian's docker, and BuildKit."""
    path = os.environ["PATH"]
    if Path("/usr/bin/docker-compose").exists():
        path = f"/usr/bin:{path}"
    return {**os.environ, "PATH": path, "COMPOSE_DOCKER_CLI_BUILD": "1", "DOCKER_BUILDKIT": "1"}


def compose_command() -> list[str] | None:
    """Return how compose is called here: v1, else v2; None where there is neither."""
    env = tools()
    if found := shutil.which("docker-compose", path=env["PATH"]):
        return [found]
    docker = shutil.which("docker", path=env["PATH"])
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    return None


def why_not() -> str | None:
    """Return why the stack cannot be run on this machine; None where it can."""
    if compose_command() is None:
        return "neither docker-compose nor `docker compose` is installed"
    info = subprocess.run(["docker", "info"], env=tools(), capture_output=True, text=True, check=False)
    if info.returncode:
        return f"no Docker engine answers: {info.stderr.strip().splitlines()[-1:] or info.stdout[-200:]}"
    return None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class ComposeStack:
    """One project. `files` are compose files, the project's own if left out; `settings` what `.env` would say."""

    def __init__(self, name: str, settings: Mapping[str, str] | None = None, files: Sequence[str] = ()) -> None:
        self.name = name
        self.files = files
        self.api_port, self.flower_port = free_port(), free_port()
        self.secrets = {"REDIS_PASSWORD": secrets.token_hex(24), "FLOWER_PASSWORD": secrets.token_hex(12)}
        self.settings = {
            **self.secrets,
            "API_PUBLISH": f"127.0.0.1:{self.api_port}",
            "FLOWER_PUBLISH": f"127.0.0.1:{self.flower_port}",
            **(settings or {}),
        }
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.flower_url = f"http://127.0.0.1:{self.flower_port}"

    def compose(
        self, *arguments: str, is_checked: bool = True, settings: Mapping[str, str] | None = None, timeout_s: float = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of compose in this project."""
        command = [*(compose_command() or ()), "--env-file", str(NO_SETTINGS), "-p", self.name]
        for file in self.files:
            command += ["-f", file]
        done = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=tools() | dict(self.settings if settings is None else settings),
            capture_output=True, text=True, check=False, timeout=timeout_s or COMMAND_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if is_checked and done.returncode:
            raise AssertionError(f"compose {' '.join(arguments)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def build(self) -> None:
        self.compose("build", timeout_s=BUILD_S)

    def up(self, *, workers: int = 1) -> None:
        """Start or scale, and return when all are healthy."""
        self.compose("up", "-d", "--scale", f"worker={workers}", timeout_s=UP_S + 60)
        self.wait_healthy(worker=workers)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", timeout_s=UP_S)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.compose("ps", "-q", service).stdout.split()

    def inspect(self, container: str) -> dict[str, Any]:
        return json.loads(docker("inspect", container))[0]

    def wait_healthy(self, **numbers: int) -> None:
        """Return when every service has so many containers (1 if not said), all of them healthy."""

        def is_healthy() -> bool:
            for service in SERVICES:
                containers = self.containers(service)
                if len(containers) != numbers.get(service, 1):
                    return False
                if any(self.inspect(each)["State"].get("Health", {}).get("Status") != "healthy" for each in containers):
                    return False
            return True

        eventually(is_healthy, f"{self.name}: all healthy", self._states)

    def _states(self) -> str:
        return self.compose("ps", is_checked=False).stdout + self.logs(tail=20)

    def logs(self, *services: str, tail: int = 2000) -> str:
        return self.compose("logs", "--no-color", f"--tail={tail}", *services, is_checked=False).stdout

    def log_lines(self, service: str, word: str) -> list[dict[str, Any]]:
        """Return the JSON lines of a service's log that hold a word."""
        texts = (line.partition("|")[2].strip() for line in self.logs(service).splitlines() if word in line)
        return [json.loads(text) for text in texts]

    def execute(self, service: str, *command: str, index: int = 1) -> str:
        """Run a command in a container; returns what it printed."""
        return self.compose("exec", "-T", f"--index={index}", service, *command).stdout

    def make_key(self, name: str, *options: str) -> str:
        return self.execute("api", "ferry", "keys", "create", name, *options).strip()

    def main_pids(self, service: str) -> list[int]:
        """Return the host's pids of each container's main process, the child of docker's init."""
        return [child_of(self.inspect(each)["State"]["Pid"]) for each in self.containers(service)]

    def redis_url(self) -> str:
        """Return where Redis is as the host sees it: it has no published port, but the bridge is this machine's."""
        (container,) = self.containers("redis")
        (network,) = self.inspect(container)["NetworkSettings"]["Networks"].values()
        return f"redis://:{self.secrets['REDIS_PASSWORD']}@{network['IPAddress']}:6379/0"

    def ask(
        self, method: str, path: str, key: str = "", *, json: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask the API."""
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        return httpx.request(method, self.url + path, json=json, headers=sent, timeout=30)


def docker(*arguments: str) -> str:
    """Run docker; returns what it printed."""
    done = subprocess.run(
        ["docker", *arguments], env=tools(), capture_output=True, text=True, check=False, timeout=COMMAND_S
    )
    if done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return done.stdout


def child_of(pid: int) -> int:
    """Return the first child of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children, f"process {pid} has no child"
    return int(children[0])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def eventually(
    condition: Callable[[], object], what: str, told: Callable[[], str] = str, *, give_up_s: float = UP_S
) -> None:
    """Return as soon as the condition holds."""
    give_up = time.monotonic() + give_up_s
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting: {what}\n{told()}"
        time.sleep(POLL_S)


def running(stack: ComposeStack, *, workers: int = 1) -> Iterator[ComposeStack]:
    """Build and start a stack, and take it down with its volumes."""
    stack.build()
    try:
        stack.up(workers=workers)
        yield stack
    finally:
        stack.down()
