"""Start the API: `python -m api`."""

import signal
import sys

import uvicorn

from ferry.errors import ConfigError
from ferry.settings import load_settings

# Requests under way when SIGTERM comes get this long; waiting ones are answered with what is known.
SHUTDOWN_GRACE_S = 10


def main() -> int:
    """Serve until SIGTERM; returns the exit status."""
    try:
        settings = load_settings()
        settings.require_redis_url()
    except ConfigError as error:
        sys.stderr.write(f"api: {error.detail}\n")
        return 1
    # Before uvicorn listens to signals there is nothing to wind up; once it has stopped it raises the signal again, and
    # having stopped in good order is a success, not a death.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
