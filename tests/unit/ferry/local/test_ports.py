import socket
from collections.abc import Iterator

import pytest

from ferry.errors import ConfigError
from ferry.local.ports import PortWish, choose_ports, url_of

HOST = "127.0.0.1"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_choose_when_the_port_is_free_returns_it() -> None:
    (free,) = choose_ports(PortWish("the API", HOST))
    (chosen,) = choose_ports(PortWish("the API", HOST, free.number))
    assert chosen.number == free.number
    assert not chosen.is_moved


def test_choose_when_the_port_is_taken_returns_another_and_says_so(taken_port: int) -> None:
    (chosen,) = choose_ports(PortWish("the API", HOST, taken_port))
    assert chosen.number != taken_port
    assert chosen.is_moved
    assert chosen.note == f"port {taken_port} is taken, the API is on {chosen.number}"


def test_choose_when_any_port_will_do_has_nothing_to_say() -> None:
    (chosen,) = choose_ports(PortWish("Redis", HOST))
    assert chosen.number > 0
    assert chosen.note == ""


def test_choose_when_two_want_the_same_port_moves_the_second() -> None:
    (free,) = choose_ports(PortWish("the API", HOST))
    api, flower = choose_ports(PortWish("the API", HOST, free.number), PortWish("Flower", HOST, free.number))
    assert api.number == free.number
    assert flower.number != free.number
    assert flower.note.startswith(f"port {free.number} is taken, Flower is on ")


def test_choose_when_many_want_any_port_never_gives_one_twice() -> None:
    chosen = choose_ports(*[PortWish("part", HOST)] * 50)
    assert len({port.number for port in chosen}) == 50


def test_choose_when_the_host_is_of_another_machine_is_refused_with_a_remedy() -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
    with pytest.raises(ConfigError, match=r"the API cannot listen on 192\.0\.2\.1:8000: .*an address of this machine"):
        choose_ports(PortWish("the API", "192.0.2.1", 8000))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("box", "http://box:80"),
    ],
)
def test_url_when_the_host_is_a_wildcard_can_still_be_opened(host: str, url: str) -> None:
    assert url_of(host, 80) == url
