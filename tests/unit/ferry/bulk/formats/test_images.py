"""ZIP of images: made rows as the manifest says, hostile archives and images refused."""

import io
import struct
import zipfile
import zlib

import numpy as np
import orjson
import pytest
from PIL import Image
from pydantic import ValidationError

from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.registry import default_output, format_named
from ferry.errors import InvalidInputError
from ferry.manifest import Manifest
from tests.manifests import manifest, spec
from tests.unit.ferry.bulk.formats.cases import chunks_of, codes, faults_of, index, npy, rules, run, whole
from tests.unit.ferry.bulk.formats.image_bytes import exif

GREY = {"mode": "L", "size": (2, 3), "layout": "HW", "scale": 1 / 255}
TOY = manifest(inputs=(spec("x", "float32", 2, 3, preprocess=GREY),), outputs=(spec("y", "float32", 3),))


def png(pixels: np.ndarray, kind: str = "PNG", **more) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **more)
    return out.getvalue()


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def pixels_of(n: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, 2, 3), dtype=np.uint8)


def archive_of(pixels: np.ndarray) -> bytes:
    return zipped([("cats/", b""), *((f"cats/{i}.png", png(each)) for i, each in enumerate(pixels))])


def bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header says so many pixels and holds none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"")]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("other", ["README.txt", "labels.csv", "feat.npy", "xl/a.txt", "mimetype.json"])
def test_images_when_another_file_comes_first_then_it_fails_alone(other: str) -> None:
    pixels = pixels_of(2)
    data = zipped([(other, b"no image"), ("xl/a.png", png(pixels[0])), ("b", png(pixels[1]))])
    chunks = chunks_of("images", data, rules(TOY))
    assert [fault.position for fault in faults_of(chunks)] == [0]
    np.testing.assert_allclose(whole(chunks), pixels / np.float32(255), rtol=1e-6)


def test_images_when_no_name_says_so_then_the_first_bytes_do() -> None:
    data = zipped([("labels.csv", b"a\n1\n"), ("1", png(pixels_of(1)[0]))])
    assert len(faults_of(chunks_of("images", data, rules(TOY)))) == 1


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/README.md", "rows.CSV"], "is a ZIP of 'rows.CSV', without an image; unpack it"),
        (["in.jsonl", "no"], "is a ZIP of 'in.jsonl'"),
        (["x.npy", "y.npy"], "name it .npz"),
        (["docProps/app.xml", "xl/workbook.xml", "xl/media/image1.png"], "a workbook of Excel; save the sheet"),
    ],
)
def test_images_when_an_archive_holds_none_then_its_refusal_says_what_it_is(names: list[str], said: str) -> None:
    found = index("images", zipped([(name, b"x") for name in names]), rules())
    assert [fault.code for fault in found.faults] == ["invalid_file"]
    assert said in found.faults[0].message


@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_images_when_they_go_through_then_as_the_same_rows_in_npy(chunk_rows: int) -> None:
    pixels = pixels_of(9)
    given = rules(TOY, chunk_rows=chunk_rows)
    out, errors = run("images", archive_of(pixels), given, default_output("images"))
    lines = [orjson.loads(line) for line in out.splitlines()]
    expected, _ = run("npy", npy((pixels / 255).astype(np.float32)), given)
    assert errors == []
    assert [line["custom_id"] for line in lines] == [f"cats/{i}.png" for i in range(9)]
    outputs = [line["response"]["body"]["output"]["y"] for line in lines]
    np.testing.assert_allclose(outputs, np.load(io.BytesIO(expected)), rtol=1e-6)


