import os

import pytest

from ferry.errors import ConfigError
from training.quiet import hidden_stderr, import_quietly


def test_hidden_when_the_block_succeeds_then_only_its_stderr_is_gone(capfd):
    with hidden_stderr():
        os.write(2, b"chatter\n")
    os.write(2, b"after\n")

    assert capfd.readouterr().err == "after\n"


def test_hidden_when_the_block_raises_then_its_stderr_is_shown(capfd):
    def fail():
        with hidden_stderr():
            os.write(2, b"the reason\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert capfd.readouterr().err == "the reason\n"


def test_import_when_the_module_is_missing_then_the_error_names_the_remedy():
    with pytest.raises(ConfigError, match=r"No module named 'tensorflux'; `make train` makes the environment"):
        import_quietly("tensorflux")
