"""Whether a comma or a point in numbers is a decimal sign, or stands between thousands. Knows cells, no columns."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_THOUSANDS = {sign: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}({re.escape(sign)}[0-9]{{3}})+", re.ASCII) for sign in ",."}
_DECIMAL = {
    sign: re.compile(rf"[+-]?([0-9]+{escaped}[0-9]*|{escaped}[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
    for sign in ",."
    for escaped in [re.escape(sign)]
}
_MIXED = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", re.ASCII)
# A cell in doubt has a sign, three digits, and behind them no digit; one with both signs has a comma there.
_BEHIND_SIGN = 4
_COMMA, _ZERO, _NINE, _TEN = ord(","), ord("0"), ord("9"), 10


@dataclass(slots=True)
class SignEvidence:
    """What cells say of a decimal sign. 1,234 may be read in two ways; 1,5 shows that the sign is decimal.

    sign: as it is read. is_doubtful_alone: False where it counts only beside a cell with both signs, as 1.234,5.
    """

    sign: str
    is_doubtful_alone: bool
    is_decimal: bool = False
    doubtful: str | None = None
    has_mixed: bool = False

    def add(self, cells: Iterable[str]) -> None:
        """Take cells. Those that are no number in either way, as $2,000, show nothing."""
        for cell in cells:
            if self.is_decimal:
                return
            if self.sign not in cell:
                continue
            if _THOUSANDS[self.sign].fullmatch(cell):
                self.doubtful = self.doubtful or cell
            elif _DECIMAL[self.sign].fullmatch(cell):
                self.is_decimal = True
            elif _MIXED.fullmatch(cell):
                self.has_mixed = True

    @property
    def doubt(self) -> str | None:
        """The cell that may be read in two ways, where no other settles it."""
        return self.doubtful if not self.is_decimal and (self.is_doubtful_alone or self.has_mixed) else None


class ThousandsWatch:
    """Says of a text's bytes, as they pass, whether a cell of it may be in doubt. It costs next to nothing."""

    def __init__(self, evidence: SignEvidence, delimiter: str) -> None:
        self.evidence = evidence
        # What a text has that holds a cell as 1.234,5: where commas are delimiters it is in quotes.
        self._beside = b'"' if delimiter == "," else b","
        self.may_doubt = self._has_beside = False
        self._sign = evidence.sign.encode()

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks as they are."""
        tail = b""
        for block in blocks:
            if not self.may_doubt:
                self._has_beside = self._has_beside or self._beside in block
                self.may_doubt = self._is_in(tail + block[:_BEHIND_SIGN]) or self._is_in(block)
            yield block
            tail = (tail + block[-_BEHIND_SIGN:])[-_BEHIND_SIGN:]
        self.may_doubt = self.may_doubt or self._is_in(tail + b"\n")

    def _is_in(self, block: bytes) -> bool:
        is_alone = self.evidence.is_doubtful_alone
        if self._sign not in block or not (is_alone or self._has_beside):
            return False
        data = np.frombuffer(block, np.uint8)
        may_be = data[:-_BEHIND_SIGN] == self._sign[0]
        for near in (data[1 : 1 - _BEHIND_SIGN], data[_BEHIND_SIGN - 1 : -1]):
            may_be &= near >= _ZERO
            may_be &= near <= _NINE
        if not may_be.any():  # as in most texts with points; to look for the places costs more
            return False
        at = np.flatnonzero(may_be)
        for behind in range(1, _BEHIND_SIGN):
            at = at[data[at + behind] - _ZERO < _TEN]
        last = data[at + _BEHIND_SIGN]
        return bool((last - _ZERO >= _TEN).any() if is_alone else (last == _COMMA).any())
