import pytest

from benchmarks import headline, page, sections
from benchmarks.reports import Source, sources
from tests.unit.benchmarks.reports_of_tests import source, system

FERRY = system("Ferry", 1000.0, 300.0)


def test_render_when_a_peer_is_faster_then_it_says_that_ferry_is_behind() -> None:
    text = headline.render(source(ferry=FERRY, mosec=system("mosec", 3000.0, 90.0), other=system("Other", 10.0, 900.0)))
    text = " ".join(text.split())
    assert "**Ferry is behind mosec (3,000 jobs/s, 90 µs, 3.0 times as fast)**." in text
    assert "It is ahead of Other (10 jobs/s, 900 µs)." in text
    assert "Less processor time a job than Ferry: mosec." in text


def test_render_when_a_peer_is_slower_but_cheaper_then_it_says_so() -> None:
    text = " ".join(headline.render(source(ferry=FERRY, mlserver=system("MLServer", 900.0, 200.0))).split())
    assert "No peer in this run is faster. It is ahead of MLServer (900 jobs/s, 200 µs)." in text
    assert "Less processor time a job than Ferry: MLServer." in text


def test_render_when_a_peer_answers_one_client_sooner_then_it_says_so() -> None:
    sooner, later = system("mosec", 3000.0, 90.0), system("Other", 10.0, 900.0)
    sooner["runs"]["1"] = [sooner["runs"]["64"][0] | {"p50_ms": 1.5}]
    text = " ".join(headline.render(source(ferry=FERRY, mosec=sooner, other=later)).split())
    assert "With one client alone Ferry's p50 is 10.0 ms; sooner: mosec (1.5 ms)." in text
    text = " ".join(headline.render(source(ferry=FERRY, other=later)).split())
    assert "With one client alone Ferry's p50 is 10.0 ms; no peer in this run answers sooner." in text


def test_render_when_durability_was_measured_then_it_says_what_it_costs() -> None:
    text = headline.render(
        source(ferry=FERRY, ferry_no_aof=system("F", 1100.0, 1.0), ferry_always=system("F", 250.0, 1.0))
    )
    assert "Ferry serves 1.10 times the jobs/s with nothing on disk and 0.25 times" in " ".join(text.split())


def test_render_when_a_peer_could_not_run_then_it_is_left_out() -> None:
    broken = system("mosec", 3000.0, 90.0, error="OSError: no")
    assert "mosec" not in headline.render(source(ferry=FERRY, mosec=broken))


def test_render_when_ferry_was_not_measured_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no run of Ferry with 64 clients"):
        headline.render(source(mosec=system("mosec", 3000.0, 90.0)))


def test_render_when_other_programs_ran_then_it_says_how_much_they_used() -> None:
    busy = system("Ferry", 1000.0, 300.0)
    busy["runs"]["64"][0]["others_cores"] = 0.7
    assert "Other programs used 0.7 of the cores" in " ".join(headline.render(source(ferry=busy)).split())
    assert "Other programs" not in headline.render(source(ferry=FERRY))


def test_paragraph_when_there_are_several_runs_then_the_last_with_a_sweep_is_told() -> None:
    last, older = source(ferry=system("Ferry", 500.0, 300.0)), source(ferry=FERRY)
    without = Source("2026-01-03.json", {**older.report, "sweep": {}})
    assert headline.paragraph([without, last, older]) == headline.render(last)
    assert headline.paragraph([without]) == headline.NOT_MEASURED


def test_written_when_a_mark_is_missing_then_it_is_named() -> None:
    with pytest.raises(ValueError, match="lost its marks"):
        headline.written("a README without marks")


def test_replaced_when_written_again_then_only_the_paragraph_between_the_marks_changes() -> None:
    readme = f"before\n{headline.BEGIN}\nFerry serves 1 job/s\n{headline.END}\nafter\n"
    changed = headline.replaced(readme, "Ferry serves 2 jobs/s")
    assert changed == readme.replace("1 job/s", "2 jobs/s")
    assert headline.written(changed) == "Ferry serves 2 jobs/s"


def test_readme_when_compared_with_the_last_committed_run_then_its_figures_are_those() -> None:
    right = headline.paragraph(sources())
    assert headline.written(page.README.read_text()) == right, "run .ferry/bench/harness/bin/python -m benchmarks.page"


def test_page_when_compared_with_the_committed_runs_then_its_tables_are_those() -> None:
    figures = page.figures_of(page.PAGE.read_text())
    assert figures == sections.render(sources()), "run .ferry/bench/harness/bin/python -m benchmarks.page"
