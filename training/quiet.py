"""Import TensorFlow late, and keep its start-up chatter from the user. Knows nothing of what is trained."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ferry.errors import ConfigError

STDERR_FD = 2


def import_quietly(module: str) -> ModuleType:
    """Import a module that needs TensorFlow: seconds that `--help` and a mistyped option should not cost.

    Raises:
        ConfigError: when this environment has no TensorFlow.
    """
    try:
        with hidden_stderr():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error}; `make train` makes the environment that training needs") from error


@contextmanager
def hidden_stderr() -> Iterator[None]:
    """Hold back what is written to stderr; show it after all when the block raises.

    TensorFlow's C++ side writes some lines before it reads its log level, so only the file descriptor stops them.
    """
    # 3: errors are hidden too, since a machine without a GPU reports one (Python still gets its exceptions).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved_fd = os.dup(STDERR_FD)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR_FD)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved_fd, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved_fd, STDERR_FD)
            os.close(saved_fd)
