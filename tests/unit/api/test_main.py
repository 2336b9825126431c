import signal
from pathlib import Path

import pytest

from api import __main__ as module
from api.__main__ import MOST_PROCESSES
from api.app import create_app
from ferry.cores import available_cores


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[int, object]:
    """Stand far from any .env, and let no test change how this process takes signals."""
    handlers: dict[int, object] = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FERRY_REDIS_URL", raising=False)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    return handlers


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Serve nothing, and keep what would be."""
    served: list[dict[str, object]] = []
    monkeypatch.setattr(module.uvicorn, "run", lambda app, **options: served.append({"app": app, **options}))
    return served


def test_main_when_settings_are_good_then_served_on_their_address(
    monkeypatch: pytest.MonkeyPatch, served: list[dict[str, object]]
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "redis://host")
    monkeypatch.setenv("FERRY_API_HOST", "0.0.0.0")
    monkeypatch.setenv("FERRY_API_PORT", "9000")
    assert module.main() == 0
    (options,) = served
    assert (options["host"], options["port"]) == ("0.0.0.0", 9000)
    assert (options["log_config"], options["server_header"]) == (None, False)
    assert options["app"] == f"{create_app.__module__}:{create_app.__name__}"
    assert (options["factory"], options["workers"]) == (True, min(available_cores(), MOST_PROCESSES))


def test_main_when_several_processes_are_asked_for_then_the_argument_goes_before_the_setting(
    monkeypatch: pytest.MonkeyPatch, served: list[dict[str, object]]
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "redis://host")
    monkeypatch.setenv("FERRY_API_PROCESSES", "2")
    assert module.main() == module.main(["--workers", "3"]) == 0
    assert [options["workers"] for options in served] == [2, 3]


def test_main_when_told_to_stop_before_it_serves_then_a_good_end(
    monkeypatch: pytest.MonkeyPatch, served: list[dict[str, object]], handlers: dict[int, object]
) -> None:
    monkeypatch.setenv("FERRY_REDIS_URL", "redis://host")
    module.main()
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(SystemExit) as stopped:
            handlers[number](number, None)
        assert stopped.value.code == 0


@pytest.mark.parametrize(("key", "value"), [("FERRY_API_PORT", "x"), ("FERRY_REDIS_URL", "")])
def test_main_when_settings_are_bad_then_named_on_stderr_and_nothing_is_served(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    served: list[dict[str, object]],
    key: str,
    value: str,
) -> None:
    monkeypatch.setenv(key, value)
    assert module.main() == 1
    assert served == []
    err = capsys.readouterr().err
    assert err.startswith("api: ")
    assert key in err
