from typing import Any

import pytest

from benchmarks.bulk.bars import bars, bulk_ratio, load_share, plain_per_s
from benchmarks.bulk.memory import MB, grown, part_of
from benchmarks.bulk.peer_jobs import read_result
from benchmarks.bulk.saturation import rows_per_s
from benchmarks.bulk.tables import interactive_table, memory_table, peers_table, rates_table, render


def case(ferry: float, **scripts: float) -> dict[str, Any]:
    return {
        "rows": 60_000,
        "scripts": {name: [{"rows_per_s": per_s}] for name, per_s in scripts.items()},
        "ferry": [{"rows_per_s": ferry, "whole_rows_per_s": ferry / 2, "index_s": 0.1, "assemble_s": 0.2}],
    }


REPEAT = {
    "alone": {"rate": 500.0, "p50_ms": 2.0, "p99_ms": 4.0, "lost": 0, "failed": 0},
    "beside": {"p50_ms": 3.0, "p99_ms": 8.0, "lost": 0, "failed": 0, "sender_lag_p99_ms": 0.5},
    "cores_idle": 0.1, "cores_alone": 0.5, "bulk_alone_per_s": 1000.0, "bulk_beside_per_s": 760.0,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "npy_mlp": case(700.0, npy=900.0, npy_mapped=1000.0),
    "npy_cnn": {"skipped": "there is no .venv-training"},
    "jsonl_mlp": case(300.0, jsonl=500.0)
    | {
        "peers": {
            "ray_data": {"error": None, "runs": [{"from_first_batch_rows_per_s": 150.0, "job_rows_per_s": 100.0}]},
            "celery_group": {"error": "InstallFailedError: no wheel", "runs": []},
        }
    },
    "interactive": {"cores": 2, "repeats": [REPEAT]},
    "memory": {"file_bytes": 2_000_000_000, "parts": {"api": grown({1: MB, 2: MB}, 12 * MB, {1: 8 * MB, 2: MB})}},
}


def measured() -> dict[str, float | None]:
    return {bar.what: bar.measured for bar in bars(REPORT)}


def test_bars_when_there_are_several_plain_ways_then_each_has_its_bar() -> None:
    assert plain_per_s(REPORT, "npy_mlp", "npy_mapped") == 1000.0
    bar = "60,000 rows, NPY, mlp: rows/s beside two"
    assert measured()[f"{bar} that map the file"] == pytest.approx(0.7)
    assert measured()[f"{bar} scripts that read their share whole"] == pytest.approx(7 / 9)


def test_bars_when_something_was_not_measured_then_its_bar_is_open() -> None:
    found = measured()
    assert found["NPY, cnn: rows/s beside two plain scripts"] is None
    assert found["60,000 rows, JSONL, mlp: rows/s beside Celery, group of tasks"] is None
    assert all(bar.is_met is None for bar in bars({}))


def test_bars_when_a_peer_ran_then_its_start_up_is_not_counted_against_it() -> None:
    assert measured()["60,000 rows, JSONL, mlp: rows/s beside Ray Data, map_batches"] == pytest.approx(2.0)


def test_bulk_ratio_when_a_load_takes_a_fifth_then_bulk_is_held_to_the_rest() -> None:
    assert load_share(REPEAT, 2) == pytest.approx(0.2)
    assert bulk_ratio(REPEAT, 2) == pytest.approx(0.95)
    assert measured()["interactive at 25 % load: p99 beside bulk / p99 alone"] == pytest.approx(2.0)


def test_grown_when_processes_grow_then_their_sum_and_the_greatest_come() -> None:
    found = grown({1: MB, 2: MB}, 12 * MB, {1: 8 * MB, 2: MB})
    assert found == {"processes": 2, "before_mb": 2.0, "grew_mb": 10.0, "grew_most_mb": 7.0}


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["python", "-m", "api", ""], "api"),
        (["python", "-m", "worker", ""], "worker"),
        (["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"], "api"),
        (["python", "-m", "celery", "-A", "worker.app", "flower"], None),
        (["redis-server", "127.0.0.1:0"], None),
        ([""], None),
    ],
)
def test_part_of_when_given_a_command_line_then_it_is_told(command: list[str], part: str | None) -> None:
    assert part_of(command) == part


def test_rows_per_s_when_counts_jump_then_only_whole_jumps_are_counted() -> None:
    # 100 rows every second, looked at every half, from the middle of one to the middle of another.
    samples = [(0.5, 0), (1.0, 100), (1.5, 100), (2.0, 200), (2.5, 200), (3.0, 300), (3.5, 300), (4.4, 300)]
    assert rows_per_s(samples) == 100.0


def test_rows_per_s_when_there_are_too_few_changes_then_it_is_said() -> None:
    with pytest.raises(ValueError, match="changed 1 times"):
        rows_per_s([(0.0, 0), (1.0, 5), (2.0, 5)])


def test_read_result_when_a_log_has_other_lines_then_the_whole_result_is_found() -> None:
    assert read_result('warning\n{"rows": 3') is None
    assert read_result('warning\n{"rows": 3, "job_s": 1.5}\nbye\n') == {"rows": 3, "job_s": 1.5}


def test_tables_when_some_steps_were_left_out_then_the_rest_is_shown() -> None:
    assert "| NPY, mlp, 60,000 rows | two that map the file | 1,000 | 700 | 0.70 |" in rates_table(REPORT)
    assert "| NPY, cnn | not measured: there is no .venv-training |" in rates_table(REPORT)
    assert "could not run: InstallFailedError: no wheel" in peers_table(REPORT)
    assert "| Ray Data, map_batches | 150 | 100 | 2.00 | 1.50 |" in peers_table(REPORT)
    assert "| 500 | 2.0 | 4.0 | 3.0 | 8.0 | 2.00 | 20 | 1,000 | 760 | 0.95 | 0.5 |" in interactive_table(REPORT)
    assert "| api | 2 | 2 | 10.0 | 7.0 |" in memory_table(REPORT)
    assert "### Memory" in render(REPORT)
    assert "### Memory" not in render({})
