import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ferry.local.part_process import LINE_LIMIT_BYTES, PartProcess
from ferry.local.parts import Part

GIVE_UP_S = 60.0  # a bound for a broken machine, not an expectation
SLEEP = "; import time; time.sleep(600)"


@contextmanager
def running(code: str, **env: str) -> Iterator[PartProcess]:
    process = PartProcess(Part("part", (sys.executable, "-uc", code), env))
    try:
        yield process
    finally:
        process.close()


def next_lines(process: PartProcess) -> bytes:
    """Wait until something can be read, and return the whole lines of it."""
    assert select.select([process], [], [], GIVE_UP_S)[0], "the part writes nothing"
    return process.read_lines()


def all_lines(process: PartProcess) -> list[bytes]:
    """Return what each reading gave, to the end."""
    parts = []
    while not process.is_silent:
        parts.append(next_lines(process))
    return [part for part in parts if part]


def test_lines_when_one_is_not_finished_wait_for_its_end() -> None:
    with running("import sys; sys.stdout.write('a\\nb'); input()") as process:
        assert b"".join(all_lines(process)).startswith(b"a\nbTraceback")  # its input is empty


def test_lines_when_nothing_can_be_read_are_none() -> None:
    with running("pass" + SLEEP) as process:
        assert process.read_lines() == b""
        assert not process.is_silent


def test_lines_when_the_last_has_no_end_come_with_it() -> None:
    with running("import sys; sys.stderr.write('the last words')") as process:
        assert b"".join(all_lines(process)) == b"the last words"


def test_lines_when_one_never_ends_come_in_pieces() -> None:
    size_bytes = 3 * LINE_LIMIT_BYTES
    with running(f"import sys; sys.stdout.write('x' * {size_bytes})") as process:
        pieces = all_lines(process)
    assert sum(map(len, pieces)) == size_bytes
    assert max(map(len, pieces)) < 2 * LINE_LIMIT_BYTES


def test_rest_when_the_part_has_ended_is_all_it_wrote() -> None:
    with running("print('x' * 99); print('the end', end='')") as process:
        while process.status is None:
            select.select([], [], [], 0.01)
        assert process.read_rest() == b"x" * 99 + b"\nthe end"
        assert process.status == 0


def test_rest_when_another_keeps_the_output_open_does_not_wait_for_it() -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP[2:]!r}]); print('the end', end='')"
    with running(code) as process:
        while process.status is None:
            select.select([], [], [], 0.01)
        assert process.read_rest() == b"the end"
        assert not process.is_silent


def test_environment_when_the_part_has_its_own_is_added() -> None:
    with running("import os; print(os.environ['FERRY_TEST'], 'PATH' in os.environ)", FERRY_TEST="yes") as process:
        assert b"".join(all_lines(process)) == b"yes True\n"


def test_close_when_it_runs_kills_it() -> None:
    with running("pass" + SLEEP) as process:
        process.close()
        assert process.status == -signal.SIGKILL
        assert process.read_lines() == b""
