"""PNG and JPEG files byte by byte: what Pillow itself cannot write."""

import io
import struct
import zipfile
import zlib

from PIL import Image

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6


def png_of(size: tuple[int, int], depth: int, kind: int, lines: list[bytes], *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of (width, height) with unfiltered lines; `chunks` come before them."""
    header = (b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in (header, *chunks, pixels, (b"IEND", b"")))


def exif(orientation: int, order: str = ">") -> bytes:
    """Return an EXIF block that says the orientation alone."""
    magic = b"MM" if order == ">" else b"II"
    return magic + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_late_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """Return a PNG with one more chunk after its pixels."""
    end = png.rindex(b"IEND") - 4
    return png[:end] + _chunk(kind, data) + png[end:]


def jpeg_of(image: Image.Image, **more: object) -> bytes:
    """Return a JPEG with as little loss as there can be."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=100, subsampling=0, **more)
    return out.getvalue()


def zip_of(members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    """Return an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
