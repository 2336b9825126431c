from pathlib import Path

import pytest

from ferry.errors import ConfigError
from training.networks import BUILDERS
from training.options import DEFAULT_NAMES, parse_options


def test_options_when_none_are_given_then_it_is_the_mlp_of_five_epochs():
    options = parse_options([])

    assert (options.network, options.name, options.epochs) == ("mlp", "mnist", 5)
    assert options.workdir == Path(".ferry/training/mnist")
    assert options.version is options.data is None


def test_options_when_the_network_is_cnn_then_it_has_a_name_of_its_own():
    options = parse_options(["--network", "cnn"])

    assert options.name == "mnist-cnn"
    assert options.workdir == Path(".ferry/training/mnist-cnn")


def test_options_when_compared_with_the_networks_then_each_has_a_name():
    assert DEFAULT_NAMES.keys() == BUILDERS.keys()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--network", "rnn"], "invalid choice"),
        (["--epochs", "many"], "invalid int value"),
        (["--epochs", "0"], "--epochs 0 is too small; at least 1"),
        (["--batch-size", "-1"], "--batch-size -1 is too small; at least 1"),
        (["--samples", "-1"], "--samples -1 is too small; at least 0"),
        (["--seed", "-1"], "--seed -1 is not in 0..4294967295"),
        (["--name", "../x"], "--name '../x' does not match"),
        (["--version", "01"], "--version '01' is not a positive integer"),
        (["--colour", "red"], "unrecognized arguments"),
    ],
)
def test_options_when_one_is_wrong_then_the_error_says_which(argv, message):
    with pytest.raises(ConfigError) as caught:
        parse_options(argv)

    assert message in caught.value.detail
