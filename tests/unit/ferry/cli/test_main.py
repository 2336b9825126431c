import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ferry.cli import main as cli
from ferry.errors import ConfigError


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Run the script's entry point; return what it exits with."""
    monkeypatch.setattr(sys, "argv", ["ferry", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_version_prints_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "version") == 0
    assert capsys.readouterr().out.startswith("ferry 0.")


def test_help_lists_every_command() -> None:
    text = CliRunner().invoke(cli.app, ["--help"]).output
    for name in ("up", "demo", "version", "models", "batch"):
        assert f" {name} " in text


@pytest.mark.parametrize("command", ["", "batch", "batch run", "models add", "dead list", "keys create", "queue drain"])
def test_help_when_an_option_takes_no_value_then_no_type_is_shown(command: str) -> None:
    shown = CliRunner().invoke(cli.app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "--help" in shown.output
    assert "<bool>" not in shown.output


def test_command_when_mistyped_is_told_the_right_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "dmeo") == 2
    assert "Did you mean 'demo'?" in capsys.readouterr().err


def test_error_of_ours_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ConfigError("no such thing; do this")

    monkeypatch.setattr(cli, "app", fail)
    assert run_main(monkeypatch) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "ferry: no such thing; do this\n")


def test_settings_when_wrong_name_the_bad_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FERRY_API_PORT", "99999")
    assert run_main(monkeypatch, "up") == 1
    assert "FERRY_API_PORT" in capsys.readouterr().err


def test_demo_when_the_model_is_unknown_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("FERRY_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("FERRY_DATA_DIR", str(tmp_path))
    assert run_main(monkeypatch, "demo", "--model", "nobody") == 1
    assert capsys.readouterr().err.startswith("ferry: no model 'nobody' in ")
