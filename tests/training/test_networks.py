import numpy as np
import pytest

from training.networks import BUILDERS, build


@pytest.mark.parametrize("network", sorted(BUILDERS))
def test_build_when_given_rows_then_it_gives_probabilities(network):
    got = build(network).predict(np.random.default_rng(1).random((3, 28, 28), np.float32), verbose=0)

    assert got.shape == (3, 10)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-5)


def test_build_when_it_is_the_mlp_then_it_is_784_128_10():
    assert [tuple(weight.shape) for weight in build("mlp").weights] == [(784, 128), (128,), (128, 10), (10,)]
