"""How many files and sockets this process may have open at a time."""

import logging
import resource
import sys

logger = logging.getLogger(__name__)


def open_files_limit() -> int:
    """Return the limit that holds now (`ulimit -n`)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def raise_open_files_limit() -> int:
    """Raise this process's limit to the highest that needs no privilege, and return it; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS shows a hard limit above the one that it allows
        logger.warning("the limit of open files stays at %d: %s", soft, error)
    return open_files_limit()
