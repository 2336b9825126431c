from dataclasses import replace

from benchmarks import sections, tables, w1_tables
from benchmarks.figures import per_core_s
from benchmarks.reports import Source, last_with
from tests.unit.benchmarks.reports_of_tests import source, system

BOTH = source(ferry=system("Ferry", 1000.0, 250.0), mosec=system("mosec", 4000.0, 80.0))


def test_throughput_table_when_shown_then_setting_and_processor_time_stand_beside_the_rate() -> None:
    lines = w1_tables.throughput_table(BOTH.report).splitlines()
    assert lines[0].endswith("| 1 client | 64 clients | CPU µs a job | jobs per core-second |")
    assert lines[2] == "| mosec | setting of mosec | lost | 4,000 | 4,000 | 80 | 12,500 |"
    assert lines[3] == "| Ferry | setting of Ferry | lost | 1,000 | 1,000 | 250 | 4,000 |"


def test_throughput_table_when_a_system_could_not_run_then_its_error_is_shown() -> None:
    shown = w1_tables.throughput_table(source(mosec=system("mosec", 1.0, 1.0, error="OSError: no\nmore")).report)
    assert "could not run: OSError: no |" in shown


def test_sweep_table_when_settings_failed_then_best_and_worst_of_the_others_are_named() -> None:
    shown = w1_tables.sweep_table(BOTH.report)
    assert "| mosec | 2 of them | 3, 1 failed | 90 | 100 | 10,000 | 1 of them | 50 |" in shown
    assert "| Gone | could not run: InstallFailedError: no wheel |" in shown
    assert w1_tables.failed_settings(BOTH.report) == "- mosec, 1 of them: TimeoutError: no answer"


def test_durability_table_when_measured_then_every_way_says_what_is_lost() -> None:
    shown = w1_tables.durability_table(source(ferry=system("Ferry", 1000.0, 250.0)).report)
    assert "| setting of Ferry | at most the last second | 1,000 | 10.0 / 20.0 | 250 | 4,000 |" in shown


def test_bars_table_when_a_later_run_measured_a_bar_then_no_older_run_is_used() -> None:
    slower = replace(
        source(ferry=system("Ferry", 500.0, 1.0), mosec=system("mosec", 500.0, 1.0)), name="2025-12-31.json"
    )
    shown = tables.bars_table([BOTH, slower])
    assert "| W1, 64 clients: jobs/s beside mosec | - | 0.25 x | - | ≥ 1 | no | 2026-01-02 |" in shown


def test_bars_table_when_a_run_had_no_sweep_then_its_peers_are_not_compared() -> None:
    without = Source("2026-01-02.json", {**BOTH.report, "sweep": {}})
    assert "| W1, 64 clients: jobs/s beside mosec | - | - | - | ≥ 1 | - | - |" in tables.bars_table([without])


def test_render_when_workloads_come_from_several_runs_then_each_names_its_own() -> None:
    older = Source(
        "2025-12-31.json", {**BOTH.report, "w3": {"json": {}}, "taken": {"w3": {"date": "2025-12-31", "commit": "old"}}}
    )
    text = sections.render([BOTH, older])
    assert (
        "2026-01-02, commit abc1234, 2 cores of a processor; load average 0.1 before and 1.5 after; other programs "
        in text
    )
    assert "used 0.02 cores meanwhile (median)" in text
    assert "2025-12-31, commit old, 2 cores of a processor. Raw figures: [2025-12-31.json]" in text
    assert last_with([BOTH, older], "w3") is older
    assert last_with([BOTH, older], "w9") is None


def test_per_core_s_when_a_job_takes_no_time_that_was_seen_then_there_is_no_figure() -> None:
    assert per_core_s(250.0) == 4000.0
    assert per_core_s(0.0) is None
    assert per_core_s(None) is None
