"""Columns that the manifest names as pixels become the input; no other column does, whatever it holds."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ferry.bulk.formats.columns import map_columns
from ferry.errors import InvalidInputError
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, faults_of, index, rules, run, whole

HOW = {"mode": "L", "size": (2, 3), "layout": "HW", "scale": 1 / 255, "columns": "pixel{}"}
TOY = manifest(
    inputs=(spec("x", "float32", 2, 3, preprocess=HOW, range=(0.0, 1.0)),), outputs=(spec("y", "float32", 3),)
)
PIXELS = np.array([[0, 1, 2, 253, 254, 255], [255, 128, 0, 0, 7, 9], [3, 1, 4, 1, 5, 9]])
NAMES = [f"pixel{n}" for n in range(6)]


def csv_of(columns: dict[str, list]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    return "".join(",".join(map(str, row)) + "\n" for row in [columns, *rows]).encode()


def parquet_of(columns: dict[str, list]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def arrow_of(columns: dict[str, list]) -> bytes:
    out = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


FORMATS = {"csv": csv_of, "parquet": parquet_of, "arrow": arrow_of}
EACH_FORMAT = pytest.mark.parametrize("name", FORMATS)


def pixel_columns(names: list[str] = NAMES, pixels: np.ndarray = PIXELS) -> dict[str, list]:
    return {name: pixels[:, at].tolist() for at, name in enumerate(names)}


def read(name: str, columns: dict[str, list], model=TOY, **more) -> np.ndarray:
    chunks = chunks_of(name, FORMATS[name](columns), rules(model, **more))
    assert faults_of(chunks) == []
    return whole(chunks)


@EACH_FORMAT
@pytest.mark.parametrize("first", [0, 1])
def test_pixels_when_a_table_is_as_kaggle_writes_it_then_scaled_as_the_manifest_says(name: str, first: int) -> None:
    columns = {"label": [3, 1, 4]} | pixel_columns([f"pixel{n + first}" for n in range(6)])
    found = read(name, columns)
    assert (found.dtype, found.shape) == (np.float32, (3, 2, 3))
    np.testing.assert_allclose(found, PIXELS.reshape(3, 2, 3) / 255, atol=1e-7)


@EACH_FORMAT
def test_pixels_when_columns_are_in_another_order_then_each_is_where_its_number_says(name: str) -> None:
    columns = dict(reversed(pixel_columns().items())) | {"id": [7, 8, 9]}
    np.testing.assert_allclose(read(name, columns), PIXELS.reshape(3, 2, 3) / 255, atol=1e-7)


@EACH_FORMAT
def test_pixels_when_written_as_floats_then_they_are_the_same(name: str) -> None:
    columns = pixel_columns(pixels=PIXELS.astype(float))
    np.testing.assert_allclose(read(name, columns), PIXELS.reshape(3, 2, 3) / 255, atol=1e-7)


@EACH_FORMAT
@pytest.mark.parametrize(
    ("value", "said"),
    [(256, "256"), (-1, "-1"), (0.5, "0.5"), (1e99, "1e+99"), (254.99, "254.99"), (float("inf"), "inf")],
)  # fmt: skip
def test_pixels_when_one_is_none_then_its_row_fails_alone(name: str, value: float, said: str) -> None:
    columns = pixel_columns(pixels=PIXELS.astype(float))
    columns["pixel4"][1] = value
    (chunk,) = chunks_of(name, FORMATS[name](columns), rules(TOY))
    (fault,) = chunk.faults
    assert (fault.position, fault.code, fault.param) == (1, "invalid_input", "x")
    assert fault.message.startswith(f"column 'pixel4' holds {said}; a pixel is a whole number from 0 to 255")
    np.testing.assert_allclose(whole([chunk]), PIXELS[[0, 2]].reshape(2, 2, 3) / 255, atol=1e-7)


@EACH_FORMAT
def test_pixels_when_one_is_missing_then_its_row_fails_alone(name: str) -> None:
    columns = pixel_columns()
    columns["pixel4"][1] = "" if name == "csv" else None
    (chunk,) = chunks_of(name, FORMATS[name](columns), rules(TOY))
    (fault,) = chunk.faults
    assert (fault.position, fault.message[:17]) == (1, "column 'pixel4': ")
    np.testing.assert_allclose(whole([chunk]), PIXELS[[0, 2]].reshape(2, 2, 3) / 255, atol=1e-7)


def test_pixels_when_one_is_no_number_then_its_row_fails_alone() -> None:
    columns = pixel_columns()
    columns["pixel4"][1] = "black"
    (chunk,) = chunks_of("csv", csv_of(columns), rules(TOY))
    assert [(fault.position, fault.param) for fault in chunk.faults] == [(1, "pixel4")]


@EACH_FORMAT
def test_other_columns_when_they_hold_values_up_to_255_then_they_are_values_and_nothing_is_scaled(name: str) -> None:
    columns = {f"x_{n}": [0.0, 1.0, 255.0] for n in range(6)}
    (chunk,) = chunks_of(name, FORMATS[name](columns), rules(TOY))
    assert [fault.position for fault in chunk.faults] == [2], "255 is outside of the input's range"
    np.testing.assert_array_equal(whole([chunk]), [np.zeros((2, 3)), np.ones((2, 3))])


@EACH_FORMAT
def test_pixels_when_the_manifest_names_none_then_such_columns_are_values(name: str) -> None:
    how = {key: value for key, value in HOW.items() if key != "columns"}
    plain = manifest(inputs=(spec("x", "float32", 2, 3, preprocess=how),), outputs=(spec("y", "float32", 3),))
    np.testing.assert_array_equal(read(name, pixel_columns(), plain), PIXELS.reshape(3, 2, 3))


@EACH_FORMAT
@pytest.mark.parametrize(
    ("how", "inner", "shape"),
    [
        ({"layout": "HWC"}, (2, 1, 3), lambda raw: raw),
        ({"layout": "CHW"}, (3, 2, 1), lambda raw: raw.transpose(0, 3, 1, 2)),
        ({"invert": True}, (2, 1, 3), lambda raw: 255 - raw),
        ({"mean": (1, 2, 3), "std": (2, 4, 8), "scale": 0.5}, (2, 1, 3), lambda raw: (raw / 2 - [1, 2, 3]) / [2, 4, 8]),
    ],
)
@pytest.mark.parametrize("is_open", [False, True])
def test_pixels_when_of_colour_images_then_channel_by_channel_as_an_image_would_be(
    name: str, how, inner, shape, is_open: bool
) -> None:
    how = {"mode": "RGB", "size": (2, 1), "columns": "p[{}]"} | how
    takes = tuple(None if is_open and size != 3 else size for size in inner)
    model = manifest(inputs=(spec("x", "float32", *takes, preprocess=how),))
    found = read(name, pixel_columns([f"p[{n}]" for n in range(6)]), model)
    np.testing.assert_allclose(found, shape(PIXELS.reshape(3, 2, 1, 3)), atol=1e-6)


@EACH_FORMAT
def test_pixels_when_the_input_is_of_bytes_then_they_are_bytes(name: str) -> None:
    how = {"mode": "L", "size": (2, 3), "layout": "HW", "columns": "pixel{}"}
    model = manifest(inputs=(spec("x", "uint8", 2, 3, preprocess=how),))
    for pixels in (PIXELS, PIXELS.astype(float)):
        found = read(name, pixel_columns(pixels=pixels), model)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, PIXELS.reshape(3, 2, 3))
    columns = pixel_columns()
    columns["pixel0"][0] = 256
    assert [fault.position for fault in faults_of(chunks_of(name, FORMATS[name](columns), rules(model)))] == [0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES[:5], r"needs columns x_0 to x_5 \(or pixels pixel0 to pixel5\), or 6 columns"),
        ([*NAMES, "pixel6"], "'pixel0' to 'pixel6', which is one more than the 6 pixels of input 'x'"),
        ([*NAMES, *(f"x_{n}" for n in range(6))], "'x_0' and 'pixel0' are both input 'x'"),
    ],
)
def test_columns_when_pixels_are_too_few_too_many_or_twice_then_refused(names: list[str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        map_columns(names, rules(TOY), has_lists=False)


def test_label_when_all_is_joined_then_it_is_beside_the_outputs_and_no_output_is_hidden() -> None:
    model = TOY.model_copy(update={"labels": ("no", "maybe", "yes")})
    columns = {"label": [3, 1, 4]} | pixel_columns()
    out, errors = run("csv", csv_of(columns), rules(model, join=("input",)))
    header, first, *_ = out.decode().splitlines()
    assert errors == []
    assert header.replace('"', "") == "custom_id,input_label,label,score,y_0,y_1,y_2"
    assert first.replace('"', "").split(",")[:3] == ["1", "3", "yes"]


def test_index_when_pixels_are_there_then_the_file_runs_without_a_word() -> None:
    found = index("csv", csv_of(pixel_columns()), rules(TOY))
    assert (found.rows, found.faults, found.notes) == (3, (), ())
