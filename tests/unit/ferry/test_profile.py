from pathlib import Path

import pytest
from pydantic import ValidationError

from ferry.manifest import DEFAULT_MAX_ROWS, Batching, ExecutionMode, Manifest
from ferry.profile import PROFILES_DIR, BatchLimits, Profile, Tuning, limits_in_force, newest_profile, parse_profile
from tests.manifests import manifest, profile

MEASURED = profile(max_rows=128, max_wait_ms=2.0)


@pytest.mark.parametrize(
    ("batching", "measured", "tuning", "rows", "wait_ms"),
    [
        (Batching(), None, None, DEFAULT_MAX_ROWS, 0.0),
        (Batching(), MEASURED, None, 128, 2.0),
        (Batching(max_rows=16), MEASURED, None, 16, 2.0),
        (Batching(max_wait_ms=0.0), MEASURED, None, 128, 0.0),
        (Batching(max_rows=16, max_wait_ms=1.0), MEASURED, Tuning(3, 0.0), 3, 0.0),
        (Batching(max_rows=16), MEASURED, Tuning(max_wait_ms=7.0), 16, 7.0),
        (Batching(max_rows=4, fixed_rows=4), MEASURED, Tuning(max_rows=2), 4, 2.0),
    ],
)
def test_limits_in_force_when_several_say_a_number_then_tuned_manifest_measured_default(
    batching: Batching, measured: Profile | None, tuning: Tuning | None, rows: int, wait_ms: float
) -> None:
    model = Manifest(**manifest().model_dump() | {"batching": batching})
    assert limits_in_force(model, measured, tuning) == BatchLimits(rows, wait_ms)


def test_limits_in_force_when_a_job_is_one_run_then_one_row_and_no_wait_whatever_is_set() -> None:
    model = manifest(mode=ExecutionMode.WHOLE_JOB, max_rows=16, max_wait_ms=5.0)
    assert limits_in_force(model, MEASURED, Tuning(32, 9.0)) == BatchLimits(1, 0.0)


def test_profile_when_sizes_and_times_differ_in_number_then_refused() -> None:
    with pytest.raises(ValidationError, match="3 sizes, 1 run times"):
        profile(microseconds=(1.0,))


def test_rows_per_s_when_asked_then_of_each_size() -> None:
    assert profile(sizes=(1, 4), microseconds=(10.0, 20.0)).rows_per_s == (100_000, 200_000)


@pytest.mark.parametrize("text", [None, "", b"", "{", b"\xff", "{}", "[]"])
def test_parse_profile_when_there_is_none_or_it_is_damaged_then_none(text: str | bytes | None) -> None:
    assert parse_profile(text) is None


def test_parse_profile_when_another_release_added_a_field_then_read_all_the_same() -> None:
    text = MEASURED.model_dump_json()
    assert parse_profile(text) == parse_profile(text[:-1] + ', "colour": "red"}') == MEASURED


def test_newest_profile_when_several_are_kept_then_the_latest_readable_one_of_that_model(tmp_path: Path) -> None:
    folder = tmp_path / PROFILES_DIR
    assert newest_profile(tmp_path, "a" * 64) is None
    folder.mkdir()
    for name, year in (("a" * 64 + "-1", 2026), ("a" * 64 + "-2", 2027), ("b" * 64 + "-1", 2028)):
        kept = profile(measured_at=f"{year}-01-01T00:00:00+00:00")
        (folder / f"{name}.json").write_text(kept.model_dump_json())
    (folder / ("a" * 64 + "-3.json")).write_text("{")
    (folder / ("a" * 64 + "-4.json")).mkdir()
    assert newest_profile(tmp_path, "a" * 64).measured_at.startswith("2027")
