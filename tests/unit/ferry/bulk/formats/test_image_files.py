"""Images of every kind become the pixels that they show, or fail alone with the remedy."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from ferry.bulk.formats.base import Limits
from ferry.bulk.formats.image_files import decode_image
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess
from tests.unit.ferry.bulk.formats.image_bytes import (
    COLOUR,
    COLOUR_ALPHA,
    GREY,
    GREY_ALPHA,
    PALETTE,
    exif,
    jpeg_of,
    png_of,
    with_late_chunk,
)

# Stored pixels of the EXIF cases: 2 lines of 3; and what is seen with orientation 1 to 8.
STORED = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
SEEN = {
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[40, 10], [50, 20], [60, 30]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[30, 60], [20, 50], [10, 40]],
}
STORED_PNG = png_of((3, 2), 8, GREY, [bytes(line) for line in STORED.tolist()])
TRNS, PLTE, EXIF = b"tRNS", b"PLTE", b"eXIf"
RED, BLUE = (255, 0, 0), (0, 0, 255)


def grey(data: bytes, **more) -> list:
    return np.asarray(decode_image(data, Preprocess(mode="L", **more), Limits())).tolist()


def colours(data: bytes, **more) -> list:
    return np.asarray(decode_image(data, Preprocess(**more), Limits())).tolist()


def why(data: bytes, **limits: int) -> str:
    with pytest.raises(InvalidInputError) as caught:
        decode_image(data, Preprocess(), Limits(**limits))
    return caught.value.detail


def saved(image: Image.Image, kind: str, **more) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", [0, *SEEN, 9, 65535])
def test_png_when_it_has_an_orientation_then_it_is_upright(orientation: int, order: str) -> None:
    seen = SEEN.get(orientation, SEEN[1])
    early = png_of((3, 2), 8, GREY, [bytes(line) for line in STORED.tolist()], (EXIF, exif(orientation, order)))
    assert grey(early) == seen
    assert grey(with_late_chunk(STORED_PNG, EXIF, exif(orientation, order))) == seen


@pytest.mark.parametrize("orientation", SEEN)
def test_jpeg_when_it_has_an_orientation_then_it_is_upright(orientation: int) -> None:
    # 8 x 8 blocks of one grey each: what JPEG keeps exactly.
    large = Image.fromarray(np.kron(STORED, np.ones((8, 8), np.uint8)))
    seen = np.array(grey(jpeg_of(large, exif=b"Exif\0\0" + exif(orientation))))
    assert np.abs(seen - np.kron(SEEN[orientation], np.ones((8, 8), int))).max() <= 1


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize(
    ("depth", "kind", "line", "chunks", "shown"),
    [
        (16, GREY, b"\x0a\x00\x14\x00\x1e\x00", (), [10, 20, 30]),
        (8, PALETTE, b"\0\1\2", ((PLTE, bytes([10, 10, 10, 20, 20, 20, 30, 30, 30])), (TRNS, b"\xff")), [10, 20, 30]),
        (8, GREY_ALPHA, b"\x0a\xff\x14\xff\x1e\x00", (), [10, 20, 255]),
    ],
)
def test_orientation_when_the_kind_is_rare_then_it_counts_too(orientation, depth, kind, line, chunks, shown) -> None:
    found = grey(png_of((3, 1), depth, kind, [line], *chunks, (EXIF, exif(orientation))))
    assert found == ([shown[::-1]] if orientation == 3 else [[each] for each in shown])


def test_exif_when_it_cannot_be_read_then_the_image_is_as_it_is_stored() -> None:
    for block in (b"", b"MM", b"no exif at all", exif(6)[:-5], exif(6)[:12], b"MM\0*\xff\xff\xff\xff"):
        assert grey(with_late_chunk(STORED_PNG, EXIF, block)) in (SEEN[1], SEEN[6])
        assert len(colours(jpeg_of(Image.new("RGB", (8, 8)), exif=b"Exif\0\0" + block))) == 8


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        pytest.param(png_of((3, 1), 1, GREY, [b"\x40"]), [0, 255, 0], id="1 bit"),
        pytest.param(png_of((4, 1), 2, GREY, [b"\x1b"]), [0, 85, 170, 255], id="2 bits"),
        pytest.param(png_of((2, 1), 4, GREY, [b"\xf3"]), [255, 51], id="4 bits"),
        pytest.param(png_of((2, 1), 16, GREY, [b"\xff\xff\x80\x80"]), [255, 128], id="16 bits"),
        pytest.param(png_of((2, 1), 16, GREY, [b"\x01\x00\x00\xff"]), [1, 0], id="16 bits, the high byte"),
        pytest.param(png_of((2, 1), 8, GREY_ALPHA, [b"\x0a\xff\x14\x00"]), [10, 255], id="alpha"),
        pytest.param(png_of((2, 1), 16, GREY_ALPHA, [b"\x0a\x0a\xff\xff\x14\0\0\0"]), [10, 255], id="16 bits, alpha"),
        pytest.param(png_of((2, 1), 8, GREY, [b"\x0a\x14"], (TRNS, b"\0\x14")), [10, 255], id="a transparent grey"),
        pytest.param(png_of((2, 1), 1, GREY, [b"\x40"], (TRNS, b"\0\0")), [255, 255], id="1 bit, transparent black"),
        pytest.param(png_of((2, 1), 4, GREY, [b"\x35"], (TRNS, b"\0\5")), [51, 255], id="4 bits, a transparent grey"),
        pytest.param(
            png_of((2, 1), 16, GREY, [b"\x0a\0\x0a\1"], (TRNS, b"\x0a\1")), [10, 255], id="16 bits, a transparent grey"
        ),
    ],
)
def test_grey_when_of_any_kind_then_its_pixels_and_the_same_in_rgb(data: bytes, shown: list[int]) -> None:
    assert grey(data) == [shown]
    assert colours(data) == [[[each] * 3 for each in shown]]


PALETTE_BYTES = bytes([255, 0, 0, 0, 0, 255, 0, 255, 0])


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        pytest.param(png_of((1, 1), 8, COLOUR, [b"\1\2\3"]), [(1, 2, 3)], id="rgb"),
        pytest.param(png_of((1, 1), 16, COLOUR, [b"\x01\x01\x80\x80\xff\xff"]), [(1, 128, 255)], id="16 bits"),
        pytest.param(
            png_of((3, 1), 8, COLOUR_ALPHA, [b"\1\2\3\xff\1\2\3\0\1\2\3\x80"]),
            [(1, 2, 3), RED, (128, 1, 2)],
            id="alpha",
        ),
        pytest.param(
            png_of((2, 1), 16, COLOUR_ALPHA, [b"\1\0\2\0\3\0\xff\xff\1\0\2\0\3\0\0\0"]), [(1, 2, 3), RED],
            id="16 bits, alpha",
        ),
        pytest.param(
            png_of((2, 1), 8, COLOUR, [b"\1\2\3\4\5\6"], (TRNS, b"\0\1\0\2\0\3")), [RED, (4, 5, 6)],
            id="a transparent colour",
        ),
        pytest.param(png_of((2, 1), 8, PALETTE, [b"\1\2"], (PLTE, PALETTE_BYTES)), [BLUE, (0, 255, 0)], id="palette"),
        pytest.param(
            png_of((3, 1), 8, PALETTE, [b"\0\1\2"], (PLTE, PALETTE_BYTES), (TRNS, b"\xff\0\x80")),
            [RED, RED, (127, 128, 0)],
            id="palette with transparency",
        ),
        pytest.param(
            png_of((3, 1), 2, PALETTE, [b"\x18"], (PLTE, PALETTE_BYTES), (TRNS, b"\xff\0")), [RED, RED, (0, 255, 0)],
            id="palette of 2 bits, one transparent",
        ),
    ],
)  # fmt: skip
def test_colours_when_of_any_kind_then_their_pixels_over_the_background(data: bytes, shown: list) -> None:
    assert colours(data, background=RED) == [[list(each) for each in shown]]


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 20, 30)])
def test_alpha_when_the_background_is_another_then_it_shows_through(background: tuple[int, int, int]) -> None:
    clear = png_of((1, 1), 8, COLOUR_ALPHA, [b"\xff\xff\xff\0"])
    assert colours(clear, background=background) == [[list(background)]]


def test_alpha_when_nothing_is_said_then_over_white() -> None:
    assert Preprocess().background == (255, 255, 255)
    assert grey(png_of((1, 1), 8, GREY_ALPHA, [b"\0\0"])) == [[255]]


@pytest.mark.parametrize("adobe", [True, False])
@pytest.mark.parametrize(
    ("ink", "shown"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_cmyk_when_stored_inverted_as_adobe_does_then_the_colours_of_the_inks(ink, shown, adobe: bool) -> None:
    data = jpeg_of(Image.new("CMYK", (8, 8), ink))
    marker = data.index(b"\xff\xee")
    if not adobe:  # browsers too read every CMYK JPEG as Adobe's
        data = data[:marker] + data[marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big") :]
    assert np.abs(np.array(colours(data)) - np.array(shown)).max() <= 2


def test_grey_jpeg_when_rgb_is_wanted_then_three_times_the_grey() -> None:
    assert colours(jpeg_of(Image.new("L", (8, 8), 100)))[0][0] == [100, 100, 100]


def test_jpeg_when_a_phone_adds_pictures_then_the_photo_is_taken() -> None:
    photo, depth = Image.new("RGB", (8, 8), (200, 200, 200)), Image.new("RGB", (4, 4))
    data = saved(photo, "MPO", save_all=True, append_images=[depth], quality=100)
    assert colours(data)[0][0] == [200, 200, 200]
    assert len(colours(data)) == 8


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("GIF", "a GIF image"), ("WEBP", "a WebP image"), ("BMP", "a BMP image"), ("TIFF", "a TIFF image"),
        ("AVIF", "an AVIF image"), ("ICO", "an icon file"), ("PDF", "a PDF file"),
    ],
)  # fmt: skip
def test_image_when_of_another_kind_then_its_kind_and_the_remedy(kind: str, named: str) -> None:
    if kind.lower() not in {each.lower() for each in Image.SAVE}:
        Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    assert why(saved(Image.new("RGB", (16, 16)), kind)) == f"this is {named}; convert it to PNG or JPEG"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "an AVIF image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\xff\x0a\x00\x10", "a JPEG XL image"),
        (b"MM\0*\0\0\0\x08", "a TIFF image"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "an SVG image"),
    ],
)
def test_image_when_its_first_bytes_tell_another_kind_then_it_is_named(data: bytes, named: str) -> None:
    assert why(data) == f"this is {named}; convert it to PNG or JPEG"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b"name,label\na.png,3\n", "neither a PNG nor a JPEG image; leave it out"),
        (b"BMI,age\n22,30\n40,50\n", "neither"),
        (b"GIF8 is not a picture", "neither"),
        (STORED_PNG[:20], "cannot be decoded"),
        (STORED_PNG[:-30], "cannot be decoded"),
        (b"\xff\xd8\xff\xe0", "damaged at its start"),
        (jpeg_of(Image.effect_noise((64, 64), 50))[:900], "cannot be decoded"),
        (png_of((1, 1), 16, COLOUR, [b"\0" * 6], (TRNS, b"\0" * 6)), "16 bits a channel and a transparent colour"),
    ],
)
def test_image_when_it_is_none_or_damaged_then_why(data: bytes, said: str) -> None:
    assert said in why(data)


def test_png_when_it_is_animated_then_refused() -> None:
    frames = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 100, 200)]
    assert "animation of 3 frames" in why(saved(frames[0], "PNG", save_all=True, append_images=frames[1:]))


def test_image_when_it_has_too_many_pixels_then_refused_before_it_is_decoded() -> None:
    assert "3 x 2 pixels, the limit is 5" in why(STORED_PNG[:60], max_pixels=5)


def test_images_when_bytes_are_damaged_anywhere_then_refused_or_decoded_and_nothing_else() -> None:
    rng = random.Random(4)
    noise = Image.effect_noise((24, 24), 60)
    good = [
        saved(noise, "PNG", exif=exif(6)),
        saved(noise.convert("P"), "PNG", transparency=3),
        jpeg_of(noise.convert("RGB"), exif=b"Exif\0\0" + exif(8)),
        jpeg_of(noise.convert("CMYK")),
        saved(noise.convert("RGB"), "MPO", save_all=True, append_images=[noise.convert("RGB")]),
        png_of((2, 2), 16, GREY, [b"\0" * 4, b"\1" * 4], (TRNS, b"\0\0"), (EXIF, exif(5))),
    ]
    refused = 0
    for number in range(3000):
        data = bytearray(good[number % len(good)])
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        try:
            decode_image(bytes(data), Preprocess(size=(4, 4)), Limits(max_pixels=100_000))
        except InvalidInputError:
            refused += 1
    assert 300 < refused < 3000
