import re
from dataclasses import FrozenInstanceError, fields

import pytest
from redis.crc import key_slot

from ferry.jobs import JobRecord
from ferry.queue import keys
from ferry.queue.keys import Keys, keys_at
from tests.namespaces import KEYS

OTHER = Keys("other.ferry-2")
PLACES = [name for name, value in vars(Keys).items() if isinstance(value, keys._Place)]


def named(of: Keys) -> list[str]:
    """Return every key, channel and list of a namespace, or what it begins with."""
    return [getattr(of, place) for place in PLACES]


def test_places_when_listed_then_each_begins_with_the_namespace_as_a_hash_tag_and_none_is_there_twice() -> None:
    assert len(PLACES) > 40
    assert all(name.startswith("{other.ferry-2}:") and name != OTHER.prefix for name in named(OTHER))
    assert len(set(named(OTHER))) == len(PLACES)


def test_places_when_of_two_namespaces_then_none_is_in_both_and_all_of_one_are_in_one_slot() -> None:
    assert not set(named(KEYS)) & set(named(OTHER))
    assert len({key_slot(name.encode()) for name in named(OTHER)}) == 1


def test_places_when_one_takes_a_name_behind_it_then_no_other_begins_like_it() -> None:
    families = [name for name in named(KEYS) if name.endswith(":")]
    assert families
    assert [(one, other) for one in families for other in named(KEYS) if one != other and other.startswith(one)] == []


def test_keys_when_made_then_they_stay_as_they_are() -> None:
    with pytest.raises(FrozenInstanceError):
        KEYS.namespace = "other"


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        ("redis://host", "ferry"), ("redis://:word@host:1/0", "ferry"), ("rediss://host/3", "ferry@3"),
        ("redis://host/12?socket_timeout=1", "ferry@12"),
    ],
)  # fmt: skip
def test_keys_at_when_the_database_is_not_0_then_its_number_is_part_of_the_namespace(url: str, namespace: str) -> None:
    assert keys_at(url, "ferry") == Keys(namespace)


def test_keys_at_when_names_or_databases_differ_then_no_namespace_is_shared() -> None:
    found = [keys_at(f"redis://host/{number}", name) for number in range(12) for name in ("a", "a-1", "a.1", "a1")]
    assert len(set(found)) == len(found)


def test_fields_when_compared_with_the_record_then_all_of_it_but_its_id_and_input() -> None:
    split = {"batch_id", "batch_rows", "batch_jobs", "run_us", "version"}  # in `batch` and `model`
    assert set(keys.FIELDS) - {"batch"} == {field.name for field in fields(JobRecord)} - {"id", "input"} - split
    assert len(set(keys.FIELDS)) == len(keys.FIELDS)


def test_ticket_id_when_used_as_a_lua_pattern_then_it_matches_only_itself() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+", keys.TICKET_ID)


def test_model_key_when_made_then_name_and_version() -> None:
    assert keys.model_key("mnist", "12") == "mnist:12"


def test_ticket_queue_when_named_then_the_list_the_scripts_push_to() -> None:
    assert KEYS.tickets + "mnist:2" == KEYS.prefix + keys.ticket_queue("mnist", "2")


def test_heartbeats_when_one_or_two_are_lost_then_the_worker_still_counts_as_alive() -> None:
    assert keys.LIVE_MS > 3 * keys.HEARTBEAT_S * 1000
