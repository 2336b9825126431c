"""Whether a comma or a point in numbers is a decimal sign, or stands between thousands. Knows cells, no columns."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_THOUSANDS = {sign: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}({re.escape(sign)}[0-9]{{3}})+", re.ASCII) for sign in ",."}
_DECIMAL = {
    sign: re.compile(rf"[+-]?([0-9]+{escaped}[0-9]*|{escaped}[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
    for sign in ",."
    for escaped in [re.escape(sign)]
}
_MIXED = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", re.ASCII)
# Bytes that a text must have before one of its cells can be in doubt.
_MAY_BE_DOUBTFUL = {sign: re.compile(rb"%s[0-9]{3}(?:[^0-9]|\Z)" % re.escape(sign.encode())) for sign in ",."}
_MAY_BE_MIXED = re.compile(rb"\.[0-9]{3},(?:[0-9]|\Z)")
_TAIL_BYTES = 8  # as long as these are


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

    def __init__(self, evidence: SignEvidence) -> None:
        self.evidence = evidence
        self.may_doubt = False
        self._pattern = _MAY_BE_DOUBTFUL[evidence.sign] if evidence.is_doubtful_alone else _MAY_BE_MIXED
        self._sign = evidence.sign.encode()

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks as they are."""
        tail = b""
        for block in blocks:
            if not self.may_doubt and (self._sign in block or self._sign in tail):
                edge = tail + block[:_TAIL_BYTES]
                self.may_doubt = bool(self._pattern.search(edge) or self._pattern.search(block))
            yield block
            tail = (tail + block)[-_TAIL_BYTES:] if len(block) < _TAIL_BYTES else block[-_TAIL_BYTES:]
