"""Start the API: `python -m api`, or `python -m api --workers 4` for several processes on one port."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

import uvicorn

from api.protocol import HttpProtocol
from ferry.bulk.storage import storage_of
from ferry.cores import available_cores
from ferry.errors import ConfigError
from ferry.local.ports import check_listen
from ferry.loopback import exempt_loopback
from ferry.open_files import raise_open_files_limit
from ferry.settings import load_settings

# Requests under way when SIGTERM comes get this long; waiting ones are answered with what is known.
SHUTDOWN_GRACE_S = 10
# More than this many API processes must be asked for: behind four of them Redis and the workers are what is busy.
MOST_PROCESSES = 4


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve the HTTP API. Settings: .env.example.")
    parser.add_argument("--workers", type=int, metavar="N", help="processes, instead of FERRY_API_PROCESSES")
    asked = parser.parse_args(arguments)
    exempt_loopback(os.environ)
    try:
        settings = load_settings()
        settings.require_redis_url()
        storage_of(settings)
        check_listen("the API", settings.api_host, settings.api_port, settings="FERRY_API_HOST, FERRY_API_PORT")
    except ConfigError as error:
        sys.stderr.write(f"api: {error.detail}\n")
        return 1
    raise_open_files_limit()
    # Before uvicorn listens to signals there is nothing to wind up; once it has stopped it raises the signal again, and
    # having stopped in good order is a success, not a death.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=asked.workers or settings.api_processes or min(available_cores(), MOST_PROCESSES),
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # uvicorn would believe X-Forwarded-* of any process of this machine; api/addresses.py asks the settings.
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
