"""Missing values over HTTP: V1, V2 with JSON and with raw tensors, and the Python client give the same rows."""

import math

import httpx
import numpy as np
import orjson
import pytest

from ferry.client import ApiError, AsyncClient
from tests.manifests import manifest, spec
from tests.unit.api.conftest import Api

pytestmark = pytest.mark.anyio

ROWS = [[1.0, 2.0, 3.0], [4.0, None, 6.0], [7.0, 8.0, 9.0]]
WHY = (
    "row 2: input 'x' has a missing value (null, NaN or an empty cell) at column 2; "
    "the model takes none (`ferry models add --missing x=nan` changes that)"
)


def echo(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Give the rows back, with 99 for NaN."""
    return [np.nan_to_num(arrays[0], nan=99)]


async def v1(api: Api) -> httpx.Response:
    body = {"version": "m", "input": {"x": ROWS}}
    return await api.client.post("/v1/predictions", json=body, headers={"Prefer": "wait"})


async def many(api: Api) -> httpx.Response:
    return await api.client.post("/v1/predictions/many", json={"version": "m", "inputs": [{"x": ROWS}]})


def _infer_item() -> dict:
    return {"name": "x", "shape": [3, 3], "datatype": "FP32"}


async def v2_json(api: Api) -> httpx.Response:
    return await api.client.post("/v2/models/m/infer", json={"inputs": [_infer_item() | {"data": ROWS}]})


async def v2_raw(api: Api) -> httpx.Response:
    raw = np.array(ROWS, np.float32).tobytes()
    head = orjson.dumps({"inputs": [_infer_item() | {"parameters": {"binary_data_size": len(raw)}}]})
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return await api.client.post("/v2/models/m/infer", content=head + raw, headers=headers)


async def client(api: Api, rows: object) -> object:
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with AsyncClient("http://ferry", transport=transport) as caller:
        return (await caller.predict("m", {"x": rows})).output["y"]


CLIENT_ROWS = {
    "lists with None": ROWS,
    "lists with NaN": [[math.nan if v is None else v for v in row] for row in ROWS],
    "float32": np.array(ROWS, np.float32),
    "float64": np.array(ROWS, np.float64),
    "not contiguous": np.asfortranarray(np.array(ROWS, np.float32)),
    "masked": np.ma.masked_equal(np.array([[1, 2, 3], [4, 0, 6], [7, 8, 9]], np.float32), 0),
    "objects": np.array(ROWS, object),
}


def output_of(response: httpx.Response) -> list:
    body = response.json()
    if "outputs" in body:
        return np.array(body["outputs"][0]["data"]).reshape(3, 3).tolist()
    return body["output"]["y"]


async def add(api: Api, missing: object) -> None:
    await api.add_model(
        manifest("m", inputs=(spec("x", "float32", 3, missing=missing),), outputs=(spec("y", "float32", 3),))
    )


@pytest.mark.parametrize(("missing", "value"), [("nan", 99.0), (-1.0, -1.0)])
@pytest.mark.parametrize("route", [v1, v2_json, v2_raw])
async def test_routes_when_the_model_takes_missing_values_then_they_arrive(
    api: Api, route, missing: object, value: float
) -> None:
    await add(api, missing)
    response = await api.answered(route(api), echo, name="m")
    assert response.is_success, response.text
    assert output_of(response) == [[1, 2, 3], [4, value, 6], [7, 8, 9]]


@pytest.mark.parametrize("route", [v1, many, v2_json, v2_raw])
async def test_routes_when_the_model_takes_none_then_row_column_and_remedy_are_named(api: Api, route) -> None:
    await add(api, "error")
    response = await route(api)
    assert response.status_code in (400, 422)
    assert response.json()["detail"] == WHY


async def test_routes_when_a_number_is_nan_in_the_text_of_json_then_it_is_missing(api: Api) -> None:
    await add(api, -1.0)
    text = b'{"version": "m", "input": {"x": [[1, 2, 3], [4, NaN, 6], [7, 8, 9]]}}'
    headers = {"Prefer": "wait", "Content-Type": "application/json"}
    response = await api.answered(api.client.post("/v1/predictions", content=text, headers=headers), echo, name="m")
    assert output_of(response)[1] == [4, -1, 6]


@pytest.mark.parametrize("kind", CLIENT_ROWS)
@pytest.mark.parametrize(("missing", "value"), [("nan", 99.0), (-1.0, -1.0)])
async def test_client_when_the_model_takes_missing_values_then_they_arrive(
    api: Api, kind: str, missing: object, value: float
) -> None:
    await add(api, missing)
    assert (await api.answered(client(api, CLIENT_ROWS[kind]), echo, name="m"))[1] == [4, value, 6]


@pytest.mark.parametrize("kind", CLIENT_ROWS)
async def test_client_when_the_model_takes_none_then_the_error_says_so(api: Api, kind: str) -> None:
    await add(api, "error")
    with pytest.raises(ApiError) as caught:
        await client(api, CLIENT_ROWS[kind])
    assert caught.value.detail == WHY


async def test_models_when_an_input_has_a_rule_then_it_is_shown(api: Api) -> None:
    await add(api, -1.0)
    shown = (await api.client.get("/v1/models/m")).json()
    assert shown["latest_version"]["inputs"][0]["missing"] == -1.0
    assert "missing" not in shown["latest_version"]["outputs"][0]
    assert (await api.client.get("/v1/models/toy")).json()["latest_version"]["inputs"][0]["missing"] == "error"


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        (np.array([[1, 2, 3]], np.float32), [[1, 2, 3]]),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]]),
        ([{"x": np.array([1, 2, 3])}, {"x": [4, 5, 6]}], [[1, 2, 3], [4, 5, 6]]),
        ((1, 2, 3), [1, 2, 3]),
    ],
)
async def test_client_when_inputs_are_bare_or_rows_then_sent(api: Api, inputs: object, rows: list) -> None:
    await add(api, "error")

    async def call() -> object:
        async with AsyncClient("http://ferry", transport=httpx.ASGITransport(api.app)) as caller:
            return (await caller.predict("m", inputs)).output["y"]

    assert await api.answered(call(), echo, name="m") == rows


async def test_client_when_the_form_is_wrong_then_the_exception_names_the_field_and_shows_the_form(api: Api) -> None:
    await add(api, "error")
    with pytest.raises(ApiError) as caught:
        await client(api, [[1, 2]])
    form = '{"x": [[0.0, 0.0, 0.0]]} or [[0.0, 0.0, 0.0]]'
    assert str(caught.value) == f"axis 1 has 2 entries, expected 3 (rows, 3); m:1 takes {form} (at #/input/x)"