@pytest.mark.parametrize(
    ("preprocess", "inner", "made"),
    [
        ({"mode": "RGB", "layout": "HWC", "size": (1, 2)}, (1, 2, 3), [[[0, 51, 255], [0, 51, 255]]]),
        ({"mode": "RGB", "layout": "CHW", "size": (1, 2)}, (3, 1, 2), [[[0, 0]], [[51, 51]], [[255, 255]]]),
        ({"mode": "RGB", "invert": True, "size": (1, 1)}, (1, 1, 3), [[[255, 204, 0]]]),
        ({"scale": 1 / 51, "mean": [0, 1, 2], "std": [1, 1, 3], "size": (1, 1)}, (1, 1, 3), [[[0, 0, 1]]]),
        ({"scale": 1 / 51, "mean": [1], "size": (1, 1)}, (1, 1, 3), [[[-1, 0, 4]]]),
        ({"mode": "L", "layout": "HW", "size": (1, 1)}, (1, 1), [[59]]),
    ],
)
def test_images_when_preprocessed_then_as_the_manifest_says(preprocess, inner, made) -> None:
    model = manifest(inputs=(spec("x", "float32", *inner, preprocess=preprocess),))
    image = np.tile(np.array([0, 51, 255], np.uint8), (4, 4, 1))
    read = whole(chunks_of("images", zipped([("a.png", png(image))]), rules(model)))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read[0], made, atol=1e-5)


def test_images_when_sizes_differ_and_any_goes_then_a_group_for_each() -> None:
    model = manifest(inputs=(spec("x", "uint8", None, None, preprocess={"mode": "L", "layout": "HW"}),))
    sizes = [(2, 3), (4, 1), (2, 3)]
    data = zipped([(f"{i}.png", png(np.full(size, i, np.uint8))) for i, size in enumerate(sizes)])
    (chunk,) = chunks_of("images", data, rules(model))
    assert [(tuple(group.positions), group.arrays[0].shape) for group in chunk.groups] == [
        ((0, 2), (2, 2, 3)),
        ((1,), (1, 4, 1)),
    ]


def test_images_when_a_jpeg_or_has_alpha_or_a_palette_then_read() -> None:
    grey = np.full((2, 3), 100, np.uint8)
    palette = Image.fromarray(np.full((2, 3, 3), 100, np.uint8)).convert("P")
    out = io.BytesIO()
    palette.save(out, "PNG")
    alpha = png(np.dstack([np.full((2, 3, 3), 100, np.uint8), np.full((2, 3), 255, np.uint8)]))
    data = zipped([("a.jpg", png(grey, "JPEG", quality=100)), ("b.png", alpha), ("c.png", out.getvalue())])
    np.testing.assert_allclose(whole(chunks_of("images", data, rules(TOY))), 100 / 255, atol=0.02)


def test_images_when_some_are_bad_then_they_alone_fail() -> None:
    good = png(pixels_of(1)[0])
    data = zipped(
        [
            ("good.png", good),
            ("notes.txt", b"not an image"),
            ("cut.png", png(np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8))[:500]),
            ("bomb.png", bomb(50_000, 50_000)),
            ("wide.png", bomb(3_000, 1)),
            ("empty.png", b""),
            ("gif.png", png(np.zeros((2, 3), np.uint8), "GIF")),
            ("large.png", b"x" * 20_000),
            ("also.png", good),
        ]
    )
    chunks = chunks_of("images", data, rules(TOY, chunk_rows=99, limits=Limits(max_pixels=2_999, max_row_bytes=9_000)))
    said = ["neither", "decoded", "pixels", "pixels", "empty", "GIF image; convert", "bytes"]
    assert [fault.position for fault in faults_of(chunks)] == list(range(1, 8))
    for fault, part in zip(faults_of(chunks), said, strict=True):
        assert part in fault.message
    assert list(chunks[0].groups[0].positions) == [0, 8]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([], "empty_file"),
        ([("__MACOSX/a.png", b""), (".DS_Store", b"")], "empty_file"),
        ([("a.png", b"x" * 2_000_000)], "invalid_file"),
        ([(f"{i}.png", b"x") for i in range(11)], "too_many_lines"),
    ],
)
def test_images_when_the_archive_is_bad_then_it_fails(members, code: str) -> None:
    (fault,) = index("images", zipped(members), rules(TOY, limits=Limits(max_bytes=1_000_000, max_rows=10))).faults
    assert fault.code == code


