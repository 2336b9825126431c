import pytest

from ferry.errors import ConfigError
from ferry.networks import address_of, is_host, is_prefix, networks_of
from ferry.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", "10.0.0.1"), ("10.0.0.1:80", "10.0.0.1"), (" [::1]:80 ", "::1"), ("[::1]", "::1"), ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"), ("unknown", "None"), ("", "None"), ("10.0.0.1.5", "None"), ("[", "None"),
    ],
)  # fmt: skip
def test_address_of_when_written_any_way_then_the_address_alone(text: str, address: str) -> None:
    assert str(address_of(text)) == address


def test_networks_of_when_addresses_and_cidrs_are_mixed_then_a_network_each() -> None:
    assert [str(each) for each in networks_of("10.0.0.1, 192.168.1.7/16,,::1")] == [
        "10.0.0.1/32",
        "192.168.0.0/16",
        "::1/128",
    ]


@pytest.mark.parametrize("text", ["a.example", "a.example:8443", "10.0.0.1:80", "[::1]:80", "localhost"])
def test_is_host_when_it_is_one_then_true(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "u@h", "a:port", "a\n", 'a"', "-a", "[::1", "a:123456", "x" * 300])
def test_is_host_when_it_is_none_then_false(text: str) -> None:
    assert not is_host(text)


@pytest.mark.parametrize("text", ["", "/", "a", "//a", "/a/", "/a//b", "/a/..", "/.", "/a b", "/a?b", "/a%2f", "/ä"])
def test_is_prefix_when_it_is_none_then_false(text: str) -> None:
    assert not is_prefix(text)


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({}, ""),
        ({"root_path": "/ml/"}, "/ml"),
        ({"root_path": "/"}, ""),
        ({"root_path": "/a/b-1"}, "/a/b-1"),
        ({"public_url": "https://a.example"}, ""),
        ({"public_url": "https://a.example/ml/"}, "/ml"),
        ({"public_url": "https://a.example:8443/ml", "root_path": "/ml"}, "/ml"),
    ],
)
def test_prefix_when_set_by_root_path_or_public_url_then_without_a_slash_at_its_end(
    settings: dict[str, str], prefix: str
) -> None:
    assert Settings(_env_file=None, **settings).prefix == prefix


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ROOT_PATH", "ml", "must be a path such as /ferry"),
        ("ROOT_PATH", "/v1", "must not begin with /v1, which is a path of Ferry's own"),
        ("ROOT_PATH", "/static/x", "must not begin with /static"),
        ("PUBLIC_URL", "a.example", "must be a URL such as https://ferry.example.org"),
        ("PUBLIC_URL", "ftp://a.example", "must be a URL"),
        ("PUBLIC_URL", "https://user:pw@a.example", "must be a URL"),
        ("PUBLIC_URL", "https://a.example/?x", "must be a URL"),
        ("PUBLIC_URL", "https://a.example/v2", "must not begin with /v2"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy", "must be addresses or CIDRs such as 10.0.0.0/8, separated by commas"),
        ("CORS_ORIGINS", "https://a.example, *", "must be origins such as https://app.example.org"),
        ("CORS_ORIGINS", "https://a.example/", "must be origins"),
        ("CORS_ORIGINS", "a.example", "must be origins"),
        ("CORS_ORIGINS", "null", "must be origins"),
    ],
)
def test_load_settings_when_a_setting_of_proxies_is_bad_then_one_line_with_its_name_and_the_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, name: str, value: str, said: str
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv(f"FERRY_{name}", value)
    with pytest.raises(ConfigError, match=f"FERRY_{name}=") as refused:
        load_settings()
    assert said in refused.value.detail
    assert len(refused.value.detail.splitlines()) == 1


def test_load_settings_when_public_url_and_root_path_differ_then_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.setenv("FERRY_PUBLIC_URL", "https://a.example/ml")
    monkeypatch.setenv("FERRY_ROOT_PATH", "/other")
    with pytest.raises(ConfigError, match=r"must end with FERRY_ROOT_PATH \(/other\)"):
        load_settings()
