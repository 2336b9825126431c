from api.meter import Meter
from api.problems import BodyTooSlowError
from ferry.errors import NotFoundError, QueueFullError


def test_take_when_requests_were_seen_then_counts_buckets_and_sums_and_nothing_twice() -> None:
    meter = Meter()
    meter.saw("GET", "/v1/models", 200, 0.002)
    meter.saw("GET", "/v1/models", 200, 0.003)
    meter.saw("GET", "/v1/models", 503, 99.0)
    meter.saw("GET", "", 404, 0.0001)
    counts, sums = meter.take()
    assert counts == {
        "requests GET /v1/models 200": 2, "requests GET /v1/models 503": 1, "requests GET other 404": 1,
        "seconds GET /v1/models 2": 1, "seconds GET /v1/models 3": 1, "seconds GET /v1/models 16": 1,
        "seconds GET other 0": 1,
    }  # fmt: skip
    assert sums["seconds_sum GET /v1/models"] == 99.005
    assert meter.take() == ({}, {})


def test_refused_when_it_says_something_of_the_fleet_then_counted_by_its_code() -> None:
    meter = Meter()
    meter.refused(QueueFullError("full"))
    meter.refused(BodyTooSlowError("too slow"))
    meter.refused(NotFoundError("a typo"))
    assert meter.take()[0] == {"rejected queue_full": 1, "rejected body_timeout": 1}


def test_give_back_when_it_could_not_be_handed_on_then_added_to_what_came_meanwhile() -> None:
    meter = Meter()
    meter.saw("GET", "/a", 200, 0.5)
    taken = meter.take()
    meter.saw("GET", "/a", 200, 0.25)
    meter.give_back(*taken)
    counts, sums = meter.take()
    assert counts["requests GET /a 200"] == 2
    assert sums == {"seconds_sum GET /a": 0.75}
