"""The load as JSON: rates are differences of counters over the time between."""

from dataclasses import replace

from api.load_feed import Pace
from api.load_wire import stats
from ferry.queue.load import Load, ModelLoad

TOY = ModelLoad(
    name="toy", version="1", waiting={"high": 0, "normal": 3, "bulk": 1, "again": 1}, waiting_rows=7, oldest_s=1.23456,
    workers=2, jobs={"submitted": 110, "succeeded": 90, "failed": 5, "canceled": 3, "expired": 2}, rows=1000,
    bulk_rows=400, batches=40,
)  # fmt: skip


def shown(before: ModelLoad | None, after: ModelLoad = TOY) -> dict[str, object]:
    now = Load(12_000_000, (after,), 1, 4)
    earlier = Load(10_000_000, (before,) if before else (), 0, 0)
    return stats(Pace(now, earlier), flower_url="http://flower")


def test_stats_when_there_are_two_readings_then_rates_between_them() -> None:
    jobs = {"submitted": 60, "succeeded": 50, "failed": 5, "canceled": 3, "expired": 2}
    body = shown(replace(TOY, jobs=jobs, rows=700, bulk_rows=200, batches=20))
    (model,) = body["models"]  # type: ignore[misc]
    assert (body["over_s"], body["running_claims"], body["dead_letters"]) == (2, 1, 4)
    assert body["flower_url"] == "http://flower"
    assert (model["jobs_per_s"], model["rows_per_s"], model["batches_per_s"]) == (20, 150, 10)
    assert model["rows_per_batch"] == 5  # 300 rows, 200 of them of bulk batches, in 20 runs
    assert (model["waiting_jobs"], model["waiting_rows"], model["oldest_s"], model["workers"]) == (5, 7, 1.235, 2)


def test_stats_when_nothing_ran_then_no_rows_per_batch() -> None:
    (model,) = shown(TOY)["models"]  # type: ignore[misc]
    assert (model["jobs_per_s"], model["rows_per_batch"]) == (0, None)


def test_stats_when_a_model_is_new_or_redis_was_wiped_then_no_rate_below_nothing() -> None:
    (model,) = shown(None)["models"]  # type: ignore[misc]
    assert model["jobs_per_s"] is None
    (model,) = shown(replace(TOY, jobs={"succeeded": 10_000}, rows=10**6, batches=10**5))["models"]  # type: ignore[misc]
    assert (model["jobs_per_s"], model["rows_per_s"], model["rows_per_batch"]) == (0, 0, None)


def test_stats_when_there_is_one_reading_then_rates_are_null() -> None:
    body = stats(Pace(Load(0, (TOY,), 0, 0), None), flower_url="")
    assert body["over_s"] is None
    assert body["models"][0]["rows_per_s"] is None
