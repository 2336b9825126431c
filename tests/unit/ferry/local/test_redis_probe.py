import pytest

from ferry.errors import ConfigError
from ferry.local.redis_probe import place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://:secret@box:7000/3", "box:7000"),
        ("rediss://user:secret@box/0", "box:6379"),
        ("redis:///0", "localhost:6379"),
    ],
)
def test_place_is_host_and_port_alone(url: str, place: str) -> None:
    assert place_of(url) == place


def test_place_when_the_password_breaks_the_address_does_not_show_it() -> None:
    with pytest.raises(ConfigError, match="%2F") as caught:
        place_of("redis://:s3cr3t/rest@box:6379/0")
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
