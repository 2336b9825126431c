import io
from datetime import datetime
from pathlib import Path

import pytest
from honcho.printer import Message

from ferry.local.part_printer import PartPrinter


def line(data: bytes | str, name: str = "api") -> Message:
    return Message(type="line", data=data, time=datetime(2026, 1, 2, 3, 4, 5), name=name, colour=None)


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


def test_write_prefixes_lines_on_the_terminal_and_in_the_log(tmp_path: Path, terminal: io.StringIO) -> None:
    printer = PartPrinter(tmp_path / "log", terminal)
    printer.width = 8
    printer.write(line(b"hello\n"))
    printer.close()
    assert terminal.getvalue() == "03:04:05 api      | hello\n"
    assert (tmp_path / "log").read_text() == "2026-01-02 03:04:05.000 api      | hello\n"


def test_write_when_quiet_goes_to_the_log_alone(tmp_path: Path, terminal: io.StringIO) -> None:
    printer = PartPrinter(tmp_path / "log", terminal, is_quiet=True)
    printer.write(line(b"hello\n"))
    printer.say("It is up.")
    printer.close()
    assert terminal.getvalue() == "It is up.\n"
    assert "hello" in (tmp_path / "log").read_text()


def test_tail_keeps_the_last_20_lines_of_each_part(tmp_path: Path, terminal: io.StringIO) -> None:
    printer = PartPrinter(tmp_path / "log", terminal)
    for number in range(30):
        printer.write(line(f"line {number}\n".encode()))
    printer.write(line("other\n", name="worker-1"))
    printer.close()
    assert printer.tail("api") == [f"line {number}" for number in range(10, 30)]
    assert printer.tail("worker-1") == ["other"]


def test_write_when_bytes_are_not_utf8_replaces_them(tmp_path: Path, terminal: io.StringIO) -> None:
    printer = PartPrinter(tmp_path / "log", terminal)
    printer.write(line(b"caf\xe9\n"))
    printer.close()
    assert printer.tail("api") == ["caf\N{REPLACEMENT CHARACTER}"]


class HungUp(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_write_when_the_terminal_is_gone_still_logs(tmp_path: Path) -> None:
    printer = PartPrinter(tmp_path / "log", HungUp())
    printer.write(line(b"one\n"))
    printer.write(line(b"two\n"))
    printer.say("three")
    printer.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2
