"""When a part that ended is started again. It always is: a broken part must not end the others. Knows no processes."""

import os

# A job costs its worker at most `max_attempts` lives, and a worker started again at once serves the other jobs sooner.
FIRST_PAUSE_S = 0.2
# So much that a loop of crashes leaves the cores to the other parts, and little beside a lease of 5 s.
LONGEST_PAUSE_S = 5.0
STEADY_LIFE_S = 30.0  # what ran for this long was well: the next pause is the first again

# A worker is ready 1 to 2 s after its start, several times that on a busy machine: what lives longer was ready.
SHORT_LIFE_S = 10.0
# After many short lives in a row the cause is most likely no job: the part is tried this seldom until it is mended.
SLOW_PAUSE_S = 30.0
# Ends with a status of the part's own choice: it says what is wrong and will say it again (a models folder with nothing
# sound, a package that is missing). No job does this, so a few are enough to be sure.
REFUSALS_LIMIT = 5
# Ends by a signal, or with 70: what a job can do to its worker. A job gets 3 attempts (FERRY_MAX_ATTEMPTS); after the
# first, which it may share with others, it is claimed alone, so n such jobs in a row end a worker 2n + 1 times, each
# time soon after its start. 30 lets 14 of them pass through one worker before it is tried seldom.
CRASHES_LIMIT = 30


def is_crash(status: int) -> bool:
    """Say whether an end is one that a job can cause; `status` is negative where a signal ended the part."""
    return status < 0 or status == os.EX_SOFTWARE


class RestartRule:
    """The rule for one part: tell it of every end, and it says how long to wait before the next start."""

    def __init__(self) -> None:
        self.n_short_lives = 0  # in a row, with whatever status
        self._n_refusals = 0  # in a row
        self._next_pause_s = FIRST_PAUSE_S

    def pause_after(self, *, ran_s: float, status: int) -> float:
        """Return the seconds to wait before the part is started again.

        `status` is the exit status, negative where a signal ended the part; `ran_s` is how long it ran.
        """
        if ran_s >= STEADY_LIFE_S:
            self._next_pause_s = FIRST_PAUSE_S
        is_short = ran_s < SHORT_LIFE_S
        self.n_short_lives = self.n_short_lives + 1 if is_short else 0
        self._n_refusals = self._n_refusals + 1 if is_short and not is_crash(status) else 0
        if self._n_refusals >= REFUSALS_LIMIT or self.n_short_lives >= CRASHES_LIMIT:
            return SLOW_PAUSE_S
        pause_s = self._next_pause_s
        self._next_pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s
