import io
import os
from datetime import datetime
from pathlib import Path

import pytest

from ferry.local import part_printer
from ferry.local.part_printer import PART_COLOURS, Message, PartPrinter


def line(data: bytes | str, name: str = "api") -> Message:
    return Message(name, data, datetime(2026, 1, 2, 3, 4, 5))


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


class ColourTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_write_when_the_terminal_has_colours_paints_the_prefix_alone(tmp_path: Path) -> None:
    terminal = ColourTerminal()
    printer = PartPrinter(tmp_path / "log", terminal)
    printer.write(Message("api", b"hello\n", datetime(2026, 1, 2, 3, 4, 5), PART_COLOURS[0]))
    printer.close()
    assert terminal.getvalue() == "\x1b[36m03:04:05 api | \x1b[0mhello\n"
    assert "\x1b" not in (tmp_path / "log").read_text()


def test_write_when_nobody_reads_the_terminal_goes_on_and_later_says_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_printer, "TERMINAL_PATIENCE_S", 0.0)
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as reader, os.fdopen(write_fd, "w") as terminal:
        printer = PartPrinter(tmp_path / "log", terminal)
        for number in range(2000):
            printer.write(line(f"{number} {'x' * 200}\n"))
        assert len((tmp_path / "log").read_text().splitlines()) == 2000
        n_shown = len(os.read(reader.fileno(), 2**20).splitlines())
        assert 0 < n_shown < 2000
        printer.write(line("read again\n"))
        note, last = os.read(reader.fileno(), 2**20).decode().splitlines()
        printer.close()
    assert note == f"({2000 - n_shown} lines were left out here, since nobody took them; see the log)"
    assert last.endswith("| read again")
