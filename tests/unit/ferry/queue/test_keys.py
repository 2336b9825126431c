import re
from dataclasses import fields

from ferry.jobs import JobRecord
from ferry.queue import keys

NAMES = {name: value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)}
PLACES = {name: value for name, value in NAMES.items() if name not in {"PREFIX", "TICKET_ID"}}


def test_places_when_listed_then_all_under_the_prefix_and_none_twice() -> None:
    assert all(place.startswith(keys.PREFIX) and place != keys.PREFIX for place in PLACES.values())
    assert len(set(PLACES.values())) == len(PLACES)


def test_places_when_one_takes_a_name_behind_it_then_no_other_begins_like_it() -> None:
    families = [place for place in PLACES.values() if place.endswith(":")]
    assert families
    clashes = [(one, other) for one in families for other in PLACES.values() if one != other and other.startswith(one)]
    assert clashes == []


def test_fields_when_compared_with_the_record_then_all_of_it_but_its_id_and_input() -> None:
    split = {"batch_id", "batch_rows", "batch_jobs", "run_us", "version"}  # in `batch` and `model`
    assert set(keys.FIELDS) - {"batch"} == {field.name for field in fields(JobRecord)} - {"id", "input"} - split
    assert len(set(keys.FIELDS)) == len(keys.FIELDS)


def test_ticket_id_when_used_as_a_lua_pattern_then_it_matches_only_itself() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+", keys.TICKET_ID)


def test_model_key_when_made_then_name_and_version() -> None:
    assert keys.model_key("mnist", "12") == "mnist:12"


def test_ticket_queue_when_named_then_the_list_the_scripts_push_to() -> None:
    assert keys.ticket_queue("mnist", "2") == keys.TICKETS + "mnist:2"


def test_heartbeats_when_one_or_two_are_lost_then_the_worker_still_counts_as_alive() -> None:
    assert keys.LIVE_MS > 3 * keys.HEARTBEAT_S * 1000
