"""The embedded Redis and the process manager, with real processes; the parts are trivial stand-ins."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from ferry.errors import ConfigError
from ferry.local.background_stack import BackgroundStack, StackFailedError
from ferry.local.data_dir import DataDir
from ferry.local.part_states import read_states
from ferry.local.redis_probe import Pong, check_redis, ping
from ferry.local.redis_server import RedisServer, find_redis_server

GIVE_UP_S = 60.0  # a bound for a broken machine, not an expectation

# A stack of stand-in parts on a real embedded Redis: argv is the data folder, then NAME=PYTHON_CODE of each part. The
# one called flower is not needed; it is ready when FAKE_READY_URL answers, at once where there is none.
FAKE_STACK = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from ferry.local.data_dir import DataDir, RunInfo
    from ferry.local.part_printer import PartPrinter
    from ferry.local.parts import Part
    from ferry.local.redis_server import RedisServer
    from ferry.local.stack import Launch, run_launch
    from ferry.local.stop_signals import StopSignals

    parts = [
        Part(name, (sys.executable, "-c", code), is_needed=name != "flower")
        for name, _, code in (arg.partition("=") for arg in sys.argv[2:])
    ]
    ready_urls = os.environ.get("FAKE_READY_URL", "").split()
    with StopSignals() as stop, DataDir(Path(sys.argv[1])) as data_dir:
        server = RedisServer(data_dir.redis, data_dir.logs / "redis.log")
        server.start(is_cancelled=stop.is_set, keep_open=(data_dir.lock_fd,))
        printer = PartPrinter(data_dir.logs / "ferry.log", sys.stdout)
        log = str(data_dir.logs / "ferry.log")
        info = RunInfo(os.getpid(), "http://api", "http://flower", server.url, "ferry", log)
        try:
            launch = Launch(parts, ready_urls, info, "It is up.")
            status = run_launch(launch, data_dir, printer, stop=stop, redis=server)
        finally:
            printer.close()
            server.stop(is_impatient=lambda: stop.count > 1)
    sys.exit(status)
    """
)
SLEEPER = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
STUBBORN = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); " + SLEEPER

# For a part that ends once the stack is up: before, its end would stop everything.
WHEN_UP = """
import os, signal, sys, time
from pathlib import Path
folder = Path(os.environ["FAKE_DATA_DIR"])
while not (folder / "run.json").exists():
    time.sleep(0.01)
"""
CRASHER = WHEN_UP + "os.kill(os.getpid(), signal.SIGKILL)"
NEVER_UP = "http://127.0.0.1:1/"
AGAIN = "worker-1 was ended by SIGKILL; starting it again"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ferry runs on POSIX systems")


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + GIVE_UP_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        time.sleep(0.02)


def stack_lines(stack: "FakeStack") -> list[str]:
    log = stack.data_dir / "logs" / "ferry.log"
    return log.read_text().splitlines() if log.exists() else []


