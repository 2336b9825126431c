import pytest

from ferry.origins import Origin, new_origin, origin_from_headers, unpack_origin

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_origin_from_headers_when_all_are_valid_then_as_they_came() -> None:
    origin = origin_from_headers("night-42", PARENT, "vendor=a")
    assert origin == Origin("night-42", PARENT, "vendor=a")
    assert origin.trace_id == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("request_id", [None, "", "a b", "a\nb", "ü", "x" * 129])
def test_origin_from_headers_when_the_request_id_is_none_or_not_safe_then_a_new_one(request_id: str | None) -> None:
    origin = origin_from_headers(request_id, None, None)
    assert origin.request_id not in ("", request_id)
    assert len(origin.request_id) == 26


@pytest.mark.parametrize(
    "parent",
    [
        PARENT.upper(),
        PARENT.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        PARENT[:-1],
        PARENT + "-more",
        "",
    ],
)
def test_origin_from_headers_when_the_traceparent_is_not_valid_then_a_new_trace(parent: str) -> None:
    origin = origin_from_headers("r", parent, "vendor=a")
    assert origin == Origin("r")
    assert len(origin.trace_id) == 32


def test_origin_from_headers_when_the_format_is_newer_then_its_first_four_fields() -> None:
    origin = origin_from_headers("r", "01" + PARENT[2:] + "-what-is-new", None)
    assert origin.traceparent == "01" + PARENT[2:]


@pytest.mark.parametrize("state", ["x" * 513, "a\tb"])
def test_origin_from_headers_when_the_tracestate_is_not_valid_then_only_it_is_dropped(state: str) -> None:
    assert origin_from_headers("r", PARENT, state) == Origin("r", PARENT)


def test_trace_id_when_there_was_none_then_the_same_for_the_same_request_and_no_other() -> None:
    first, second = new_origin(), new_origin()
    assert first.trace_id == Origin(first.request_id).trace_id != second.trace_id


@pytest.mark.parametrize(
    "origin",
    [Origin("job"), Origin("other"), Origin("job", PARENT), Origin("other", PARENT, "vendor=a,other=b c")],
)
def test_packed_when_unpacked_then_the_same(origin: Origin) -> None:
    assert unpack_origin(origin.packed("job"), "job") == origin


def test_packed_when_the_job_has_its_requests_id_then_nothing_travels() -> None:
    assert Origin("job").packed("job") == ""
