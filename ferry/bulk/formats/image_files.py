"""The bytes of one PNG or JPEG image to pixels as `preprocess` wants them: upright, opaque, 8 bits, grey or RGB.

Knows Pillow; nothing of archives and of rows. Colour profiles are not applied, as in most training pipelines.
"""

import io
import re
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferry.bulk.formats.base import Limits
from ferry.errors import InvalidInputError
from ferry.manifest import Preprocess

_KINDS = ("PNG", "JPEG")
_REMEDY = "convert it to PNG or JPEG"
_ORIENTATION = 0x0112
_ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged files, besides its own errors.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, AttributeError, LookupError, ArithmeticError, struct.error,
    zlib.error,
)  # fmt: skip
_OTHER_KINDS = (
    (rb"GIF8[79]a", "a GIF image"),
    (rb"RIFF.{4}WEBP", "a WebP image"),
    (rb"BM.{4}\0{4}", "a BMP image"),
    (rb"II[*+]\0|MM\0[*+]", "a TIFF image"),
    (rb".{4}ftypavi", "an AVIF image"),
    (rb".{4}ftyp(?:he|mif1|msf1)", "a HEIC image"),
    (rb"\0\0\0\x0cjP", "a JPEG 2000 image"),
    (rb"\0\0\0\x0cJXL|\xff\x0a", "a JPEG XL image"),
    (rb"\0\0\x01\0", "an icon file"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?<svg", "an SVG image"),
    (rb"%PDF", "a PDF file"),
)
_PNG_DEPTH_AT = 24  # in the header chunk, which always comes first
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_image(data: bytes, preprocess: Preprocess, limits: Limits) -> Image.Image:
    """Return an image in the mode of `preprocess`, in its own size.

    Raises:
        InvalidInputError: no PNG or JPEG, damaged, too large or animated.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of many pixels, for which we have a limit of our own, and of an EXIF that is damaged.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_KINDS) as image:
                _check(image, limits)
                depth = data[_PNG_DEPTH_AT] if data.startswith(_PNG_SIGNATURE) else 8
                shown: Image.Image = _opaque(_upright(_eight_bits(image, depth)), preprocess)
                return shown if shown.mode == preprocess.mode else shown.convert(preprocess.mode)
    except Image.DecompressionBombError:
        raise InvalidInputError(f"the image has over {limits.max_pixels} pixels, the limit") from None
    except UnidentifiedImageError:
        raise InvalidInputError(_why_no_image(data)) from None
    except _DAMAGED as error:
        raise InvalidInputError(f"the image cannot be decoded: {str(error)[:200]}") from None


def _check(image: Any, limits: Limits) -> None:
    n_pixels = image.width * image.height
    if n_pixels > limits.max_pixels:
        detail = f"the image has {image.width} x {image.height} pixels, the limit is {limits.max_pixels} in all"
        raise InvalidInputError(detail)
    # The further pictures in a phone's JPEG are previews and depth; the first is the photo.
    if image.format == "PNG" and getattr(image, "is_animated", False):
        raise InvalidInputError(f"the PNG is an animation of {image.n_frames} frames; save the one you mean as PNG")


def _eight_bits(image: Any, depth: int) -> Any:
    """Return an image of 8 bits a channel; of 16 bits the high byte, which is exact for pixels that once had 8.

    Pillow does so for colours itself. A transparent grey or colour is put on the same scale.
    """
    image.load()
    key = image.info.get("transparency")
    if image.mode == "I;16":
        pixels = np.asarray(image)
        eight = Image.fromarray((pixels >> 8).astype(np.uint8))
        if key is not None:
            eight.putalpha(Image.fromarray(np.where(pixels == key, 0, 255).astype(np.uint8)))
        eight.info = {name: value for name, value in image.info.items() if name != "transparency"}
        return eight
    if key is not None and depth > 8 and image.mode == "RGB":
        raise InvalidInputError("the image has 16 bits a channel and a transparent colour; save it with 8 bits")
    if key is not None and depth < 8 and image.mode == "L":
        image.info["transparency"] = key * 255 // (2**depth - 1)
    return image


def _upright(image: Any) -> Any:
    """Return an image turned as its EXIF orientation says; an EXIF that cannot be read says nothing."""
    try:
        method = _ROTATIONS.get(image.getexif().get(_ORIENTATION))
    except _DAMAGED:
        return image
    return image if method is None else image.transpose(method)


def _opaque(image: Any, preprocess: Preprocess) -> Any:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    with_alpha = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, preprocess.background)
    canvas.paste(with_alpha, mask=with_alpha)
    return canvas


def _why_no_image(data: bytes) -> str:
    if not data:
        return "the file is empty; expected a PNG or JPEG image"
    for magic, kind in _OTHER_KINDS:
        if re.match(magic, data, re.DOTALL):
            return f"this is {kind}; {_REMEDY}"
    if data.startswith((_PNG_SIGNATURE, b"\xff\xd8\xff")):
        return "the image is damaged at its start; save it again"
    return "this is neither a PNG nor a JPEG image; leave it out of the archive"