class FakeStack:
    """A fake stack in a process of its own, as a terminal would run it."""

    def __init__(self, data_dir: Path, *, ready_url: str = "", **parts: str) -> None:
        self.data_dir = data_dir
        arguments = [f"{name}={code}" for name, code in parts.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", FAKE_STACK, str(data_dir), *arguments],
            env=os.environ | {"FAKE_DATA_DIR": str(data_dir), "FAKE_READY_URL": ready_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_until_up(self) -> dict[str, str]:
        eventually(lambda: self.run_file.exists() or self.process.poll() is not None, "the stack is up")
        assert self.process.poll() is None, self.process.communicate()
        return json.loads(self.run_file.read_text())

    @property
    def run_file(self) -> Path:
        return self.data_dir / "run.json"

    def pids(self, n_pids: int) -> list[int]:
        """Return the pids the sleepers told, and Redis'."""

        def told() -> list[int]:
            return [int(line.rpartition(" ")[2]) for line in stack_lines(self) if "| pid " in line]

        eventually(lambda: len(told()) >= n_pids, f"{n_pids} sleepers tell their pids")
        return [*told(), self.redis_pid()]

    def part_pids(self, name: str) -> list[int]:
        """Return the pids that a part's sleepers told, one life after the other."""
        return [int(line.rpartition(" ")[2]) for line in stack_lines(self) if f" {name} " in line and "| pid " in line]

    def started_pids(self, name: str) -> list[int]:
        """Return the pids that the stack told of a part, one life after the other."""
        starts = [line for line in stack_lines(self) if f"| {name} started (pid=" in line]
        return [int(line.rpartition("=")[2].rstrip(")")) for line in starts]

    def said(self, text: str) -> int:
        """Return how many lines of the log hold the text."""
        return sum(text in line for line in stack_lines(self))

    def wait_until_said(self, text: str, n_times: int = 1) -> None:
        eventually(lambda: self.said(text) >= n_times, f"{n_times} times: {text}")

    def redis_pid(self) -> int:
        url = json.loads(self.run_file.read_text())["redis_url"]
        with redis.Redis.from_url(url) as client:
            return client.info("server")["process_id"]

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=GIVE_UP_S)
        return self.process.returncode, out, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., FakeStack]]:
    started: list[FakeStack] = []

    def launch(**parts: str) -> FakeStack:
        started.append(FakeStack(tmp_path / "data", **parts))
        return started[-1]

    yield launch
    for stack in started:
        if stack.process.poll() is None:
            stack.process.kill()
            stack.process.communicate()


