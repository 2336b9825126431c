from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sweep
from benchmarks.peer import Peer
from benchmarks.peer_systems import MOSEC
from benchmarks.plan import QUICK
from benchmarks.setting import Setting
from benchmarks.system import System, WrongAnswerError
from tests.unit.benchmarks.reports_of_tests import a_try


def test_best_setting_when_tries_failed_then_the_fastest_of_the_others_is_kept() -> None:
    tries = [a_try(50.0), a_try(70.0, processes=2), a_try(900.0, processes=3, error="OSError: no")]
    assert sweep.best_setting(tries) == a_try(70.0, processes=2)["setting"]
    assert sweep.best_setting([a_try(1.0, error="OSError: no")]) is None


def test_setting_of_when_there_was_a_sweep_then_its_best_is_taken_and_else_the_default() -> None:
    report = {"sweep": {"mosec": {"best": a_try(1.0, processes=2)["setting"]}}}
    assert sweep.setting_of(report, MOSEC) == Setting(2, None, 5.0, "orjson")
    assert sweep.setting_of({}, MOSEC) == MOSEC.knobs.default()


@pytest.fixture
def peer() -> Peer:
    return replace(MOSEC, knobs=replace(MOSEC.knobs, timers_ms=(0.0, 5.0)))


def test_measure_when_a_setting_fails_then_its_error_is_kept_and_the_others_go_on(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def started(system: System, warm_up_s: float) -> Iterator[tuple[str, Path]]:
        if "0 ms" in system.setting:
            raise WrongAnswerError("mosec read sample 3 as 7, it is 5")
        yield system.setting, Path()

    def measured(post: str, **_: Any) -> dict[str, Any]:
        return {"per_s": 900.0 if post.startswith("2 model") else 500.0, "errors": 0}

    monkeypatch.setattr(sweep, "started", started)
    monkeypatch.setattr(sweep, "measured", measured)
    monkeypatch.setattr(sweep, "installed", lambda _: {"mosec": "1.0"})
    entry = sweep.measure([peer], QUICK, 2, lambda _: None)["mosec"]
    assert entry["best"] == Setting(2, None, 5.0, "orjson").to_json()
    assert [each["error"] for each in entry["tries"] if each["setting"]["timer_ms"] == 0.0] == [
        "WrongAnswerError: mosec read sample 3 as 7, it is 5"
    ] * 2


def test_measure_when_a_peer_cannot_be_installed_then_it_is_listed_with_its_error(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: System) -> dict[str, str]:
        raise OSError("no network")

    monkeypatch.setattr(sweep, "installed", fail)
    entry = sweep.measure([peer], QUICK, 2, lambda _: None)["mosec"]
    assert entry["error"] == "OSError: no network"
    assert entry["best"] is None