NAMES = [
    "12:30:05.png", "C:/photos/a.png", "C:\\photos\\a.png", "\\\\host\\share\\a.png", "/etc/passwd", "../../a.png",
    "..\\a.png", "a/../b.png", "./a.png", "a//b.png", " ", "?*|<>.png", "CON", "Füße.png", "日本.png", "e\u0301.png",
    "a" * 300 + ".png", "a\nb.png", '"a".png', "a.PNG", "no suffix", "=1+1.png", "a.png.exe",
]  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [1, 99])
def test_images_when_names_are_odd_then_they_are_ids_and_nothing_more(chunk_rows: int) -> None:
    pixels = pixels_of(len(NAMES))
    data = zipped([(name, png(each)) for name, each in zip(NAMES, pixels, strict=True)])
    chunks = chunks_of("images", data, rules(TOY, chunk_rows=chunk_rows))
    assert [each for chunk in chunks for each in chunk.ids] == NAMES
    assert faults_of(chunks) == []
    np.testing.assert_allclose(whole(chunks), pixels / 255, atol=1e-6)


def test_images_when_names_are_in_no_flagged_encoding_then_read_as_utf_8_or_cp437() -> None:
    data = zipped([(name, png(each)) for name, each in zip(["Füße.png", "日.png"], pixels_of(2), strict=True)])
    unflagged = bytearray(data)
    for mark, flags_at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := unflagged.find(mark, at + 1)) >= 0:
            unflagged[at + flags_at + 1] &= ~0x08
    assert unflagged != data
    assert list(chunks_of("images", bytes(unflagged), rules(TOY))[0].ids) == ["Füße.png", "日.png"]
    (fault,) = index("images", data.replace("日".encode(), b"\xff\xff\xff"), rules(TOY)).faults
    assert "marked as UTF-8 and is not" in fault.message
    cp437 = bytes(unflagged).replace("Füße".encode(), "Füßeab".encode("cp437"))
    (chunk,) = chunks_of("images", cp437, rules(TOY))
    assert (list(chunk.ids), chunk.faults) == (["Füßeab.png", "日.png"], ())


def test_images_when_systems_added_files_then_they_are_skipped_and_counted() -> None:
    added = ["__MACOSX/cats/._0.png", "cats/.DS_Store", "cats/Thumbs.db", "DESKTOP.INI", "cats/._1.png"]
    images = [(f"cats/{n}.png", png(each)) for n, each in enumerate(pixels_of(3))]
    folders = [("cats/", b""), ("__MACOSX/", b""), ("dogs\\", b"")]
    data = zipped([*folders, (added[0], b"x"), images[0], *((name, b"x") for name in added[1:]), *images[1:]])
    found = index("images", data, rules(TOY))
    assert (found.rows, found.faults) == (3, ())
    assert found.notes == (
        "5 files that a system added were skipped: __MACOSX/cats/._0.png, cats/.DS_Store, cats/Thumbs.db, ...",
    )
    (chunk,) = chunks_of("images", data, rules(TOY))
    assert (list(chunk.ids), chunk.faults) == ([name for name, _ in images], ())


@pytest.mark.parametrize(
    ("added", "note"), [([], ()), (["a/Thumbs.db"], ("1 file that a system added was skipped: a/Thumbs.db",))]
)
def test_images_when_few_or_no_files_are_added_then_the_note_says_so(added: list[str], note: tuple[str, ...]) -> None:
    data = zipped([("a.png", png(pixels_of(1)[0])), *((name, b"") for name in added)])
    assert index("images", data, rules(TOY)).notes == note


