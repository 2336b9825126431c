"""Waits until addresses answer 200. Knows nothing of what stands behind them."""

import time
from collections.abc import Callable, Sequence

import httpx

POLL_S = 0.1
ANSWER_TIMEOUT_S = 3.0


def wait_until_ready(
    urls: Sequence[str], timeout_s: float, *, is_cancelled: Callable[[], bool] = lambda: False
) -> str | None:
    """Return None once every address has answered 200, else what the first unready one said last.

    It also returns None, early, when `is_cancelled` turns true.
    """
    deadline_s = time.monotonic() + timeout_s
    # No proxy of the environment stands between this machine and itself.
    with httpx.Client(trust_env=False, timeout=ANSWER_TIMEOUT_S) as client:
        for url in urls:
            while (fault := fault_of(client, url)) and not is_cancelled():
                if time.monotonic() > deadline_s:
                    return f"{url} {fault}"
                time.sleep(POLL_S)
    return None


def fault_of(client: httpx.Client, url: str) -> str:
    """Ask once; return what is wrong, nothing when all is well."""
    try:
        response = client.get(url)
    except httpx.TransportError as error:
        return f"does not answer ({error})"
    if response.is_success:
        return ""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.reason_phrase
    return f"answers {response.status_code}: {detail}"
