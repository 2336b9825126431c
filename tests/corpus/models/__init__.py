"""Small graphs of the kinds that people export, each labelled by whether its rows influence each other.

`CORPUS` lists them. A kind has graphs of both labels where it can: the same idea over the batch axis, and inside a row.
"""

from tests.corpus.models import classical, networks, positions, statistics, values
from tests.corpus.models.building import Case

CORPUS: tuple[Case, ...] = (
    *statistics.CASES,
    *positions.CASES,
    *networks.CASES,
    *values.CASES,
    *classical.CASES,
)

__all__ = ["CORPUS", "Case"]
