import pytest

from ferry.loopback import direct_mounts, exempt_loopback, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST", "a.localhost"])
def test_is_loopback_when_it_means_this_machine_then_true(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "::2", "localhost.example", "127.0.0.1.example", "", "0.0.0.0"])
def test_is_loopback_when_it_means_another_then_false(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "mounts"),
    [
        ("http://127.0.0.1:8000", {"all://127.0.0.1": None}),
        ("http://[::1]:8000/ml", {"all://[::1]": None}),
        ("https://localhost", {"all://localhost": None}),
        ("https://ferry.example", {}),
    ],
)
def test_direct_mounts_when_the_api_is_on_this_machine_then_its_host(url: str, mounts: dict[str, None]) -> None:
    assert direct_mounts(url) == mounts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "a.example, localhost"}, "a.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "b.example", "NO_PROXY": "a.example"}, "b.example,a.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_exempt_loopback_when_done_then_this_machine_is_in_both_variables(before: dict[str, str], after: str) -> None:
    environ = dict(before)
    for _ in range(2):
        exempt_loopback(environ)
        assert environ == {"no_proxy": after, "NO_PROXY": after}