def is_gone(pid: int) -> bool:
    """Whether no process runs under the pid; one that only waits to be reaped is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def assert_gone(pids: list[int]) -> None:
    eventually(lambda: all(is_gone(pid) for pid in pids), f"{pids} are gone")


# --- the embedded Redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "a folder" / "redis", tmp_path / "logs" / "redis.log")
    yield server
    server.stop()


def test_redis_when_started_answers_with_its_password_only(server: RedisServer) -> None:
    server.start()
    assert ping(server.url) is Pong.READY
    check_redis(server.url)
    assert ping(f"redis://:wrong@127.0.0.1:{server.port}/0") is Pong.SILENT
    assert ping(f"redis://127.0.0.1:{server.port}/0") is not Pong.READY


def test_redis_when_started_is_durable_and_evicts_nothing(server: RedisServer) -> None:
    server.start()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        config = client.config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
    assert {name: config[name] for name in wanted} == wanted
    assert config["bind"] == "127.0.0.1"


def test_redis_when_restarted_keeps_keys_and_password(server: RedisServer) -> None:
    server.start()
    first_url = server.url
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    server.stop()
    server.start()
    assert server.url.partition("@")[0] == first_url.partition("@")[0]
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_redis_when_killed_keeps_what_it_acknowledged(server: RedisServer, tmp_path: Path) -> None:
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.exit_status() is not None, "Redis is gone")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"yes"


def test_redis_files_when_started_are_private(server: RedisServer, tmp_path: Path) -> None:
    server.start()
    folder = tmp_path / "a folder" / "redis"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "redis.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600


def test_redis_when_running_shows_no_password_in_its_command_line(server: RedisServer) -> None:
    server.start()
    with redis.Redis.from_url(server.url) as client:
        pid = client.info("server")["process_id"]
    password = server.url.split(":")[2].partition("@")[0]
    assert password not in Path(f"/proc/{pid}/cmdline").read_text()


def test_redis_when_the_binary_ends_at_once_tells_its_log(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    log = tmp_path / "redis.log"
    fake.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "v=7.0.0" || echo "no luck today" > {log}\n')
    fake.chmod(0o755)
    with pytest.raises(ConfigError, match="no luck today"):
        RedisServer(tmp_path / "redis", log, fake).start()


def test_redis_when_the_binary_is_too_old_is_refused_with_a_remedy(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text('#!/bin/sh\necho "Redis server v=6.0.16 sha=0"\n')
    fake.chmod(0o755)
    with pytest.raises(ConfigError, match=r"6\.0.*needs 6\.2.*FERRY_REDIS_URL"):
        RedisServer(tmp_path / "redis", tmp_path / "redis.log", fake).start()


def test_redis_when_the_data_is_of_a_newer_one_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text('#!/bin/sh\necho "Redis server v=6.2.14 sha=0"\n')
    fake.chmod(0o755)
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot read"):
        RedisServer(tmp_path / "redis", tmp_path / "redis.log", fake).start()


def test_check_when_nobody_answers_names_the_place_and_no_password() -> None:
    with pytest.raises(ConfigError, match=r"no Redis answers at 127\.0\.0\.1:1 ") as caught:
        check_redis("redis://user:secret@127.0.0.1:1/0")
    assert "secret" not in str(caught.value)


def test_check_when_the_password_is_wrong_says_so(server: RedisServer) -> None:
    server.start()
    with pytest.raises(ConfigError, match="refuses the user name or password") as caught:
        check_redis(f"redis://:guess@127.0.0.1:{server.port}/0")
    assert "guess" not in str(caught.value)


def test_find_when_there_is_none_names_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"apt-get install redis-server.*FERRY_REDIS_URL"):
        find_redis_server(str(tmp_path))


def test_find_when_the_wheel_is_missing_takes_the_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "valkey-server").touch(0o755)
    assert find_redis_server(str(tmp_path)).name == "valkey-server"


# --- the stack


def test_stack_when_interrupted_stops_everything_with_status_0(start: Callable[..., FakeStack]) -> None:
    stack = start(api=SLEEPER, worker=SLEEPER)
    stack.wait_until_up()
    pids = stack.pids(2)
    assert any("It is up." in line for line in iter(stack.process.stdout.readline, ""))
    stack.process.send_signal(signal.SIGINT)
    status, _, err = stack.end()
    assert (status, err) == (0, "")
    assert_gone(pids)
    assert not stack.run_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_stack_when_told_by_another_signal_stops_as_well(start: Callable[..., FakeStack], number: int) -> None:
    stack = start(api=SLEEPER)
    stack.wait_until_up()
    pids = stack.pids(1)
    stack.process.send_signal(number)
    assert stack.end()[0] == 0
    assert_gone(pids)


def test_stack_when_a_part_crashes_stops_the_rest_and_shows_its_last_lines(start: Callable[..., FakeStack]) -> None:
    crash = "[print('line', n) for n in range(30)]; raise SystemExit(7)"
    stack = start(api=SLEEPER, worker=crash, ready_url=NEVER_UP)
    status, _, err = stack.end()
    assert status == 1
    assert "worker ended with status 7" in err
    assert "| line 29" in err
    assert "| line 10" in err
    assert "line 9\n" not in err
    assert_gone([int(line.rpartition(" ")[2]) for line in stack_lines(stack) if "| pid " in line])


def test_stack_when_a_part_ends_well_fails_nonetheless(start: Callable[..., FakeStack]) -> None:
    status, _, err = start(api=SLEEPER, worker="pass", ready_url=NEVER_UP).end()
    assert status == 1
    assert "worker ended with status 0" in err


def test_stack_when_redis_is_killed_then_it_is_started_again_where_it_was_and_the_parts_stay(
    start: Callable[..., FakeStack],
) -> None:
    stack = start(**{"worker-1": SLEEPER})
    url = stack.wait_until_up()["redis_url"]
    (part, killed) = stack.pids(1)
    with redis.Redis.from_url(url) as client:
        client.set("job", "waits")
        # What it answered may be written up to a second later.
        eventually(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "it is written")
    os.kill(killed, signal.SIGKILL)
    stack.wait_until_said("redis was ended by SIGKILL; starting it again")
    eventually(lambda: is_redis_up(url), "Redis answers again at its address")
    with redis.Redis.from_url(url) as client:
        assert client.get("job") == b"waits"
    assert not is_gone(part)
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0
    assert_gone([part, killed])


def test_stack_when_redis_cannot_start_again_then_stops_the_parts_and_says_why(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": SLEEPER})
    url = stack.wait_until_up()["redis_url"]
    pids = stack.pids(1)
    with redis.Redis.from_url(url) as client:
        client.set("job", "waits")
    (written,) = [path for path in (stack.data_dir / "redis").rglob("*.aof") if path.stat().st_size]
    with written.open("r+b") as file:
        file.write(b"no file of Redis")
    os.kill(pids[-1], signal.SIGKILL)
    status, _, err = stack.end()
    assert status == 1
    assert "redis ended with status 1" in err
    assert "Bad file format" in err
    assert_gone(pids)


def is_redis_up(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_stack_when_interrupted_twice_kills_a_part_that_will_not_end(start: Callable[..., FakeStack]) -> None:
    stack = start(api=STUBBORN)
    stack.wait_until_up()
    pids = stack.pids(1)
    stack.process.send_signal(signal.SIGINT)
    eventually(lambda: any("sending SIGTERM to api" in line for line in stack_lines(stack)), "SIGTERM is sent")
    assert not is_gone(pids[0])
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0
    assert_gone(pids)


def test_stack_when_killed_takes_everything_along(start: Callable[..., FakeStack]) -> None:
    stack = start(api=STUBBORN, worker=SLEEPER)
    stack.wait_until_up()
    pids = stack.pids(2)
    stack.process.kill()
    stack.end()
    assert_gone(pids)


def test_stack_when_a_part_leaves_a_child_behind_ends_the_child_too(start: Callable[..., FakeStack]) -> None:
    stack = start(api=PARENT)
    stack.wait_until_up()
    pids = stack.pids(2)
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0
    assert_gone(pids)


# --- parts that are started again


def test_part_when_killed_comes_back_and_the_others_stay(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"api": SLEEPER, "worker-1": SLEEPER, "worker-2": SLEEPER})
    stack.wait_until_up()
    pids = stack.pids(3)
    killed = stack.part_pids("worker-1")[0]
    os.kill(killed, signal.SIGKILL)
    stack.wait_until_said(AGAIN)
    pids = stack.pids(4)
    assert len(stack.part_pids("worker-1")) == 2
    assert [pid for pid in pids if is_gone(pid)] == [killed]
    assert stack.run_file.exists()
    stack.process.send_signal(signal.SIGINT)
    status, out, err = stack.end()
    assert (status, err) == (0, "")
    assert out.count(AGAIN) == 1
    assert_gone(pids)


def test_part_when_it_ends_itself_comes_back_too(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": WHEN_UP + "print('pid', os.getpid(), flush=True); sys.exit(70)"})
    stack.wait_until_said("worker-1 ended with status 70; starting it again")
    assert stack.process.poll() is None


def test_part_when_a_job_uses_up_its_attempts_on_it_runs_on(start: Callable[..., FakeStack]) -> None:
    poison = WHEN_UP + textwrap.dedent(
        """
        deaths = folder / "deaths"
        n_deaths = len(deaths.read_text()) if deaths.exists() else 0
        if n_deaths < 3:
            deaths.write_text("x" * (n_deaths + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    stack = start(**{"worker-1": poison + SLEEPER})
    stack.wait_until_up()
    pids = stack.pids(1)
    assert stack.said(AGAIN) == 3
    stack.process.send_signal(signal.SIGTERM)
    assert stack.end()[0] == 0
    assert_gone(pids)


def test_part_when_killed_takes_what_it_had_started_along(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": PARENT})
    stack.wait_until_up()
    *first, _ = stack.pids(2)
    leader = next(pid for pid in first if os.getpgid(pid) == pid)
    os.kill(leader, signal.SIGKILL)
    stack.wait_until_said(AGAIN)
    assert_gone(first)


def test_stack_when_every_new_start_fails_goes_on_and_tries_again_seldom(start: Callable[..., FakeStack]) -> None:
    broken = WHEN_UP + "print('the models folder is broken', flush=True); sys.exit(3)"
    stack = start(**{"api": SLEEPER, "worker-1": broken})
    stack.wait_until_said(
        "worker-1 ended with status 3 (it ended soon after its start 5 times in a row); starting it again in 30 s"
    )
    assert stack.said("worker-1 ended with status 3; starting it again") == 4
    states = {state.name: state for state in read_states(stack.data_dir)}
    assert (states["api"].is_up, states["worker-1"].is_up, states["worker-1"].restarts) == (True, False, 4)
    assert not is_gone(stack.part_pids("api")[0])
    stack.process.send_signal(signal.SIGINT)
    status, _, err = stack.end()
    assert (status, err) == (0, "")
    assert_gone(stack.part_pids("api"))
    assert read_states(stack.data_dir) == []


@pytest.mark.parametrize("ready_url", ["", NEVER_UP], ids=["up", "coming up"])
def test_stack_when_flower_dies_or_refuses_then_flower_alone_is_started_again(
    start: Callable[..., FakeStack], ready_url: str
) -> None:
    refuses_once = (
        "import os, sys; from pathlib import Path\n"
        "flag = Path(os.environ['FAKE_DATA_DIR']) / 'was-here'\n"
        "if not flag.exists(): flag.touch(); sys.exit(2)\n" + SLEEPER
    )
    stack = start(api=SLEEPER, flower=refuses_once, ready_url=ready_url)
    stack.wait_until_said("flower ended with status 2; starting it again")
    eventually(lambda: stack.part_pids("flower"), "Flower runs")
    os.kill(stack.part_pids("flower")[0], signal.SIGKILL)
    stack.wait_until_said("flower was ended by SIGKILL; starting it again")
    eventually(lambda: len(stack.part_pids("flower")) == 2, "Flower runs again")
    eventually(lambda: all(state.is_up for state in read_states(stack.data_dir)), "the states say so")
    assert {state.name: state.restarts for state in read_states(stack.data_dir)} == {"redis": 0, "api": 0, "flower": 2}
    assert not is_gone(stack.part_pids("api")[0])
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0


def test_stack_when_a_worker_fails_at_its_first_start_stops_at_once(start: Callable[..., FakeStack]) -> None:
    broken = "print('the models folder is broken', flush=True); raise SystemExit(3)"
    stack = start(**{"api": SLEEPER, "worker-1": broken}, ready_url=NEVER_UP)
    status, out, err = stack.end()
    assert status == 1
    assert "ferry: worker-1 ended with status 3, so everything was stopped" in err
    assert "| the models folder is broken" in err
    assert stack.said("starting it again") == 0
    assert "It is up." not in out
    assert_gone(stack.part_pids("api"))


def test_stack_when_a_job_of_an_earlier_stack_kills_a_worker_at_its_first_start_goes_on(
    start: Callable[..., FakeStack],
) -> None:
    once = (
        "import os; from pathlib import Path\n"
        "flag = Path(os.environ['FAKE_DATA_DIR']) / 'was-here'\n"
        "if not flag.exists(): flag.touch(); os.kill(os.getpid(), 9)\n" + SLEEPER
    )
    stack = start(**{"api": SLEEPER, "worker-1": once}, ready_url=NEVER_UP)
    eventually(lambda: stack.said(AGAIN) == 1, "the worker is started again")
    pids = stack.part_pids("api") + stack.part_pids("worker-1")
    stack.process.send_signal(signal.SIGINT)
    status, _, _ = stack.end()
    assert status == 0
    assert_gone(pids)


def test_stack_when_the_api_dies_after_it_was_up_then_the_api_alone_is_started_again(
    start: Callable[..., FakeStack],
) -> None:
    stack = start(**{"api": SLEEPER, "worker-1": SLEEPER})
    stack.wait_until_up()
    stack.pids(2)
    os.kill(stack.part_pids("api")[0], signal.SIGKILL)
    stack.wait_until_said("api was ended by SIGKILL; starting it again")
    eventually(lambda: len(stack.part_pids("api")) == 2, "the API runs again")
    assert not is_gone(stack.part_pids("worker-1")[0])
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stack_when_stopped_in_a_pause_ends_well(start: Callable[..., FakeStack], number: int) -> None:
    stack = start(**{"api": SLEEPER, "worker-1": CRASHER})
    stack.wait_until_up()
    pids = stack.pids(1)
    stack.wait_until_said(AGAIN, 4)  # the fourth pause takes 1.6 s
    stack.process.send_signal(number)
    status, _, err = stack.end()
    assert (status, err) == (0, "")
    assert stack.said("worker-1 started") == 4
    assert_gone([*pids, *stack.started_pids("worker-1")])


def test_stack_when_stopped_while_a_part_is_started_again_leaves_nobody(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": CRASHER})
    stack.wait_until_said("worker-1 started", 2)
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0
    assert_gone(stack.started_pids("worker-1"))


def test_stack_when_killed_takes_a_restarted_part_along(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": STUBBORN})
    stack.wait_until_up()
    os.kill(stack.pids(1)[0], signal.SIGKILL)
    pids = stack.pids(2)
    stack.process.kill()
    stack.end()
    assert_gone(pids)


def test_stack_when_interrupted_twice_kills_a_restarted_part(start: Callable[..., FakeStack]) -> None:
    stack = start(**{"worker-1": STUBBORN})
    stack.wait_until_up()
    os.kill(stack.pids(1)[0], signal.SIGKILL)
    pids = stack.pids(2)
    stack.process.send_signal(signal.SIGINT)
    stack.wait_until_said("sending SIGTERM to worker-1")
    assert not is_gone(pids[1])
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0
    assert_gone(pids)


def test_stack_when_nobody_reads_the_terminal_goes_on_and_stops_well(start: Callable[..., FakeStack]) -> None:
    chatter = "[print('x' * 200) for _ in range(5000)]; "  # many times what the pipes hold
    stack = start(api=chatter + SLEEPER)
    pids = stack.pids(1)
    assert stack.said("x" * 200) == 5000
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(timeout=GIVE_UP_S) == 0
    assert stack.end()[1].count("x" * 200) < 5000
    assert_gone(pids)


# --- the data folder and the outside


def test_stack_when_the_folder_is_in_use_names_the_process(start: Callable[..., FakeStack]) -> None:
    stack = start(api=SLEEPER)
    stack.wait_until_up()
    with pytest.raises(ConfigError, match=f"in use by process {stack.process.pid}"), DataDir(stack.data_dir):
        pass
    stack.process.send_signal(signal.SIGINT)
    assert stack.end()[0] == 0


def test_stack_when_up_tells_a_private_run_file(start: Callable[..., FakeStack]) -> None:
    stack = start(api=SLEEPER)
    info = stack.wait_until_up()
    assert info["pid"] == stack.process.pid
    assert stat.S_IMODE(stack.run_file.stat().st_mode) == 0o600
    with redis.Redis.from_url(info["redis_url"]) as client:
        assert client.ping()


def test_stack_when_restarted_keeps_the_data(start: Callable[..., FakeStack]) -> None:
    stack = start(api=SLEEPER)
    with redis.Redis.from_url(stack.wait_until_up()["redis_url"]) as client:
        client.set("job", "waiting")
    stack.process.send_signal(signal.SIGTERM)
    stack.end()
    again = start(api=SLEEPER)
    with redis.Redis.from_url(again.wait_until_up()["redis_url"]) as client:
        assert client.get("job") == b"waiting"


def test_stack_when_a_part_cannot_be_started_fails_and_names_it(
    start: Callable[..., FakeStack], tmp_path: Path
) -> None:
    script = FAKE_STACK.replace('(sys.executable, "-c", code),', "(code,),")
    data_dir = tmp_path / "data"
    done = subprocess.run(
        [sys.executable, "-c", script, str(data_dir), "api=/nowhere/api"],
        capture_output=True,
        text=True,
        timeout=GIVE_UP_S,
        check=False,
    )
    assert done.returncode == 1
    assert "api ended with status 127" in done.stderr
    assert "/nowhere/api: No such file" in done.stderr


def test_background_stack_when_it_cannot_start_tells_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(StackFailedError, match=r"did not start:\n  ferry: no Redis answers at 127\.0\.0\.1:1 "):
        BackgroundStack(tmp_path / "data").start()


def test_up_when_the_given_redis_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    ferry = shutil.which("ferry", path=str(Path(sys.executable).parent))
    assert ferry
    env = os.environ | {"FERRY_REDIS_URL": "redis://:secret@127.0.0.1:1/0", "FERRY_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([ferry, "up"], env=env, capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("ferry: no Redis answers at 127.0.0.1:1 ")
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr
