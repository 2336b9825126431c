from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.batch_requests import BatchRequest, read_batch_request
from ferry.bulk.formats.registry import OUTPUT_FORMATS
from ferry.errors import InvalidInputError

FILE = "file-abc123"
BODY: dict[str, Any] = {"input_file_id": FILE, "endpoint": "/v2/models/mnist/infer", "completion_window": "24h"}
MISSING = object()
TTL = "#/output_expires_after/seconds"


def read(**changes: object) -> BatchRequest:
    body = {name: value for name, value in (BODY | changes).items() if value is not MISSING}
    return read_batch_request(body, default_model="toy")


def test_request_when_it_says_all_then_all_of_it() -> None:
    asked = read(
        endpoint="/v2/models/mnist/versions/3/infer",
        completion_window="90m",
        metadata={"customer": "7", "output_format": "csv"},
        output_expires_after={"anchor": "created_at", "seconds": 7200},
    )
    metadata = {"customer": "7", "output_format": "csv"}
    assert asked == BatchRequest(FILE, "/v2/models/mnist/versions/3/infer", "mnist", "3", 5400, "90m", metadata, 7200.0)


def test_request_when_it_says_the_least_then_the_rest_is_usual() -> None:
    asked = read(completion_window=MISSING)
    assert asked == BatchRequest(FILE, "/v2/models/mnist/infer", "mnist", None, 86_400, "24h", {}, None)
    assert read(metadata=None, output_expires_after=None, model=None) == asked


@pytest.mark.parametrize(
    ("endpoint", "more", "model"),
    [
        ("/v1/predictions", {}, ("toy", None)),
        ("/v1/predictions", {"model": "mnist"}, ("mnist", None)),
        ("/v1/predictions", {"model": "mnist:2"}, ("mnist", "2")),
        ("/v1/predictions", {"metadata": {"model": "mnist:1"}}, ("mnist", "1")),
        ("/v1/predictions", {"model": "a", "metadata": {"model": "b"}}, ("a", None)),
        ("/v2/models/a.b-c_D/infer", {}, ("a.b-c_D", None)),
        ("/v2/models/m/versions/12/infer", {}, ("m", "12")),
        ("/v2/models/m/versions/12/infer", {"model": "m:12"}, ("m", "12")),
        ("/v2/models/m/infer", {"model": "m", "metadata": {"model": "the client's own"}}, ("m", None)),
    ],
)
def test_request_when_the_endpoint_names_a_model_or_not_then_that_or_the_asked_or_the_default(
    endpoint: str, more: dict[str, Any], model: tuple[str, str | None]
) -> None:
    asked = read(endpoint=endpoint, **more)
    assert (asked.model, asked.version) == model


@pytest.mark.parametrize(
    ("window", "seconds"),
    [("1m", 60), ("60s", 60), ("24h", 86_400), ("90m", 5400), (" 7 d ", 604_800), ("30d", 2_592_000)],
)
def test_request_when_the_window_is_a_time_then_in_seconds(window: str, seconds: int) -> None:
    asked = read(completion_window=window)
    assert (asked.window_s, asked.completion_window) == (seconds, window)


@pytest.mark.parametrize(
    "window", ["", "59s", "31d", "721h", "0h", "-1h", "1.5h", "24", "24 hours", "1w", "h", "٣h", "9" * 21]
)
def test_request_when_the_window_is_none_then_refused(window: str) -> None:
    refused("#/completion_window", completion_window=window)


def refused(pointer: str, **changes: object) -> str:
    """Check that a request is refused for one field; returns what is said."""
    with pytest.raises(InvalidInputError) as caught:
        read(**changes)
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.detail) == (pointer, caught.value.detail)
    return fault.detail


FIELDS = "input_file_id, endpoint, completion_window, metadata, output_expires_after, model"


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"input_file": FILE}, "#/input_file", f"unknown field 'input_file'; there are {FIELDS}"),
        (
            {"input_file_id": MISSING}, "#/input_file_id",
            "input_file_id is missing; expected the id of a file (POST /v1/files)",
        ),
        (
            {"input_file_id": None}, "#/input_file_id",
            "input_file_id is missing; expected the id of a file (POST /v1/files)",
        ),
        (
            {"input_file_id": 7}, "#/input_file_id",
            "input_file_id must be the id of a file (POST /v1/files), a text of up to 64 characters",
        ),
        ({"input_file_id": ""}, "#/input_file_id", None),
        ({"input_file_id": "f" * 65}, "#/input_file_id", None),
        (
            {"endpoint": MISSING}, "#/endpoint",
            "endpoint is missing; expected /v1/predictions or /v2/models/NAME/infer",
        ),
        (
            {"endpoint": "/v1/chat/completions"}, "#/endpoint",
            "endpoint '/v1/chat/completions' is not one; expected /v1/predictions, /v2/models/NAME/infer or "
            "/v2/models/NAME/versions/VERSION/infer",
        ),
        ({"endpoint": "/v2/models/mnist"}, "#/endpoint", None),
        ({"endpoint": "/v2/models/mnist/infer/"}, "#/endpoint", None),
        ({"endpoint": "/v2/models/mnist/versions/X!/infer"}, "#/endpoint", None),
        ({"endpoint": "/v2/models/" + "m" * 65 + "/infer"}, "#/endpoint", None),
        ({"endpoint": ["/v1/predictions"]}, "#/endpoint", None),
        (
            {"completion_window": "soon"}, "#/completion_window",
            "completion_window 'soon' is no time from 1m to 30d; expected one such as 24h, 90m, 3600s or 7d",
        ),
        (
            {"completion_window": 24}, "#/completion_window",
            'completion_window must be a time such as "24h", a text of up to 20 characters',
        ),
        ({"metadata": ["a"]}, "#/metadata", "metadata must be an object of texts"),
        (
            {"metadata": {str(n): "x" for n in range(17)}}, "#/metadata",
            "metadata has 17 pairs, the limit is 16",
        ),
        ({"metadata": {"": "x"}}, "#/metadata", "a key of metadata has 1 to 64 characters"),
        ({"metadata": {"k" * 65: "x"}}, "#/metadata", "a key of metadata has 1 to 64 characters"),
        ({"metadata": {"k": "x" * 513}}, "#/metadata/k", "metadata 'k' must be a text of up to 512 characters"),
        ({"metadata": {"k": 7}}, "#/metadata/k", "metadata 'k' must be a text of up to 512 characters"),
        (
            {"metadata": {"header": True}}, "#/metadata/header",
            "metadata 'header' must be a text of up to 512 characters",
        ),
        (
            {"metadata": {"output_format": "xlsx"}}, "#/metadata/output_format",
            f"no output format 'xlsx'; there are {', '.join(OUTPUT_FORMATS)}",
        ),
        ({"metadata": {"output_format": ""}}, "#/metadata/output_format", None),
        ({"metadata": {"header": "perhaps"}}, "#/metadata/header", None),
        ({"metadata": {"delimiter": "a"}}, "#/metadata/delimiter", None),
        ({"metadata": {"decimal": ";"}}, "#/metadata/decimal", "decimal ';' cannot be used; expected . or ,"),
        (
            {"metadata": {"encoding": "klingon"}}, "#/metadata/encoding",
            "encoding 'klingon' cannot be used; expected the name of an encoding, such as utf-8, cp1252 or utf-16",
        ),
        (
            {"metadata": {"csv_escape_formulas": "yes"}}, "#/metadata/csv_escape_formulas",
            "expected \"true\" or \"false\", got 'yes'",
        ),
        ({"output_expires_after": 3600}, "#/output_expires_after", 'expected {"anchor": "created_at", "seconds": N}'),
        ({"output_expires_after": {"seconds": 3600}}, "#/output_expires_after", None),
        ({"output_expires_after": {"anchor": "now", "seconds": 3600}}, "#/output_expires_after", None),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3600, "x": 1}}, "#/output_expires_after", None),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 3599}}, TTL,
            "expected a whole number, 3600 to 2592000",
        ),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 2592001}}, TTL, None),
        ({"output_expires_after": {"anchor": "created_at", "seconds": True}}, TTL, None),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1e4}}, TTL, None),
        (
            {"endpoint": "/v1/predictions", "model": 7}, "#/model",
            'model must be a name such as "mnist" or "mnist:1"',
        ),
        ({"endpoint": "/v1/predictions", "model": ["mnist"]}, "#/model", None),
        ({"endpoint": "/v1/predictions", "model": ""}, "#/model", None),
        ({"model": 7}, "#/model", 'model must be a name such as "mnist" or "mnist:1"'),
        ({"model": "toy"}, "#/model", "model goes with /v1/predictions; this endpoint names mnist itself"),
        ({"model": "mnist:1"}, "#/model", None),
    ],
)  # fmt: skip
def test_request_when_a_field_is_wrong_then_it_is_named_with_the_remedy(
    changes: dict[str, object], pointer: str, detail: str | None
) -> None:
    said = refused(pointer, **changes)
    assert detail in (None, said)


def test_fingerprint_when_the_same_is_asked_for_then_the_same_in_whatever_order() -> None:
    asked = read(metadata={"a": "1", "b": "2"})
    assert asked.fingerprint == read(metadata={"b": "2", "a": "1"}).fingerprint
    assert len(asked.fingerprint) == 32


@pytest.mark.parametrize(
    "changes",
    [
        {"input_file_id": "file-other"}, {"endpoint": "/v2/models/mnist/versions/1/infer"}, {"completion_window": "1d"},
        {"metadata": {"a": "2"}}, {"output_expires_after": {"anchor": "created_at", "seconds": 3600}},
    ],
)  # fmt: skip
def test_fingerprint_when_another_thing_is_asked_for_then_another(changes: dict[str, Any]) -> None:
    asked = read(metadata={"a": "1"})
    assert asked.fingerprint != read(**({"metadata": {"a": "1"}} | changes)).fingerprint
    assert replace(asked, model="other").fingerprint != asked.fingerprint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after", "model"])


@given(changes=st.dictionaries(NAMES, JSON, min_size=1))
def test_request_when_it_is_anything_at_all_then_read_or_refused(changes: dict[str, Any]) -> None:
    with suppress(InvalidInputError):
        read(**changes)


LARGE = np.zeros(1000)  # what a large array of a body is parsed to


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"input_file_id": LARGE}, "#/input_file_id"),
        ({"endpoint": LARGE}, "#/endpoint"),
        ({"completion_window": LARGE}, "#/completion_window"),
        ({"metadata": LARGE}, "#/metadata"),
        ({"metadata": {"output_format": LARGE}}, "#/metadata/output_format"),
        ({"output_expires_after": LARGE}, "#/output_expires_after"),
        ({"output_expires_after": {"anchor": LARGE, "seconds": 3600}}, "#/output_expires_after"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": LARGE}}, TTL),
        ({"endpoint": "/v1/predictions", "model": LARGE}, "#/model"),
    ],
)
def test_request_when_a_field_is_a_large_array_then_refused_as_any_other(
    changes: dict[str, object], pointer: str
) -> None:
    refused(pointer, **changes)