def test_images_when_other_files_are_beside_them_then_those_alone_fail_with_name_and_reason() -> None:
    data = zipped([("labels.csv", b"name,label\n"), ("a.png", png(pixels_of(1)[0])), ("README.txt", b"Hello")])
    (chunk,) = chunks_of("images", data, rules(TOY))
    assert list(chunk.groups[0].positions) == [1]
    assert [(chunk.ids[fault.position], fault.code) for fault in chunk.faults] == [
        ("labels.csv", "invalid_input"),
        ("README.txt", "invalid_input"),
    ]
    assert all("leave it out of the archive" in fault.message for fault in chunk.faults)


def test_images_when_one_lies_on_its_side_then_it_is_upright_before_it_is_resized() -> None:
    model = manifest(inputs=(spec("x", "uint8", 2, 1, preprocess={"mode": "L", "layout": "HW", "size": (2, 1)}),))
    image = Image.fromarray(np.array([[10, 10, 200, 200]], np.uint8))
    data = io.BytesIO()
    image.save(data, "PNG", exif=exif(6))
    read = whole(chunks_of("images", zipped([("a.png", data.getvalue())]), rules(model)))
    assert read[0, 0, 0] < 50
    assert read[0, 1, 0] > 150


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_images_when_a_name_comes_twice_then_it_fails() -> None:
    assert codes(index("images", zipped([("a.png", b"x"), ("a.png", b"y")]), rules(TOY))) == [
        ("duplicate_custom_id", 2)
    ]


def test_images_when_the_archive_is_cut_or_encrypted_then_it_fails() -> None:
    data = bytearray(archive_of(pixels_of(2)))
    assert codes(index("images", bytes(data[:-10]), rules(TOY))) == [("invalid_file", None)]
    data[data.find(b"PK\x01\x02") + 8] |= 1
    (fault,) = index("images", bytes(data), rules(TOY)).faults
    assert "encrypted" in fault.message


def test_images_when_the_model_has_no_preprocess_then_it_says_so() -> None:
    (fault,) = index("images", archive_of(pixels_of(1)), rules()).faults
    assert "takes no images" in fault.message


def test_images_when_asked_for_as_output_then_refused() -> None:
    with pytest.raises(InvalidInputError, match="no output format"):
        format_named("images").check_output(rules(TOY))


def test_preprocess_when_in_a_manifest_then_it_comes_back_from_json() -> None:
    assert Manifest.model_validate_json(TOY.to_json()) == TOY


@pytest.mark.parametrize(
    ("preprocess", "dtype"),
    [
        ({"mode": "RGB", "layout": "HW"}, "float32"),
        ({"mode": "L", "layout": "HWC", "size": (2, 3)}, "float32"),
        ({"mode": "L", "layout": "HW", "size": (3, 3)}, "float32"),
        ({"mode": "L", "layout": "HW"}, "float32"),
        (GREY | {"mean": (1, 2)}, "float32"),
        (GREY | {"background": (0, 0, 256)}, "float32"),
        (GREY | {"columns": "pixel"}, "float32"),
        (GREY | {"columns": "p{}_{}"}, "float32"),
        ({"mode": "RGB", "columns": "p{}"}, "float32"),
        (GREY | {"std": (0,)}, "float32"),
        (GREY, "string"),
    ],
)
def test_preprocess_when_it_does_not_fit_the_input_then_refused(preprocess, dtype: str) -> None:
    with pytest.raises(ValidationError):
        spec("x", dtype, 2, 3, preprocess=preprocess)


def test_images_when_chunks_are_read_by_one_reader_then_a_replaced_archive_is_seen() -> None:
    pixels, given, reader = pixels_of(4), rules(TOY, chunk_rows=2), format_named("images")
    one, other = archive_of(pixels), archive_of(255 - pixels)
    first, second = index("images", one, given).chunks
    for data, shown in ((one, pixels), (one, pixels), (other, 255 - pixels), (one, pixels)):
        read = [reader.read(io.BytesIO(data), chunk, given) for chunk in (first, second)]
        np.testing.assert_allclose(whole(read), shown / 255, atol=1e-6)
    with pytest.raises(InvalidInputError, match="replaced"):
        reader.read(io.BytesIO(archive_of(pixels[:3])), second, given)
