"""Whether a comma or a point in numbers is a decimal sign, or stands between thousands. Knows cells, no columns."""

import re
from collections.abc import Iterable

_THOUSANDS = {sign: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}({re.escape(sign)}[0-9]{{3}})+", re.ASCII) for sign in ",."}
_DECIMAL = {
    sign: re.compile(rf"[+-]?([0-9]+{escaped}[0-9]*|{escaped}[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
    for sign in ",."
    for escaped in [re.escape(sign)]
}
_MIXED = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", re.ASCII)


def doubtful_thousands(cells: Iterable[str], sign: str) -> str | None:
    """Return a cell as 1,234, which may be read in two ways; None where another cell shows that the sign is decimal.

    Cells that are no number in either way, as $2,000, show nothing.
    """
    doubtful = None
    for cell in cells:
        if sign not in cell:
            continue
        if _THOUSANDS[sign].fullmatch(cell):
            doubtful = doubtful or cell
        elif _DECIMAL[sign].fullmatch(cell):
            return None
    return doubtful


def has_mixed_signs(cells: Iterable[str]) -> bool:
    """Say whether a cell has points between thousands and a decimal comma, as 1.234,5."""
    return any(_MIXED.fullmatch(cell) for cell in cells)
