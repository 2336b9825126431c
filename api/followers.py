"""How many responses of one process may stay open to follow something. Knows nothing of what they follow."""

from ferry.errors import QueueFullError

MAX_FOLLOWERS = 64
RETRY_AFTER_S = 5


class Followers:
    """Counts the responses that follow; one per process."""

    def __init__(self, max_followers: int = MAX_FOLLOWERS) -> None:
        self._max = max_followers
        self.n_open = 0

    def enter(self) -> None:
        """Count one more; `leave` ends it.

        Raises:
            QueueFullError: there are as many as there may be.
        """
        if self.n_open >= self._max:
            detail = (
                f"{self._max} responses of this process follow batches already, which is the limit; come back later"
            )
            raise QueueFullError(detail, retry_after_s=RETRY_AFTER_S)
        self.n_open += 1

    def leave(self) -> None:
        """Count one less."""
        self.n_open -= 1
