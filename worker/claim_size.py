"""How many rows one claim may have, from what rows cost beside the device. Knows nothing of Redis or onnxruntime.

A high-priority job that arrives while a claim is under way waits until that claim is settled. The profile of a model
knows only the time on the device. Where a row costs the device a microsecond, Redis and the codecs cost it forty. So
the cost from claim to settle is measured with each full claim, and claims become smaller or larger to fit. A claim that
holds high-priority jobs is smaller still: all of its jobs are settled together.
"""

# The part of a claim beside the device may take this long: a high-priority job waits for the claim under way.
TARGET_S = 0.007
# What a row of a job of one row costs before anything was measured: scripts, decode, encode, settle.
FIRST_ROW_S = 40e-6
# The fixed cost of a claim is some 300 µs of worker and Redis: a twentieth of a claim of so many rows.
MIN_CLAIM_ROWS = 128
# A claim may not be so small that the fixed part of a run on the device is more than this share of all.
MAX_FIXED_SHARE = 0.05
# A claim with high-priority jobs is filled up to so many rows at least: its fixed cost is spent in any case.
MIN_ROWS_BESIDE_HIGH = 32
# How much the newest claim counts in the average.
NEWEST_WEIGHT = 0.2


class ClaimSize:
    """The cost of a row beside the device, averaged over the last claims, and the claim that fits it."""

    def __init__(self) -> None:
        self._row_s = FIRST_ROW_S

    @property
    def row_s(self) -> float:
        """Seconds that a row costs beside the device."""
        return self._row_s

    def observe(self, rows: int, host_s: float) -> None:
        """Take in a claim: its rows, and the seconds from claim to settle without those on the device.

        Only claims of MIN_CLAIM_ROWS count: in smaller ones the fixed cost hides the cost of a row.
        """
        if rows >= MIN_CLAIM_ROWS and host_s > 0:
            self._row_s += (host_s / rows - self._row_s) * NEWEST_WEIGHT

    def rows(self, most: int, *, run_s: float, row_run_s: float) -> int:
        """Return the rows of a claim, `most` at most. A run on the device takes run_s + row_run_s a row."""
        fits_target = round(TARGET_S / self._row_s)
        return min(most, max(MIN_CLAIM_ROWS, fits_target, self._filling(most, run_s, row_run_s)))

    def rows_beside_high(self, most: int, *, run_s: float, row_run_s: float) -> int:
        """Return up to how many rows other jobs fill a claim that has high-priority ones: what the device wants."""
        return min(most, max(MIN_ROWS_BESIDE_HIGH, self._filling(most, run_s, row_run_s)))

    def _filling(self, most: int, run_s: float, row_run_s: float) -> int:
        """Return the rows at which the fixed part of a run on the device is MAX_FIXED_SHARE of all."""
        return round(min(most, run_s / (MAX_FIXED_SHARE * (self._row_s + row_run_s))))
