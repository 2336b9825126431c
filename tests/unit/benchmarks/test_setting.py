import pytest

from benchmarks.peer import Peer
from benchmarks.peer_systems import BENTOML, CELERY_BATCHES, LITSERVE, MLSERVER, MOSEC, PEERS_UNDER_TEST
from benchmarks.setting import TIMERS_MS, Setting, read_setting, up_to


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (8, [1, 2, 3, 4, 8]), (12, [1, 2, 3, 4, 8, 12])],
)
def test_up_to_when_given_cores_then_one_and_all_are_tried(cores: int, counts: list[int]) -> None:
    assert up_to(cores) == counts


def test_settings_when_a_peer_has_a_timer_then_every_process_count_meets_every_timer() -> None:
    found = MOSEC.knobs.settings(cores=2)
    assert {(each.processes, each.timer_ms) for each in found} == {(n, ms) for n in (1, 2) for ms in TIMERS_MS}
    assert [each for each in found if each.json != "orjson"] == [Setting(1, None, 5.0, "Python's json")]


def test_settings_when_http_has_processes_of_its_own_then_one_model_behind_all_cores_is_tried_too() -> None:
    assert {(each.processes, each.fronts) for each in LITSERVE.knobs.settings(cores=2)} == {(1, 1), (2, 2), (1, 2)}


def test_settings_when_a_peer_has_no_timer_then_only_processes_vary() -> None:
    assert [each.processes for each in BENTOML.knobs.settings(cores=2)] == [1, 2]
    assert BENTOML.knobs.settings(cores=2)[0].timer_ms is None


def test_settings_when_the_model_can_run_in_the_http_process_then_that_is_tried() -> None:
    assert {each.processes for each in MLSERVER.knobs.settings(cores=2)} == {0, 1, 2}


@pytest.mark.parametrize("peer", PEERS_UNDER_TEST, ids=lambda peer: peer.name)
def test_settings_when_listed_then_the_default_is_among_them_and_none_is_double(peer: Peer) -> None:
    found = peer.knobs.settings(cores=2)
    assert peer.knobs.default() in found
    assert len(found) == len(set(found))


def test_label_when_shown_then_every_part_is_named() -> None:
    assert Setting(1, 2, 0.0, "orjson").label() == "1 model process, 2 HTTP processes, 0 ms, orjson"
    assert Setting(0, None, None, "orjson").label() == "model in the HTTP process, orjson"
    assert CELERY_BATCHES.knobs.default().label() == "1 model process, 1 HTTP process, 5 ms, orjson"


def test_read_setting_when_written_then_it_is_the_same() -> None:
    setting = Setting(2, 1, 2.0, "orjson")
    assert read_setting(setting.to_json()) == setting
    assert setting.env() == {
        "BENCH_PROCESSES": "2", "BENCH_FRONTS": "1", "BENCH_TIMER_MS": "2", "BENCH_JSON": "orjson",
    }  # fmt: skip
