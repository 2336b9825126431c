"""Pictures made of characters. Knows nothing of models or of who prints them.

Ink is drawn with the terminal's own foreground on its own background, so that it reads on light and dark ones.
"""

from collections.abc import Sequence
from typing import IO, Any

import numpy as np

Pixels = np.ndarray[Any, np.dtype[Any]]

INK = 96  # of 255: where a grey pixel of an MNIST digit counts as ink
MARGIN = 2  # pixels cut off left and right, so that three digits side by side fit 80 columns
GAP = "   "
_HALF_BLOCKS = " ▀▄█"  # nothing, upper half, lower half, both
_SHADES = " .:*#"


def has_utf8(stream: IO[str]) -> bool:
    """Say whether `stream` can show block characters."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf8")


def draw_digit(pixels: Pixels, *, is_utf8: bool) -> list[str]:
    """Return the lines of a picture: a column per pixel, a line per two pixels, for characters are twice as high.

    Shape: pixels (H, W) uint8, 0 is paper and 255 is ink; H is even.
    """
    inner = pixels[:, MARGIN:-MARGIN]
    upper, lower = inner[0::2], inner[1::2]
    if is_utf8:
        codes, signs = (upper > INK) + 2 * (lower > INK), _HALF_BLOCKS
    else:
        grey = (upper.astype(np.uint16) + lower) // 2
        codes, signs = grey * len(_SHADES) // 256, _SHADES
    return ["".join(signs[code] for code in line) for line in codes]


def side_by_side(pictures: Sequence[Sequence[str]], captions: Sequence[str]) -> list[str]:
    """Return the lines of equally high pictures beside each other, with a caption under each."""
    rows = [list(row) for row in zip(*pictures, strict=True)] + [list(captions)]
    widths = [max(len(picture[0]), len(caption)) for picture, caption in zip(pictures, captions, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
